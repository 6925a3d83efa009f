"""Tiny data sets for the tests: arrays, .npz files and Keras's cache."""

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.data import npz
from pipeline.data.splits import Arrays

# Where Keras 3, then 2, extracts CIFAR-10's archive.
CIFAR10_FOLDERS = ("cifar-10-batches-py-target/cifar-10-batches-py", "cifar-10-batches-py")


def tiny_arrays(n_train: int = 60, n_test: int = 12, n_classes: int = 3) -> dict[str, Any]:
    """Images of 4 x 5 pixels and 3 channels, as many of each class."""
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (n_train, 4, 5, 3), dtype=np.uint8),
        "y_train": np.arange(n_train, dtype=np.uint8) % n_classes,
        "x_test": rng.integers(0, 256, (n_test, 4, 5, 3), dtype=np.uint8),
        "y_test": np.arange(n_test, dtype=np.uint8) % n_classes,
    }


def loaded(path: Path, **changes: Any) -> Arrays:
    np.savez(path, **(tiny_arrays() | changes))
    return npz.read(npz.find(str(path)))


def written_npz(path: Path, **changes: Any) -> bytes:
    np.savez_compressed(path, **(tiny_arrays() | changes))
    return path.read_bytes()


def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Keras cache, and a proxy that refuses connections: as without a network."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    directory = tmp_path / "keras" / "datasets"
    directory.mkdir(parents=True)
    return directory


def python2_batch(rows: np.ndarray, labels: list[int]) -> bytes:
    """A batch as CIFAR's authors pickled it: protocol 2 of Python 2, whose strings are bytes."""
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    array += b"(K\x01(J" + struct.pack("<i", len(rows)) + b"M\x00\x0ctcnumpy\ndtype\nU\x02u1"
    array += b"K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    array += b"T" + struct.pack("<i", rows.size) + rows.tobytes() + b"tb"
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(U\x04data" + array + b"U\x06labels" + numbers + b"u."


def extracted_cifar10(folder: Path) -> Path:
    """A folder as Keras extracts CIFAR-10's archive, with 20 images in each batch."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        rows = rng.integers(0, 256, (20, 3072), dtype=np.uint8)
        (folder / name).write_bytes(python2_batch(rows, list(range(10)) * 2))
    names = [name.encode() for name in npz.CIFAR10_CLASSES]
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": names}, protocol=3))
    return folder
