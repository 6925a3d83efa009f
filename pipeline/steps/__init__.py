"""How a step runs: decide whether it is done; hold it; open its run; do the work; end it.

Read `step` first (what a step is, and its key), then `running` (the shape in which all of them
run); `ownership` holds a step and finds abandoned runs, `workers` runs steps on Dask, `plan` says
what would run. What a step does is its own, in `work`.
"""
