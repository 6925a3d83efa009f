"""Data sets as arrays: split, described by their statistics, stored and opened again.

NumPy only.
"""

import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.base import InputError

Labels = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Arrays:
    """A loaded and checked data set, as its authors split it.

    Args:
        name: as in `Source`.
        x_train, x_test: images, uint8, (n, h, w, c).
        y_train, y_test: labels from 0 without gaps, int64, (n,).
        class_names: one name per class.
    """

    name: str
    x_train: npt.NDArray[np.uint8]
    y_train: npt.NDArray[np.int64]
    x_test: npt.NDArray[np.uint8]
    y_test: npt.NDArray[np.int64]
    class_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Splits:
    """A data set ready for training.

    Args:
        name: as in `Source`.
        x_train, x_val, x_test: images, uint8, (n, h, w, c).
        y_train, y_val, y_test: labels, int32, (n,).
        mean, variance: float32, (h * w * c,), per feature of the training split alone.
        class_names: one name per class.
        fingerprint: SHA-256 (hex) over names, shapes, dtypes and bytes of the six arrays.
    """

    name: str
    x_train: npt.NDArray[np.uint8]
    y_train: npt.NDArray[np.int32]
    x_val: npt.NDArray[np.uint8]
    y_val: npt.NDArray[np.int32]
    x_test: npt.NDArray[np.uint8]
    y_test: npt.NDArray[np.int32]
    mean: npt.NDArray[np.float32]
    variance: npt.NDArray[np.float32]
    class_names: tuple[str, ...]
    fingerprint: str

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        height, width, channels = self.x_train.shape[1:]
        return height, width, channels

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def unload(self) -> None:
        """Let go of the pages of memory-mapped images; they are read again when they are used."""
        for images in (self.x_train, self.x_val, self.x_test):
            if isinstance(images.base, mmap.mmap):
                images.base.madvise(mmap.MADV_DONTNEED)


def validation_size(val_size: int, n_train: int) -> int:
    """The size of the validation split: what was asked for, but at most a fifth of the images.

    The cap lets one default serve data sets of every size: 5,000 of CIFAR-10's 50,000 training
    images, 800 of the 4,000 of mnist_5k.

    Raises:
        InputError: `val_size` is below 1 or a fifth of the images is less than one image.
    """
    if val_size < 1 or n_train < 5:
        raise InputError(
            "val_size",
            expected="at least 1, out of at least 5 training images",
            received=f"{val_size} out of {n_train} training images",
            action="Give a positive number of images, 5000 by default.",
        )
    return min(val_size, n_train // 5)


def split_arrays(arrays: Arrays, *, val_size: int, seed: int) -> Splits:
    """Take a stratified validation split from the training images and compute their statistics.

    The test images stay as they are, and so does the order within every split.

    Args:
        arrays: a loaded data set.
        val_size: number of validation images, capped by `validation_size`.
        seed: decides which images are taken; the same on every machine and NumPy version.

    Raises:
        InputError: `val_size` is below 1, `seed` is negative or there are under 5 images.
    """
    if seed < 0:
        raise InputError("seed", expected="0 or more", received=str(seed), action="Give another.")
    size = validation_size(val_size, len(arrays.y_train))
    is_val = np.zeros(len(arrays.y_train), dtype=bool)
    is_val[stratified_sample(arrays.y_train, size, seed)] = True
    splits: dict[str, Any] = {
        "x_train": arrays.x_train[~is_val],
        "y_train": arrays.y_train[~is_val].astype(np.int32),
        "x_val": arrays.x_train[is_val],
        "y_val": arrays.y_train[is_val].astype(np.int32),
        "x_test": arrays.x_test,
        "y_test": arrays.y_test.astype(np.int32),
    }
    mean, variance = _feature_statistics(splits["x_train"])
    return Splits(
        name=arrays.name,
        **splits,
        mean=mean,
        variance=variance,
        class_names=arrays.class_names,
        fingerprint=_fingerprint(splits),
    )


def save(data: Splits, directory: Path) -> None:
    """Write one .npy file per array and, last, metadata.json (so its presence means complete).

    Args:
        data: what to write.
        directory: created if it is missing.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name in _PREPARED_ARRAYS:
        np.save(directory / f"{name}.npy", getattr(data, name), allow_pickle=False)
    described = {
        "name": data.name,
        "class_names": data.class_names,
        "fingerprint": data.fingerprint,
    }
    (directory / "metadata.json").write_text(json.dumps(described, indent=2), encoding="utf-8")


def open_splits(directory: Path) -> Splits:
    """Open what `save` wrote, memory-mapped and read-only: processes share one copy in memory.

    Raises:
        InputError: a file is missing or damaged.
    """
    with refused_if_damaged(f"splits data {directory}", "Run the prepare step again."):
        described = json.loads((directory / "metadata.json").read_text(encoding="utf-8"))
        arrays: dict[str, Any] = {
            name: np.load(directory / f"{name}.npy", mmap_mode="r", allow_pickle=False)
            for name in _PREPARED_ARRAYS
        }
        return Splits(
            **arrays,
            name=described["name"],
            class_names=tuple(described["class_names"]),
            fingerprint=described["fingerprint"],
        )


def class_counts(labels: Labels, class_names: Sequence[str]) -> dict[str, int]:
    """Number of images per class, in class order, also where it is zero."""
    counts = np.bincount(labels, minlength=len(class_names))
    return dict(zip(class_names, counts.tolist(), strict=True))


# --- Splitting and statistics -----------------------------------------------------------------

_SPLIT_ARRAYS = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test")
_PREPARED_ARRAYS = (*_SPLIT_ARRAYS, "mean", "variance")


def stratified_sample(labels: Labels, size: int, seed: int) -> npt.NDArray[np.intp]:
    """Sorted indices of a sample with the class proportions of the whole (largest remainder)."""
    take, remainder = np.divmod(size * np.bincount(labels), len(labels))
    take[np.argsort(-remainder, kind="stable")[: size - take.sum()]] += 1
    # NumPy fixes the raw stream of a bit generator for good (NEP 19), but not what
    # Generator.permutation makes of it, nor does scikit-learn fix its splitters.
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    by_class = (order[labels[order] == label][:count] for label, count in enumerate(take))
    return np.sort(np.concatenate(list(by_class)))


def _feature_statistics(
    images: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean and variance per feature, in chunks: float64 copies of all images would take 1 GB."""
    features = images.reshape(len(images), -1)
    n = len(features)
    total = np.zeros(features.shape[1])
    total_of_squares = np.zeros(features.shape[1])
    for start in range(0, n, 1024):
        chunk = features[start : start + 1024].astype(np.float64)
        total += chunk.sum(axis=0)
        total_of_squares += np.einsum("ij,ij->j", chunk, chunk)
    # Sums of integers are exact in float64, so this difference does not cancel.
    variance = (n * total_of_squares - total**2) / n**2
    # A pixel that hardly ever changes in the training split (MNIST's corners are always 0) would
    # otherwise be divided by next to nothing, and one stray dot there would swamp the network.
    variance = np.maximum(variance, 0.01 * variance.mean())
    return (total / n).astype(np.float32), variance.astype(np.float32)


def _fingerprint(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in _SPLIT_ARRAYS:
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.shape} {array.dtype.str}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()


# --- Files ------------------------------------------------------------------------------------


def identity_of(paths: Sequence[Path]) -> str:
    """SHA-256 of a file, or of the list of SHA-256s of several."""
    hashes = []
    for path in paths:
        with (
            refused_if_damaged(f"data set file {path}", "Check that it can be read."),
            path.open("rb") as stream,
        ):
            hashes.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


@contextmanager
def refused_if_damaged(subject: str, action: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an InputError; a broken file can raise anything."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            subject,
            expected="complete, undamaged files",
            received=f"{type(error).__name__}: {error}",
            action=action,
        ) from error
