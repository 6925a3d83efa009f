"""Digits 0 to 4 of MNIST: is batch normalisation faster or better, and does dropout help?"""

from pipeline.comparisons import Comparison, Data, Variant, ask

DIGITS = Variant(
    name="digits",
    description="5 dense layers of 100 units, ELU, He initialisation, Adam, early stopping",
    hidden_layers=5,
    optimizer="adam",
)
DIGITS_BN = DIGITS.derive(
    name="digits_bn",
    description="digits with batch normalisation between each dense layer and its activation",
    batch_normalization=True,
)
DIGITS_DROPOUT = DIGITS_BN.derive(
    name="digits_dropout",
    description="digits_bn with dropout of half the units in every layer",
    dropout="standard",
    dropout_rate=0.5,
    dropout_layers="all",
)

# Which variant, against which, by which metric.
# fmt: off
ASKED = ask(
    ("digits_bn", "digits", "test_accuracy",
     "Does batch normalisation give a better model?"),
    ("digits_bn", "digits", "epochs_to_target",
     "Does batch normalisation converge faster?"),
    ("digits_bn", "digits", "median_epoch_seconds",
     "Does batch normalisation shorten an epoch?"),
    ("digits_dropout", "digits_bn", "test_accuracy",
     "Does dropout in every layer give a better model?"),
    ("digits_bn", "digits", "generalization_gap",
     "Does batch normalisation overfit less?"),
    ("digits_dropout", "digits_bn", "generalization_gap",
     "Does dropout in every layer reduce overfitting?"),
    margins={"test_accuracy": 0.002},  # a fifth of all errors
)
# fmt: on

COMPARISON = Comparison(
    data=Data(source="mnist", classes=(0, 1, 2, 3, 4), standardized=False),
    variants=(DIGITS, DIGITS_BN, DIGITS_DROPOUT),
    questions=ASKED,
)
