"""Deep dense networks compared, every step an MLflow run.

The doors, one entry point each: `main`, `prepare`, `search`, `train`, `mc_dropout`, `compare`, and
`ui`; `command` makes commands of them. Behind them the rooms; a module imports from its own and
those further down alone:

    comparing    a comparison as a whole: rounds of steps, evidence, champion
    work         what each step does
    report       from verdicts to pages and pictures
    answers      from runs to verdicts
    steps        keys, reuse, ownership, resuming, workers, plans in words
    tracking     MLflow: its client, outages, refusals, the views and server of its UI
    training     models, compiled fit, schedules, checkpoints
    uncertainty  MC Dropout, calibration, the served model
    data         sources, splits, .npz
    parameters   what can be asked for
    comparisons  what people edit: one file per comparison
    base         errors, progress, output, signals, disks, passwords, environment
"""
