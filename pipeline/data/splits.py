"""Data sets as arrays: split, described by their statistics, stored and opened again."""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.base import InputError, TrackingUnavailableError
from pipeline.comparisons import Data
from pipeline.data.fingerprints import fingerprint_of, parts, unload

Labels = npt.NDArray[np.integer[Any]]
# A file changed less than this ago is read anew each time: a clock that ticks slowly would hide
# another change soon after (FAT counts in 2 seconds).
SETTLED_SECONDS = 2
PREPARE_AGAIN = "Run the prepare step again, with -P reuse=never."
_ARRAYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "mean", "variance")
FILES = (*(f"{name}.npy" for name in _ARRAYS), "metadata.json")  # that `save` writes


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrays:
    """A loaded and checked data set, as its authors split it.

    Images are of shape (n, h, w, c), and labels from 0 without gaps, (n,); one name per class.
    """

    name: str
    x_train: npt.NDArray[np.uint8]
    y_train: Labels
    x_test: npt.NDArray[np.uint8]
    y_test: Labels
    class_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits(Arrays):
    """A data set ready for training: with images held out to validate with, and int32 labels.

    Args:
        mean, variance: what images are standardised with, (h * w * c,): those of every feature of
            the training split alone, or 0 and 255**2, which lead to 0 to 1.
        fingerprint: that of the six arrays, and of the mean and variance where they do not follow
            from these.
    """

    x_val: npt.NDArray[np.uint8]
    y_val: Labels
    mean: npt.NDArray[np.float32]
    variance: npt.NDArray[np.float32]
    fingerprint: str

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and channels of one image."""
        return self.x_train.shape[1:]

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    def unload(self) -> None:
        """Let go of the pages of memory-mapped images; they are read again when they are used."""
        for images in (self.x_train, self.x_val, self.x_test):
            unload(images)


def split_arrays(arrays: Arrays, data: Data) -> Splits:
    """Keep what was asked for, hold validation images out, and measure the training images.

    Those kept and held out of a class are the first of its images in an order that `split_seed`
    decides, on every machine and NumPy version: the 100 kept are among the 200 kept, whichever
    other classes there are. Within every split the images stay in the order of the data set.

    Raises:
        InputError: the data set has no such classes, too few images of one, or under 5 in all.
    """
    classes, counts = _kept(arrays, data)
    n_kept = int(counts.sum())
    expected = "at least 1, out of at least 5 training images"
    received = f"{data.val_size} out of {n_kept} training images"
    action = "Give a positive number of images, 5000 by default."
    require(n_kept >= 5, "val_size", expected, received, action)
    # At most a fifth, so that one default serves data sets of every size.
    size = min(data.val_size, n_kept // 5)
    kept = _first_of_each(arrays.y_train, counts, data.split_seed)
    held_out = _first_of_each(arrays.y_train, _shares(counts, size), data.split_seed)
    trained = np.setdiff1d(kept, held_out, assume_unique=True)
    tested = np.flatnonzero(np.isin(arrays.y_test, classes))
    number = np.zeros(len(counts), dtype=np.int32)
    number[classes] = np.arange(len(classes))
    training = arrays.x_train, number[arrays.y_train]
    test = arrays.x_test, number[arrays.y_test]
    chosen = {"train": (training, trained), "val": (training, held_out), "test": (test, tested)}
    splits: dict[str, Any] = {}
    for split, ((images, labels), indices) in chosen.items():
        splits |= {f"x_{split}": images[indices], f"y_{split}": labels[indices]}
    scale: dict[str, Any] = _scale_of_pixels(splits["x_train"], standardized=data.standardized)
    names = tuple(arrays.class_names[label] for label in classes)
    fingerprint = fingerprint_of(splits if data.standardized else splits | scale)
    return Splits(name=arrays.name, **splits, **scale, class_names=names, fingerprint=fingerprint)


def class_counts(labels: Labels, class_names: Sequence[str]) -> dict[str, int]:
    """Number of images per class, in class order, also where it is zero."""
    counts = np.bincount(labels, minlength=len(class_names))
    return dict(zip(class_names, counts.tolist(), strict=True))


def stratified_sample(labels: Labels, size: int, seed: int) -> npt.NDArray[np.intp]:
    """Sorted indices of a sample with the class proportions of the whole (largest remainder)."""
    return _first_of_each(labels, _shares(np.bincount(labels), size), seed)


def save(splits: Splits, directory: Path) -> None:
    """Write one .npy file per array and, last, metadata.json (so its presence means complete)."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in _ARRAYS:
        np.save(directory / f"{name}.npy", getattr(splits, name), allow_pickle=False)
    described = {name: getattr(splits, name) for name in ("name", "class_names", "fingerprint")}
    (directory / "metadata.json").write_text(json.dumps(described, indent=2), encoding="utf-8")


def open_splits(directory: Path, fingerprint: str | None = None, *, subject: str = "") -> Splits:
    """Open what `save` wrote, memory-mapped and read-only: processes share one copy in memory.

    Its content is checked, once in a process, against its own metadata and the fingerprint that it
    is known to have, where one is given; an error calls it the subject.

    Raises:
        InputError: a file is missing or damaged, or the content is not what was saved.
    """
    subject = subject or f"splits in {directory}"
    with refused_if_damaged(subject, PREPARE_AGAIN):
        splits = _opened(directory)
    expected, received = f"arrays of fingerprint {fingerprint}", splits.fingerprint
    require(fingerprint in (None, received), subject, expected, received, PREPARE_AGAIN)
    return splits


@lru_cache(maxsize=8)
def _opened(directory: Path) -> Splits:
    described = json.loads((directory / "metadata.json").read_text(encoding="utf-8"))
    described["class_names"] = tuple(described["class_names"])
    paths = {name: directory / f"{name}.npy" for name in _ARRAYS}
    arrays = {name: np.load(path, mmap_mode="r") for name, path in paths.items()}
    splits = Splits(**arrays, **described)
    if not _is_as_described(splits):
        raise ValueError("the arrays are others than metadata.json tells")
    return splits


def _is_as_described(splits: Splits) -> bool:
    """Whether all of its arrays are those that the fingerprint was taken of, and of its classes."""
    arrays = {name: getattr(splits, name) for name in _ARRAYS}
    six = {name: arrays[name] for name in _ARRAYS if name not in ("mean", "variance")}
    standardized = fingerprint_of(six) == splits.fingerprint
    if not standardized and fingerprint_of(arrays) != splits.fingerprint:
        return False
    labels = (splits.y_train, splits.y_val, splits.y_test)
    scale = _scale_of_pixels(splits.x_train, standardized=standardized)
    return splits.n_classes == 1 + max(one.max() for one in labels) and all(
        # Another processor may round the last digit in another way.
        array.shape == arrays[name].shape and np.allclose(arrays[name], array, rtol=1e-6, atol=0)
        for name, array in scale.items()
    )


def _kept(arrays: Arrays, data: Data) -> tuple[list[int], npt.NDArray[np.intp]]:
    """The labels kept, in their new order, and how many training images of every class are."""
    available, n_classes = np.bincount(arrays.y_train), len(arrays.class_names)
    classes = list(range(n_classes) if data.classes is None else data.classes)
    subject, received = "classes of the data", str(data.classes)
    action = "Give others, or None to keep all."
    expected = f"labels of {arrays.name}, from 0 to {n_classes - 1}"
    require(max(classes) < n_classes, subject, expected, received, action)
    expected = f"labels of which {arrays.name} has test images"
    require(bool(np.isin(arrays.y_test, classes).any()), subject, expected, received, action)
    scarcest, asked = min(classes, key=lambda label: available[label]), data.images_per_class
    most, name = available[scarcest], arrays.class_names[scarcest]
    expected = f"from 2, to train and to validate with, to {most}, all that class {name} has"
    action = "Give another number, or None to keep all."
    fits = asked is None or 2 <= asked <= most
    require(fits, "images_per_class of the data", expected, str(asked), action)
    counts = np.zeros_like(available)
    counts[classes] = available[classes] if asked is None else asked
    return classes, counts


def _shares(counts: npt.NDArray[np.intp], size: int) -> npt.NDArray[np.intp]:
    """How many of every class make a sample of some size (largest remainder)."""
    shares, remainder = np.divmod(size * counts, counts.sum())
    shares[np.argsort(-remainder, kind="stable")[: size - shares.sum()]] += 1
    return shares


def _first_of_each(labels: Labels, counts: Labels, seed: int) -> npt.NDArray[np.intp]:
    """Sorted indices of so many images of every class, the first in an order drawn by the seed."""
    # NumPy fixes the raw stream of a bit generator for good (NEP 19), but not what
    # Generator.permutation makes of it, nor does scikit-learn fix its splitters.
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    by_class = (order[labels[order] == label][:count] for label, count in enumerate(counts))
    return np.sort(np.concatenate(list(by_class)))


def _scale_of_pixels(images: npt.NDArray[np.uint8], *, standardized: bool) -> dict[str, np.ndarray]:
    """The mean and variance that images are standardised with, by feature, in float32."""
    n, n_features = len(images), math.prod(images.shape[1:])
    if not standardized:
        zeros = np.zeros(n_features, np.float32)
        return {"mean": zeros, "variance": zeros + 255**2}
    total, total_of_squares = np.zeros((2, n_features))
    for part in parts(images):
        features = part.reshape(len(part), -1)
        # Of these neither makes a float64 copy of the images.
        total += features.sum(axis=0, dtype=np.float64)
        total_of_squares += np.einsum("ij,ij->j", features, features, dtype=np.float64)
    # Sums of integers are exact in float64, so this difference does not cancel.
    variance = (n * total_of_squares - total**2) / n**2
    # A pixel that hardly ever changes in the training split (MNIST's corners are always 0) would
    # otherwise be divided by next to nothing, and one stray dot there would swamp the network.
    variance = np.maximum(variance, 0.01 * variance.mean())
    return {"mean": (total / n).astype(np.float32), "variance": variance.astype(np.float32)}


def require(holds: bool, subject: str, expected: str, received: str, action: str) -> None:
    """Raise an InputError of these four texts unless something holds."""
    if not holds:
        raise InputError(subject, expected=expected, received=received, action=action)


@contextmanager
def refused_if_damaged(subject: str, action: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an InputError; a broken file can raise anything."""
    try:
        yield
    except (InputError, TrackingUnavailableError):
        raise
    except Exception as error:
        expected, received = "complete, undamaged files", f"{type(error).__name__}: {error}"
        raise InputError(subject, expected=expected, received=received, action=action) from error


def identity_of(paths: Sequence[Path]) -> str:
    """SHA-256 of a file, or of the list of SHA-256s of several; an unchanged one is read once."""
    hashes = []
    for path in paths:
        with refused_if_damaged(f"data set file {path}", "Check that it can be read."):
            found = path.stat()
            settled = time.time() - max(found.st_mtime, found.st_ctime) > SETTLED_SECONDS
            state = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
            hashes.append((_sha256 if settled else _sha256.__wrapped__)(path, *state))
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


@lru_cache(maxsize=64)
def _sha256(path: Path, *_state: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
