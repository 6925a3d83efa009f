"""Digits 5 to 9, 100 images of each: what do the layers of a network for 0 to 4 save?"""

from pipeline.comparisons import Comparison, Data, ask
from pipeline.comparisons.digits import DIGITS_BN

# As in Géron, Hands-On Machine Learning (2017), chapter 11, exercise 9.
FROZEN = DIGITS_BN.derive(
    name="transfer_frozen",
    description="all five layers of digits_bn, frozen, under a new softmax",
    images_per_class=100,
    # An epoch has 16 mini-batches: ten of them would favour rates that are too high later on.
    epochs=300,
    patience=50,
    search_epochs=100,
    starts_from="digits_bn",
    reused_layers=5,
    frozen_layers=5,
)
CACHED = FROZEN.derive(
    name="transfer_cached",
    description="transfer_frozen with the outputs of the frozen layers computed once",
    cached=True,
)
FOUR = FROZEN.derive(
    name="transfer_four",
    description="the lower four layers of digits_bn, frozen, under a new softmax",
    hidden_layers=4,
    reused_layers=4,
    frozen_layers=4,
)
TOP_TWO = FOUR.derive(
    name="transfer_top_two",
    description="transfer_four with the upper two of its layers unfrozen",
    frozen_layers=2,
)
UNFROZEN = FOUR.derive(
    name="transfer_unfrozen",
    description="transfer_four with all of its layers unfrozen",
    frozen_layers=0,
)
SCRATCH = UNFROZEN.derive(
    name="scratch",
    description="the network of transfer_unfrozen from scratch",
    starts_from="",
    reused_layers=0,
)
# Pixels from 0 to 1: one that 0 to 4 hardly use would be large if it were standardised by them.
DATA = Data(source="mnist", classes=(5, 6, 7, 8, 9), val_images_per_class=30, standardized=False)

# Which variant, against which, by which metric.
# fmt: off
ASKED = ask(
    ("transfer_unfrozen", "scratch", "test_accuracy",
     "Is it better to start from another network than from scratch?"),
    ("transfer_frozen", "scratch", "test_accuracy",
     "Is a network whose hidden layers are all frozen better than one from scratch?"),
    ("transfer_four", "transfer_frozen", "test_accuracy",
     "Is it better to take four layers than five, frozen?"),
    ("transfer_top_two", "transfer_four", "test_accuracy",
     "Is it better to unfreeze the upper two layers?"),
    ("transfer_unfrozen", "transfer_top_two", "test_accuracy",
     "Is it better to unfreeze all layers?"),
    ("transfer_cached", "transfer_frozen", "median_epoch_seconds",
     "Does it shorten an epoch to compute the frozen layers once?"),
    ("transfer_unfrozen", "scratch", "epochs_to_target",
     "Does starting from another network converge faster?"),
)
# fmt: on

COMPARISON = Comparison(
    data=DATA,
    variants=(SCRATCH, FROZEN, CACHED, FOUR, TOP_TWO, UNFROZEN),
    questions=ASKED,
)
