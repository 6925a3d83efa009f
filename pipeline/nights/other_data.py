"""What is another in the data since a good night: images and labels, however they are split."""

from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from pipeline.base import InputError
from pipeline.base.phrases import listed
from pipeline.data.splits import Labels
from pipeline.nights.record import Trained
from pipeline.work.variant_step import logged_splits

DATA = "fingerprint of the data"  # an input
Counted = Counter[tuple[bytes, str]]  # images by their digest and the name of their class


@dataclass(frozen=True, kw_only=True)
class OtherData:
    """What differs between two data sets.

    Args:
        relabelled, new, gone: images.
        images: how many there are now, for training, validation and test.
        test_images: how many for the test, where these are others than before; else 0.
    """

    relabelled: int
    new: int
    gone: int
    images: int
    test_images: int

    def __str__(self) -> str:
        changes = {"relabelled": self.relabelled, "new": self.new, "gone": self.gone}
        found = [f"{number:,} {how}" for how, number in changes.items() if number]
        return f"of {self.images:,} images {listed(found)}" if found else "split otherwise"


def other_data(then: Trained, now: Trained) -> OtherData | None:
    """What differs between the data of two trainings; None where it is the same or cannot be read.

    An image counts as the same wherever it stands: another label moves others of its class between
    the splits.
    """
    prints = [one.inputs.get(DATA, "") for one in (then, now)]
    if not all(prints) or prints[0] == prints[1]:
        return None
    try:
        before, after = (
            logged_splits(one.prepare_run, of) for one, of in zip((then, now), prints, strict=True)
        )
    except InputError:
        return None
    tests = [_counted(of.x_test, of.y_test, of.class_names) for of in (before, after)]
    were, are = (
        _counted(of.x_train, of.y_train, of.trained_names)
        + _counted(of.x_val, of.y_val, of.class_names)
        + test
        for of, test in zip((before, after), tests, strict=True)
    )
    gone, new = _images(were - are), _images(are - were)
    return OtherData(
        relabelled=(gone & new).total(),
        new=(new - gone).total(),
        gone=(gone - new).total(),
        images=are.total(),
        test_images=tests[1].total() if _images(tests[0]) != _images(tests[1]) else 0,
    )


def _counted(images: npt.NDArray[np.uint8], labels: Labels, names: tuple[str, ...]) -> Counted:
    digests = (blake2b(image.tobytes(), digest_size=16).digest() for image in images)
    return Counter(zip(digests, (names[label] for label in labels), strict=True))


def _images(of: Counted) -> Counter[bytes]:
    found: Counter[bytes] = Counter()
    for (digest, _), number in of.items():
        found[digest] += number
    return found
