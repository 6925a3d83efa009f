"""Data sets as arrays: described by their statistics, made smaller, stored and opened again."""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.base import InputError, TrackingUnavailableError
from pipeline.data.fingerprints import fingerprint_of, parts, unload
from pipeline.data.samples import Labels, first_of_each

# A file changed less than this ago is read anew each time: a clock that ticks slowly would hide
# another change soon after (FAT counts in 2 seconds).
SETTLED_SECONDS = 2
PREPARE_AGAIN = "Run the prepare step again, with -P reuse=never."
_ARRAYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test", "mean", "variance")
_DESCRIBED = ("name", "class_names", "kept_names", "fingerprint")
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

    Of pairs, those to train with are drawn from the training images, single ones with the labels of
    their classes; the others are fixed, images (n, 2, h, w, c) with labels 0 and 1.

    Args:
        kept_names: of pairs, the names of the classes that their images are of; else empty.
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
    kept_names: tuple[str, ...] = ()

    @property
    def pairs(self) -> bool:
        """Whether the question is if two images are of the same class."""
        return bool(self.kept_names)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and channels of one image; of pairs, 2 before them."""
        return self.x_test.shape[1:]

    @property
    def n_classes(self) -> int:
        return len(self.class_names)

    @property
    def trained_names(self) -> tuple[str, ...]:
        """The names of the classes that training labels number: of pairs, those of the images."""
        return self.kept_names or self.class_names

    def few(self, images_per_class: int) -> "Splits":
        """The data with only so many training images of each class, and their mean and variance.

        A smaller number keeps some of the images that a larger one does. Validation, test and the
        fingerprint stay those of all the data. The same number gives the same object, since
        compiled trainers are found again by it.

        Raises:
            InputError: a class has fewer, or there would be no pair of it.
        """
        return _few(self, images_per_class)

    def scaled_as(self, other: "Splits") -> "Splits":
        """The data with the mean and variance of other data.

        A network that takes layers from one trained on that data has to scale images alike.

        Raises:
            InputError: its images are of another shape.
        """
        return _scaled_as(self, other)

    def unload(self) -> None:
        """Let go of the pages of memory-mapped images; they are read again when they are used."""
        for images in (self.x_train, self.x_val, self.x_test):
            unload(images)


# By objects, of which `open_splits` gives one for each data set.
@lru_cache(maxsize=8)
def _few(splits: Splits, images_per_class: int) -> Splits:
    counts = np.bincount(splits.y_train)
    scarcest, least = counts.argmin(), 2 if splits.pairs else 1
    name, n = splits.trained_names[scarcest], counts[scarcest]
    expected = f"from {least} to {n:,}, all that class {name} has to train with"
    action = "Give another number, or None to train with all."
    fits = least <= images_per_class <= n
    require(bool(fits), "images_per_class of the variant", expected, str(images_per_class), action)
    chosen = first_of_each(splits.y_train, np.full_like(counts, images_per_class), seed=0)
    x_train, y_train = splits.x_train[chosen], splits.y_train[chosen]
    scale: Any = scale_of_pixels(x_train, standardized=bool(splits.mean.any()))
    return replace(splits, x_train=x_train, y_train=y_train, **scale)


@lru_cache(maxsize=8)
def _scaled_as(splits: Splits, other: Splits) -> Splits:
    own, theirs = splits.x_train.shape[1:], other.x_train.shape[1:]
    expected = f"images of shape {theirs}, as those of {other.name} that it goes on from"
    action = "Give both the same data set."
    require(own == theirs, f"data set {splits.name}", expected, str(own), action)
    return replace(splits, mean=other.mean, variance=other.variance)


def class_counts(labels: Labels, class_names: Sequence[str]) -> dict[str, int]:
    """Number of images per class, in class order, also where it is zero."""
    counts = np.bincount(labels, minlength=len(class_names))
    return dict(zip(class_names, counts.tolist(), strict=True))


def side_by_side(pairs: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Pairs of images, (..., 2, h, w, c), as pictures to look at, with some white between them."""
    first, second = np.moveaxis(pairs, -4, 0)
    *others, width, channels = first.shape
    white = np.full((*others, 1 + width // 16, channels), 255, np.uint8)
    return np.concatenate([first, white, second], axis=-2)


def save(splits: Splits, directory: Path) -> None:
    """Write one .npy file per array and, last, metadata.json (so its presence means complete)."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in _ARRAYS:
        np.save(directory / f"{name}.npy", getattr(splits, name), allow_pickle=False)
    described = {name: getattr(splits, name) for name in _DESCRIBED if getattr(splits, name)}
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
    for name in {"class_names", "kept_names"} & described.keys():
        described[name] = tuple(described[name])
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
    trained, *others = (one.max() + 1 for one in (splits.y_train, splits.y_val, splits.y_test))
    if not splits.pairs:
        others.append(trained)
    shape = (2,) * splits.pairs + splits.x_train.shape[1:]
    if not (
        len(splits.trained_names) == trained
        and len(splits.class_names) == max(others)
        and splits.x_val.shape[1:] == splits.x_test.shape[1:] == shape
    ):
        return False
    scale = scale_of_pixels(splits.x_train, standardized=standardized)
    return all(
        # Another processor may round the last digit in another way.
        array.shape == arrays[name].shape and np.allclose(arrays[name], array, rtol=1e-6, atol=0)
        for name, array in scale.items()
    )


def scale_of_pixels(images: npt.NDArray[np.uint8], *, standardized: bool) -> dict[str, np.ndarray]:
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
