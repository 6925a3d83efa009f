"""Two images of MNIST: the same digit or not? Do arms of the same weights do better?"""

from pipeline.comparisons import Comparison, Data, ask
from pipeline.comparisons.digits import DIGITS_BN

PAIRS_TWO = DIGITS_BN.derive(
    name="pairs_two",
    description="two arms of digits_bn, a hidden layer of 10 units, one logistic output",
    arms="two",
)
PAIRS_SHARED = PAIRS_TWO.derive(
    name="pairs_shared",
    description="pairs_two with the same weights in both arms",
    arms="shared",
)

# Which variant, against which, by which metric.
# fmt: off
ASKED = ask(
    ("pairs_shared", "pairs_two", "test_accuracy",
     "Do arms of the same weights give a better model?"),
    ("pairs_shared", "pairs_two", "epochs_to_target",
     "Do arms of the same weights converge faster?"),
    ("pairs_shared", "pairs_two", "median_epoch_seconds",
     "Do arms of the same weights shorten an epoch?"),
    ("pairs_shared", "pairs_two", "generalization_gap",
     "Do arms of the same weights overfit less?"),
    margins={"test_accuracy": 0.002},
)
# fmt: on

COMPARISON = Comparison(
    # All but the 500 images of each digit that `pretraining` has.
    data=Data(source="mnist", skipped_per_class=500, standardized=False, pairs=True),
    variants=(PAIRS_TWO, PAIRS_SHARED),
    questions=ASKED,
)
