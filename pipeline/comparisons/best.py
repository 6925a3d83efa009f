"""How good can 20 dense layers of 100 units get?"""

from pipeline.comparisons import Comparison
from pipeline.comparisons.twenty_layers import BN

ONE_CYCLE = BN.derive(
    name="bn_one_cycle",
    description="bn under 1cycle scheduling, with Nadam",
    schedule="one_cycle",
    batch_size=128,
    epochs=20,
    patience=None,
    search_epochs=5,
)
MIRRORED = ONE_CYCLE.derive(
    name="mirrored",
    description="bn_one_cycle with mirrored images, 50 epochs",
    mirrored_images=True,
    epochs=50,
)
SHIFTED = MIRRORED.derive(
    name="shifted",
    description="mirrored, with images shifted by up to 2 pixels, 100 epochs",
    shifted_pixels=2,
    epochs=100,
)

COMPARISON = Comparison(variants=(ONE_CYCLE, MIRRORED, SHIFTED))
