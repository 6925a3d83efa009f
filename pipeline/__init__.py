"""Deep dense networks on CIFAR-10, one MLflow run per step.

An entry point is one module: `prepare` -> `search` -> `train` -> `mc_dropout` -> `compare`; `main`
chains them. From the bottom up, a module importing only from those above it:

    errors            what was expected, what was received, what to do
    environment       what TensorFlow and MLflow read, and how they are imported
    passwords         found in URLs and hidden
    progress          what a person sees while steps run
    variants          the architectures as data
    data              data sets as arrays: split, described, stored
    npz               .npz files, and the checks that every data set passes
    keras_cache       the image sets of keras.datasets
    sources           finding a data set by its name
    xla_layers        layers that XLA computes fast, for training
    models            Keras models
    checkpoints       what a run needs to go on where it was cut off
    schedules         1cycle
    optimizers        Nadam, quick to compile
    blocks            the order in which images are read, and how they are batched
    callbacks         what happens around every epoch
    training          compiled `fit`
    uncertainty       MC Dropout predictions
    calibration       how far to trust probabilities
    uncertainty_model the part of a logged model that does MC Dropout
    summary           means and convergence of each variant
    significance      planned comparisons, tested in pairs
    report            tables and answers in words
    figures           curves, timings, activations
    image_figures     images and how well they are classified
    report_figures    the figures of the report, as SVG and PNG
    steps             step keys: what decides a result
    ownership         which process a run belongs to, whether it is alive, on what processor
    studies           Optuna studies: storage, first rates, range
    patience          calls that wait for a server that is away
    publisher         metrics on their way to a server that may be away
    tracking          the tracking server: its client, and reading runs
    logged_models     trained models as MLflow models
    step_runs         the runs of steps: opened, written to and ended
    reuse             one run per step: reused, gone on with, or made
    registry          the best models, and the champion
    views             what the MLflow UI opens on
    fairness          what the compared runs differ in besides the architecture
    html_report       the report as one page
    evidence          what a comparison rests on
    engine            Dask
    options           what entry points can be given
    cli               errors, signals and exit codes
    prepare           entry point: a data set, split and logged
    trials            the trials of a search: trained, reported, pruned
    best_trial        with whose epochs a training begins
    search            entry point: a variant's learning rate
    mc_dropout        entry point: MC Dropout on a trained run
    train             entry point: one variant, trained and judged
    compare           entry point: finished runs side by side
    estimates         how long a step takes
    plan              what of a comparison is finished, and how long the rest takes
    main              entry point: all of it, in parallel
    ui                the MLflow UI, opened on the comparison
"""
