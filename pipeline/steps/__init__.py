"""Keys, reuse, ownership, resuming and workers: how every step runs, whatever it does.

Read `step` first (what a step is, and what its key is made of), then `running` (the one shape in
which all of them run); `claims` decides who runs a step, `owners` tells whether a process is still
there, `resuming` ends or goes on with runs whose process is not; `workers` runs steps on Dask,
`remote` prepares workers that were started elsewhere; `differences` tells what has changed since,
`plan_text` what would run. Imports `tracking`, `training` (what decides results in the
environment), `parameters`, `comparisons` and `base`.
"""
