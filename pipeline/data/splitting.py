"""How a data set is split: what is kept of it, what is held out, and what is paired."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from pipeline.comparisons import Data
from pipeline.data.fingerprints import fingerprint_of
from pipeline.data.samples import Indices, drawn_order, fixed_pairs, shares, some_of_each
from pipeline.data.splits import Arrays, Labels, Splits, require, scale_of_pixels

PAIR_NAMES = ("different", "same")
PAIRS_SEED = 0  # of those to validate and to test with


def split_arrays(arrays: Arrays, data: Data) -> Splits:
    """Keep what was asked for, hold validation images out, and measure the training images.

    Of every class, in an order that `split_seed` decides on every machine and NumPy version (or in
    that of the data set, where it is split by position), the first are skipped, those after them
    held out, and those that follow trained with. So the 100 kept are among the 200 kept, whichever
    other classes there are, and what one data set skips another one can have. By position,
    `val_size` images that are held out are the last ones, whichever class they are of. Within
    every split the images stay in the order of the data set.

    Raises:
        InputError: the data set has no such classes, or too few images of one.
    """
    classes = _kept(arrays, data)
    trained, held_out = _chosen(arrays, classes, data)
    tested = np.flatnonzero(np.isin(arrays.y_test, classes))
    number = np.zeros(len(arrays.class_names), dtype=np.int32)
    number[classes] = np.arange(len(classes))
    training = arrays.x_train, number[arrays.y_train]
    test = arrays.x_test, number[arrays.y_test]
    chosen = {"train": (training, trained), "val": (training, held_out), "test": (test, tested)}
    names = tuple(arrays.class_names[label] for label in classes)
    splits: dict[str, Any] = {}
    for split, ((images, labels), indices) in chosen.items():
        y = labels[indices]
        if data.pairs:
            _check_pairs(split, y, names)
            if split != "train":
                paired, y = fixed_pairs(y, seed=PAIRS_SEED)
                indices = indices[paired]
        splits |= {f"x_{split}": images[indices], f"y_{split}": y}
    scale: dict[str, Any] = scale_of_pixels(splits["x_train"], standardized=data.standardized)
    fingerprint = fingerprint_of(splits if data.standardized else splits | scale)
    return Splits(
        name=arrays.name,
        **splits,
        **scale,
        class_names=PAIR_NAMES if data.pairs else names,
        kept_names=names if data.pairs else (),
        fingerprint=fingerprint,
    )


def _kept(arrays: Arrays, data: Data) -> list[int]:
    """The labels kept, in their new order."""
    n_classes = len(arrays.class_names)
    classes = list(range(n_classes) if data.classes is None else data.classes)
    subject, received = "classes of the data", str(data.classes)
    action = "Give others, or None to keep all."
    expected = f"labels of {arrays.name}, from 0 to {n_classes - 1}"
    require(max(classes) < n_classes, subject, expected, received, action)
    expected = f"labels of which {arrays.name} has test images"
    require(bool(np.isin(arrays.y_test, classes).any()), subject, expected, received, action)
    return classes


def _chosen(arrays: Arrays, classes: list[int], data: Data) -> tuple[Indices, Indices]:
    """Which training images are trained with, and which are held out."""
    labels, asked = arrays.y_train, data.images_per_class
    kept = np.zeros(len(arrays.class_names), dtype=np.intp)
    kept[classes] = 1
    check = partial(_refuse_more, data, arrays, classes)
    check("skipped_per_class", {"needed to train and to validate with": 2 * kept})
    skipped = data.skipped_per_class * kept
    check("val_images_per_class", {"skipped": skipped, "needed to train with": kept})
    left = np.bincount(labels) * kept - skipped
    by_position = data.split == "position"
    order = np.arange(len(labels)) if by_position else drawn_order(len(labels), data.split_seed)
    of_each = partial(some_of_each, labels, order)
    if data.val_images_per_class is not None:
        held_out = data.val_images_per_class * kept
    elif by_position:
        last = of_each(skipped, left)[-_val_size(data, left, classes) :]
        held_out = np.bincount(labels[last], minlength=len(kept))
        _check_some_before(arrays, classes, left - held_out)
    else:
        held_out = shares(left if asked is None else kept, _val_size(data, left, classes))
    check("images_per_class", {"skipped": skipped, "held out": held_out})
    trained = left - held_out if asked is None else asked * kept
    if by_position and data.val_images_per_class is None:
        return of_each(skipped, trained), last
    return of_each(skipped + held_out, trained), of_each(skipped, held_out)


def _val_size(data: Data, left: Indices, classes: list[int]) -> int:
    """How many images are held out, of all classes together."""
    n_kept = int(left.sum())
    if data.images_per_class is not None:  # those held out come in addition, as far as there are
        of_each = min(data.images_per_class, int(left[classes].min()) * 4 // 5)
        n_kept = of_each * len(classes) * 5 // 4
    expected = "at least 1, out of at least 5 training images"
    received = f"{data.val_size} out of {n_kept} training images"
    action = "Give a positive number of images, 5000 by default."
    require(n_kept >= 5, "val_size", expected, received, action)
    # At most a fifth, so that one default serves data sets of every size.
    return min(data.val_size, n_kept // 5)


def _refuse_more(
    data: Data, arrays: Arrays, classes: list[int], setting: str, others: Mapping[str, Indices]
) -> None:
    """Refuse more images of each class than the scarcest has besides those for other purposes."""
    asked, available = getattr(data, setting), np.bincount(arrays.y_train)
    most = available - sum(others.values())
    scarcest = min(classes, key=lambda label: most[label])
    needed = " and ".join(
        f"{count[scarcest]:,} {purpose}" for purpose, count in others.items() if count[scarcest]
    )
    less = f", less {needed}" if needed else ""
    name, n = arrays.class_names[scarcest], available[scarcest]
    expected = f"at most {most[scarcest]:,}: class {name} has {n:,} training images{less}"
    action = "Give a smaller number, or leave out the class."
    fits = asked is None or asked <= most[scarcest]
    require(fits, f"{setting} of the data", expected, str(asked), action)


def _check_some_before(arrays: Arrays, classes: list[int], before: Indices) -> None:
    none = [arrays.class_names[label] for label in classes if not before[label]]
    expected = "images of every class before the last ones, which are held out"
    received = f"'position', which leaves none of class {', '.join(none)} to train with"
    action = "Give val_images_per_class, or split='stratified'."
    require(not none, "split of the data", expected, received, action)


def _check_pairs(split: str, labels: Labels, class_names: Sequence[str]) -> None:
    """Refuse labels of which one occurs once: there is no pair of that class."""
    counts = np.bincount(labels, minlength=len(class_names))
    known = np.flatnonzero(counts).tolist()
    scarcest = min(known, key=lambda label: counts[label])
    words = {"train": "train with", "val": "validate with", "test": "test with"}[split]
    expected = f"two images or more of every class, and two classes, to {words}"
    received = f"{counts[scarcest]} of class {class_names[scarcest]}, of {len(known)} classes"
    action = "Keep more images of it or hold more out, or leave out the class."
    fits = len(known) >= 2 and counts[scarcest] >= 2
    require(bool(fits), "pairs of the data", expected, received, action)
