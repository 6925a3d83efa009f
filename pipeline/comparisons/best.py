"""How good can 20 dense layers of 100 units get?"""

from pipeline.comparisons import Comparison, ask
from pipeline.comparisons.twenty_layers import BN

ONE_CYCLE = BN.derive(
    name="bn_one_cycle",
    description="bn under 1cycle scheduling, with Nadam, 20 epochs",
    schedule="one_cycle",
    batch_size=128,
    epochs=20,
    patience=None,
    search_epochs=5,
)
# A search of its own would cost more than it finds: cycles of 5 epochs differ by one point from a
# rate of 0.001 to one of 0.016, and those of 100 epochs by less from 0.002 to 0.005.
HUNDRED = ONE_CYCLE.derive(
    name="hundred_epochs",
    description="bn_one_cycle for 100 epochs",
    epochs=100,
    learning_rate_of="bn_one_cycle",
)
MIRRORED = HUNDRED.derive(
    name="mirrored",
    description="hundred_epochs with mirrored images",
    mirrored_images=True,
)
SHIFTED = MIRRORED.derive(
    name="shifted",
    description="mirrored, with images shifted by up to 2 pixels",
    shifted_pixels=2,
)
DROPOUT = SHIFTED.derive(
    name="weak_dropout",
    description="shifted, with 3% dropout in every layer",
    dropout="standard",
    dropout_rate=0.03,
    dropout_layers="all",
)
SMOOTHED = SHIFTED.derive(
    name="smoothed",
    description="shifted, with label smoothing of 0.1",
    loss="categorical_crossentropy(label_smoothing=0.1)",
)
AVERAGED = SHIFTED.derive(
    name="averaged",
    description="shifted, with weights averaged over the last 100 mini-batches or so",
    optimizer="nadam(use_ema=True, ema_momentum=0.99)",
)
BOTH_IMAGES = DROPOUT.derive(
    name="both_images",
    description="weak_dropout, predicting the mean of an image and its mirror image",
    mirrored_prediction=True,
)
LONGER = BOTH_IMAGES.derive(
    name="longer",
    description="both_images for 400 epochs, with images shifted by up to 3 pixels",
    shifted_pixels=3,
    epochs=400,
)


# Which variant, against which, by which metric.
# fmt: off
ASKED = (
    *ask(
        ("mirrored", "hundred_epochs", "test_accuracy",
         "Do mirrored images give a better model?"),
        ("shifted", "mirrored", "test_accuracy",
         "Do shifted images give a better model, besides?"),
        ("longer", "both_images", "test_accuracy",
         "Do 400 epochs give a better model than 100, of images that are shifted further?"),
    ),
    *ask(
        ("hundred_epochs", "bn_one_cycle", "test_accuracy",
         "Do 100 epochs give a better model than 20?"),
        ("weak_dropout", "shifted", "test_accuracy",
         "Does a dropout of 3% give a better model, besides?"),
        ("smoothed", "shifted", "test_accuracy",
         "Does label smoothing give a better model, besides?"),
        ("averaged", "shifted", "test_accuracy",
         "Do averaged weights give a better model, at the end of 1cycle?"),
        ("both_images", "weak_dropout", "test_accuracy",
         "Is the mean over both mirror images a better prediction?"),
        role="secondary",
    ),
)
# fmt: on

COMPARISON = Comparison(
    variants=(
        *(ONE_CYCLE, HUNDRED, MIRRORED, SHIFTED, DROPOUT, SMOOTHED, AVERAGED, BOTH_IMAGES, LONGER),
    ),
    questions=ASKED,
)
