"""Which architecture makes 20 dense layers of 100 units better, faster to converge, to train?"""

from pipeline.comparisons import Comparison, Question, Variant

ELU = Variant(
    name="elu",
    description="20 dense layers of 100 units, ELU, He initialisation, Nadam, early stopping",
    color="#0072B2",
)
BN = ELU.derive(
    name="bn",
    description="elu with batch normalisation between each dense layer and its activation",
    color="#D55E00",
    batch_normalization=True,
)
SELU = ELU.derive(
    name="selu",
    description="SELU, LeCun-normal initialisation, standardised inputs: self-normalising",
    color="#009E73",
    activation="selu",
    kernel_initializer="lecun_normal",
    self_normalizing=True,
)
ALPHA_DROPOUT = SELU.derive(
    name="alpha_dropout",
    description="selu with alpha dropout, judged with and without MC Dropout",
    color="#CC79A7",
    dropout="alpha",
    dropout_rate=0.1,
)
ONE_CYCLE = ALPHA_DROPOUT.derive(
    name="one_cycle",
    description="alpha_dropout under 1cycle scheduling: SGD with Nesterov momentum, 15 epochs",
    color="#E69F00",
    optimizer="sgd",
    schedule="one_cycle",
    batch_size=128,
    epochs=15,
    patience=None,
    search_epochs=5,  # a short cycle tells rates apart as well as a long one
)

ACCURACIES = ("best_val_accuracy", "test_accuracy")
TIMES = ("epochs_to_baseline", "median_epoch_seconds")
# What is asked about a variant, against which, and whether the figures are the answer.
# fmt: off
ASKED = (
    ("bn", "elu", "epochs_to_baseline", False,
     "Does batch normalisation converge faster than the baseline?"),
    ("bn", "elu", ACCURACIES, False,
     "Does batch normalisation give a better model than the baseline?"),
    ("bn", "elu", "median_epoch_seconds", True,
     "How does batch normalisation affect training speed?"),
    ("selu", "elu", "epochs_to_baseline", False,
     "Does SELU converge faster than the baseline?"),
    ("selu", "elu", ACCURACIES, False,
     "Does SELU give a better model than the baseline?"),
    ("selu", "elu", "median_epoch_seconds", True,
     "How does SELU affect training speed?"),
    ("alpha_dropout", "selu", ACCURACIES, False,
     "Does alpha dropout help over SELU alone?"),
    ("alpha_dropout", "selu", TIMES, True,
     "How does alpha dropout affect convergence and training speed?"),
    ("alpha_dropout", "alpha_dropout", "mc_gain", False,
     "Does MC Dropout make `alpha_dropout` more accurate?"),
    ("one_cycle", "alpha_dropout", ACCURACIES, False,
     "Does 1cycle scheduling give a better model than alpha dropout without it?"),
    ("one_cycle", "alpha_dropout", TIMES, True,
     "How does 1cycle scheduling affect convergence and training time?"),
    ("one_cycle", "one_cycle", "mc_gain", False,
     "Does MC Dropout make `one_cycle` more accurate?"),
)
# fmt: on

COMPARISON = Comparison(
    variants=(ELU, BN, SELU, ALPHA_DROPOUT, ONE_CYCLE),
    questions=tuple(
        Question(
            variant=variant, reference=reference, metric=metric, describes=describes, text=text
        )
        for variant, reference, metric, describes, text in ASKED
    ),
)
