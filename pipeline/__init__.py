"""Deep dense networks compared: one MLflow run per step.

The doors, one entry point each: `prepare`, `search`, `train`, `mc_dropout`, `compare`; `main`
chains them, `ui` shows them, `command` makes commands of them. Behind them the rooms; a module
imports from its own and those further down alone:

    work         what each step does
    report       from verdicts to pages and pictures
    answers      from runs to verdicts
    steps        keys, reuse, ownership, resuming, workers, plan
    tracking     MLflow: client, patience, runs, views
    training     compiled training
    uncertainty  MC Dropout, calibration, the served model
    data         sources, splits, fingerprints, .npz
    parameters   what can be asked for
    comparisons  what people edit: one file per comparison
    base         errors, progress, environment, passwords
"""
