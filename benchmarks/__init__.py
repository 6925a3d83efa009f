"""Side-by-side measurements, run by hand; no test has a threshold on time."""
