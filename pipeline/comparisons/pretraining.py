"""500 images of each digit: does a network help that has learnt to compare pairs of others?"""

from pipeline.comparisons import Comparison, Data, ask
from pipeline.comparisons.digits import DIGITS_BN

ARM_SCRATCH = DIGITS_BN.derive(
    name="arm_scratch",
    description="digits_bn from scratch",
)
ARM_FROZEN = ARM_SCRATCH.derive(
    name="arm_frozen",
    description="the arm of pairs_shared, frozen, under a softmax",
    starts_from="pairs_shared",
    reused_layers=5,
    frozen_layers=5,
)
ARM_UNFROZEN = ARM_FROZEN.derive(
    name="arm_unfrozen",
    description="the arm of pairs_shared under a softmax, all of it trained on",
    frozen_layers=0,
)
# The 500 images of each digit that `pairs` leaves out.
DATA = Data(source="mnist", images_per_class=450, val_images_per_class=50, standardized=False)

# Which variant, against which, by which metric.
# fmt: off
ASKED = ask(
    ("arm_frozen", "arm_scratch", "test_accuracy",
     "Is a frozen arm under a softmax better than the same network from scratch?"),
    ("arm_unfrozen", "arm_scratch", "test_accuracy",
     "Is it better to start from an arm than from scratch?"),
    ("arm_unfrozen", "arm_frozen", "test_accuracy",
     "Is it better to unfreeze the arm?"),
    ("arm_unfrozen", "arm_scratch", "epochs_to_target",
     "Does starting from an arm converge faster?"),
    ("arm_frozen", "arm_scratch", "median_epoch_seconds",
     "Is an epoch shorter where the arm is frozen?"),
)
# fmt: on

COMPARISON = Comparison(
    data=DATA,
    variants=(ARM_SCRATCH, ARM_FROZEN, ARM_UNFROZEN),
    questions=ASKED,
)
