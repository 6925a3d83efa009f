"""The MLflow server: waiting for it, reading and writing runs, and what its UI opens on.

May import `uncertainty`, `data`, `comparisons` and `base`. Nothing is imported here: `server` does
without MLflow. Read `client` first, then `step_runs`: the one way in which a step writes.
"""
