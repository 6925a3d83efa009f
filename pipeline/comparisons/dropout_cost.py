"""Does dropout slow down training, does it slow down predictions, and what of MC Dropout?"""

from pipeline.comparisons import Comparison, ask
from pipeline.comparisons.twenty_layers import ALPHA_DROPOUT, ELU, SELU

RATES = (0.1, 0.2, 0.5)
DROPOUT = tuple(
    base.derive(
        name=f"{kind}_{rate}_{layers}",
        description=f"{base.name} with {words} of {rate} "
        + ("in every layer" if layers == "all" else "before the output"),
        dropout=dropout,
        dropout_rate=rate,
        dropout_layers=layers,
        # In every layer it takes ten times as many epochs: a short search would favour rates that
        # are too high for these.
        search_epochs=40 if layers == "all" else base.search_epochs,
    )
    for base, kind, words, dropout in (
        (ELU, "dropout", "dropout", "standard"),
        (SELU, "alpha", "alpha dropout", "alpha"),
    )
    for layers in ("all", "last")
    for rate in RATES
    if (dropout, rate, layers) != ("alpha", 0.1, "last")  # that is alpha_dropout
)

# Which variant, against which, by which metric.
# fmt: off
COSTS = ask(
    ("dropout_0.2_all", "elu", "median_epoch_seconds",
     "Does dropout in every layer shorten an epoch?",
     "worse", "Dropout makes every step of training slower."),
    ("dropout_0.2_all", "elu", "epochs_to_target",
     "Does dropout of 0.2 in every layer converge faster?",
     "worse", "Dropout slows convergence down."),
    ("dropout_0.2_last", "elu", "epochs_to_target",
     "Does dropout of 0.2 before the output converge faster?",
     "worse", "Dropout slows convergence down."),
    ("dropout_0.2_all", "elu", "inference_microseconds",
     "Does dropout make predictions faster?",
     "equal", "Dropout does not slow down predictions, as it is off."),
    ("alpha_0.2_all", "selu", "median_epoch_seconds",
     "Does alpha dropout in every layer shorten an epoch?",
     "worse", "Dropout makes every step of training slower."),
    role="primary",
)
GAINS = ask(
    ("dropout_0.2_last", "elu", "test_accuracy",
     "Does dropout before the output give a better model?",
     "better", "Dropout makes a model better."),
    ("dropout_0.1_all", "elu", "test_accuracy",
     "Does weak dropout in every layer give a better model?"),
    ("dropout_0.5_all", "elu", "test_accuracy",
     "Does strong dropout in every layer give a better model?"),
    ("dropout_0.2_last", "dropout_0.2_last", "mc_gain",
     "Does MC Dropout predict better, with dropout of 0.2 before the output?",
     "better", "MC Dropout predicts better, at a multiple of the time."),
    ("alpha_0.1_all", "selu", "test_accuracy",
     "Does weak alpha dropout in every layer give a better model?"),
)
# fmt: on

COMPARISON = Comparison(
    variants=(ELU, SELU, ALPHA_DROPOUT, *DROPOUT),
    questions=(*COSTS, *GAINS),
    figures=("inference",),
)
