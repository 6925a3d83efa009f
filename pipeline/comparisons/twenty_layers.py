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

COMPARISON = Comparison(
    variants=(ELU, BN, SELU, ALPHA_DROPOUT, ONE_CYCLE),
    questions=(
        Question(
            variant="bn",
            reference="elu",
            metric="epochs_to_baseline",
            text="Does batch normalisation converge faster than the baseline?",
        ),
        Question(
            variant="bn",
            reference="elu",
            metric=ACCURACIES,
            text="Does batch normalisation give a better model than the baseline?",
        ),
        Question(
            variant="bn",
            reference="elu",
            metric="median_epoch_seconds",
            text="How does batch normalisation affect training speed?",
            describes=True,
        ),
        Question(
            variant="selu",
            reference="elu",
            metric="epochs_to_baseline",
            text="Does SELU converge faster than the baseline?",
        ),
        Question(
            variant="selu",
            reference="elu",
            metric=ACCURACIES,
            text="Does SELU give a better model than the baseline?",
        ),
        Question(
            variant="selu",
            reference="elu",
            metric="median_epoch_seconds",
            text="How does SELU affect training speed?",
            describes=True,
        ),
        Question(
            variant="alpha_dropout",
            reference="selu",
            metric=ACCURACIES,
            text="Does alpha dropout help over SELU alone?",
        ),
        Question(
            variant="alpha_dropout",
            reference="selu",
            metric=TIMES,
            text="How does alpha dropout affect convergence and training speed?",
            describes=True,
        ),
        Question(
            variant="alpha_dropout",
            reference="alpha_dropout",
            metric="mc_gain",
            text="Does MC Dropout make `alpha_dropout` more accurate?",
        ),
        Question(
            variant="one_cycle",
            reference="alpha_dropout",
            metric=ACCURACIES,
            text="Does 1cycle scheduling give a better model than alpha dropout without it?",
        ),
        Question(
            variant="one_cycle",
            reference="alpha_dropout",
            metric=TIMES,
            text="How does 1cycle scheduling affect convergence and training time?",
            describes=True,
        ),
        Question(
            variant="one_cycle",
            reference="one_cycle",
            metric="mc_gain",
            text="Does MC Dropout make `one_cycle` more accurate?",
        ),
    ),
)
