"""How good can 20 dense layers of 100 units get?"""

from pipeline.comparisons import Comparison, Question
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
# Cycles of 5 and of 100 epochs come to the same accuracy at rates from 0.001 to 0.008, within noise.
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
    description="shifted, with weights averaged over the last 1000 mini-batches or so",
    optimizer="nadam(use_ema=True, ema_momentum=0.999)",
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


def _better(variant: str, reference: str, text: str, **role: str) -> Question:
    return Question(variant=variant, reference=reference, metric="test_accuracy", text=text, **role)


ASKED = (
    _better("mirrored", "hundred_epochs", "Do mirrored images help?"),
    _better("shifted", "mirrored", "Do shifted images help, too?"),
    _better("longer", "both_images", "Do 400 epochs do better than 100?"),
)

COMPARISON = Comparison(
    variants=(
        *(ONE_CYCLE, HUNDRED, MIRRORED, SHIFTED, DROPOUT, SMOOTHED, AVERAGED, BOTH_IMAGES, LONGER),
    ),
    questions=ASKED,
)
