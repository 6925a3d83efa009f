"""The MLflow server: waiting for it, reading and writing runs, and what its UI opens on.

Imports `data` and `base`. Read `client` first, then `runs`, with `StepRun`: the one way in
which a step writes; `store` opens what `outages` waits for and `refusals` explains. Nothing is
imported here, since `server` does without MLflow.
"""
