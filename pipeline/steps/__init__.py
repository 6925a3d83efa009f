"""Keys, reuse, ownership, resuming and workers: how every step runs, whatever it does.

Read `step` first (what a step is, and what its key is made of), then `running` (the one shape in
which all of them run); `ownership` holds a step and finds abandoned runs, `workers` runs steps on
Dask, `remote` prepares workers that were started elsewhere, `plan_text` says what would run.
Imports `tracking`, `parameters`, `comparisons` and `base`.
"""
