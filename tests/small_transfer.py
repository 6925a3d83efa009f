"""Digits 5 to 9, 20 images of each: the layers of `small_digits`, frozen, and from scratch."""

from pathlib import Path

from pipeline.comparisons import Comparison, Data, Question
from pipeline.comparisons.files import load

TRANSFER = str(Path(__file__).resolve())
(DIGITS,) = load(str(Path(__file__).with_name("small_digits.py"))).variants
FROZEN = DIGITS.derive(
    name="frozen",
    images_per_class=20,
    starts_from="small_digits.py:digits",
    reused_layers=3,
    frozen_layers=3,
)
SCRATCH = FROZEN.derive(name="scratch", starts_from="", reused_layers=0, frozen_layers=0)
COMPARISON = Comparison(
    data=Data(source="mnist_5k", classes=(5, 6, 7, 8, 9), val_images_per_class=30),
    variants=(SCRATCH, FROZEN),
    questions=(Question(variant="frozen", reference="scratch", metric="test_accuracy"),),
)
