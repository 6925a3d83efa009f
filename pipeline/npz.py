"""The arrays of a data set: the checks that every source shares, and reading .npz files.

NumPy only.
"""

import math
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.data import Arrays, Labels, refused_if_damaged
from pipeline.errors import InputError, did_you_mean

MAX_CLASSES = 1000
# fmt: off
CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)
FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)
# fmt: on
_NPZ_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


class _Header(NamedTuple):
    """Shape and dtype of an array, known before its content is read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


def find(dataset: str) -> Path:
    """Check that a path names an .npz file whose arrays have usable shapes and types.

    Returns:
        The absolute path.

    Raises:
        InputError: there is no such file, or it cannot be used.
    """
    path = Path(os.path.abspath(os.path.expanduser(dataset)))
    if path.suffix != ".npz" or not os.path.isfile(path):
        near = did_you_mean(path.name, [sibling.name for sibling in path.parent.glob("*.npz")])
        found = "another kind of file" if os.path.exists(path) else "no such file"
        raise InputError(
            f"data set {path}",
            expected="the path of an .npz file",
            received=found,
            action=near or "Check the path.",
        )
    _npz_headers(path)
    return path


def read(path: Path) -> Arrays:
    """Read and check an .npz file, and name the data set by its stem.

    Raises:
        InputError: the file is damaged, or its arrays cannot be used.
    """
    headers = _npz_headers(path)
    subject = f"data set {path}"
    with (
        refused_if_damaged(subject, "Copy or write it again."),
        np.load(path, allow_pickle=False) as archive,
    ):
        # The labels first: they are small, and wrong ones are refused without reading images.
        labels = {key: archive[key].reshape(-1) for key in ("y_train", "y_test")}
        _check_labels(subject, labels["y_train"], labels["y_test"])
        images = {key: archive[key] for key in ("x_train", "x_test")}
        class_names = archive["class_names"] if "class_names" in headers else ()
        return assemble(subject, name=path.stem, arrays=images | labels, class_names=class_names)


def _npz_headers(path: Path) -> dict[str, _Header]:
    """Check everything that the zip directory and the .npy headers tell, reading no content."""
    subject = f"data set {path}"
    with (
        refused_if_damaged(subject, "Write it again with numpy.savez(path, x_train=...)."),
        zipfile.ZipFile(path) as archive,
    ):
        present = {name.removesuffix(".npy") for name in archive.namelist()}
        missing = [name for name in _NPZ_ARRAYS if name not in present]
        if missing:
            raise InputError(
                subject,
                expected=f"the arrays {', '.join(_NPZ_ARRAYS)}",
                received=f"{', '.join(sorted(present)) or 'none'} (no {', '.join(missing)})",
                action=did_you_mean(missing[0], present - {*_NPZ_ARRAYS}) or "Add what is missing.",
            )
        wanted = [*_NPZ_ARRAYS, *({"class_names"} & present)]
        headers = {name: _npy_header(archive, name, subject) for name in wanted}
    _check_headers(subject, headers)
    names = headers.get("class_names")
    if names and (names.dtype.kind != "U" or len(names.shape) != 1):
        raise InputError(
            subject,
            expected="class_names as a one-dimensional array of strings",
            received=f"{names.dtype} {names.shape}",
            action="Write class_names=np.array([...]) or leave it out.",
        )
    return headers


def _npy_header(archive: zipfile.ZipFile, name: str, subject: str) -> _Header:
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as stream:
        npy = np.lib.format
        is_first_version = npy.read_magic(stream) == (1, 0)
        read = npy.read_array_header_1_0 if is_first_version else npy.read_array_header_2_0
        shape, _, dtype = read(stream)
        declared = stream.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise InputError(
            subject,
            expected=f"{name} as plain numbers or strings",
            received="pickled Python objects, which are never read",
            action=f"Give {name} a dtype that is not object.",
        )
    # A size that lies is a damaged file or a zip bomb; so is one that no memory can hold.
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if declared != member.file_size or declared > memory:
        raise InputError(
            subject,
            expected=f"{name} of {declared} bytes as its header declares, and fit for memory",
            received=f"{member.file_size} bytes stored, {memory} bytes of memory",
            action="Write the file again, or give a smaller data set.",
        )
    return _Header(shape, dtype)


# --- Checks shared by every source ------------------------------------------------------------


def _check_headers(subject: str, headers: Mapping[str, _Header]) -> None:
    for split in ("train", "test"):
        images, labels = headers[f"x_{split}"], headers[f"y_{split}"]
        _check_images(subject, f"x_{split}", images)
        n = images.shape[0]
        if labels.dtype.kind not in "iu" or labels.shape not in ((n,), (n, 1)):
            raise InputError(
                subject,
                expected=f"y_{split} with an integer label for each of the {n} images, ({n},)",
                received=f"{labels.dtype} {labels.shape}",
                action="Store the class numbers, counted from 0, e.g. y.astype('int64').",
            )
    train, test = headers["x_train"].shape[1:], headers["x_test"].shape[1:]
    if train != test:
        raise InputError(
            subject,
            expected="training and test images of the same height, width and channels",
            received=f"{train} and {test}",
            action="Bring them to one size.",
        )


def _check_images(subject: str, name: str, header: _Header) -> None:
    shape, dtype = header
    if dtype != np.uint8:
        raise InputError(
            subject,
            expected=f"{name} of uint8, pixels from 0 to 255",
            received=str(dtype),
            action="Convert with x.astype('uint8'), or (x * 255).round().astype('uint8') "
            "if its pixels lie between 0 and 1.",
        )
    if len(shape) not in (3, 4) or min(shape) < 1 or (len(shape) == 4 and shape[3] > 4):
        raise InputError(
            subject,
            expected=f"{name} of shape (n, h, w) or (n, h, w, c), not empty, with c up to 4",
            received=str(shape),
            action="Reshape it; channels come last: x.transpose(0, 2, 3, 1).",
        )


def _check_labels(subject: str, y_train: Labels, y_test: Labels) -> int:
    """Refuse label values that cannot be learnt or split; return the number of classes."""
    lowest = min(int(y_train.min()), int(y_test.min()))
    n_classes = int(y_train.max()) + 1
    if lowest < 0 or not 2 <= n_classes <= MAX_CLASSES or int(y_test.max()) >= n_classes:
        raise InputError(
            subject,
            expected=f"labels from 0, 2 to {MAX_CLASSES} classes, every test class in y_train",
            received=f"labels from {lowest}, up to {n_classes - 1} in y_train "
            f"and up to {int(y_test.max())} in y_test",
            action="Number the classes from 0 and keep images of each in the training set.",
        )
    counts = np.bincount(y_train.astype(np.int64), minlength=n_classes)
    if counts.min() < 2:
        raise InputError(
            subject,
            expected="at least 2 training images of every class, one of them to validate with",
            received=f"{counts.min()} of class {counts.argmin()}",
            action="Number the classes without gaps, or add images.",
        )
    return n_classes


def assemble(
    subject: str, *, name: str, arrays: Mapping[str, Any], class_names: Sequence[str] = ()
) -> Arrays:
    """Check arrays, bring them to (n, h, w, c) and (n,), and name their classes.

    Args:
        subject: what an error is about, e.g. `data set /data/tiny.npz`.
        name: of the data set; CIFAR-10's classes get their names where it contains `cifar10`.
        arrays: x_train and x_test, uint8, (n, h, w) or (n, h, w, c); y_train and y_test, any
            integers, (n,) or (n, 1).
        class_names: one per class; numbers where there are none.

    Raises:
        InputError: the arrays cannot be used.
    """
    _check_headers(subject, {key: _Header(a.shape, a.dtype) for key, a in arrays.items()})
    n_classes = _check_labels(subject, arrays["y_train"], arrays["y_test"])
    is_cifar10 = "cifar10" in name and n_classes == len(CIFAR10_CLASSES)
    default = CIFAR10_CLASSES if is_cifar10 else tuple(str(label) for label in range(n_classes))
    names = tuple(str(class_name) for class_name in class_names) or default
    if len(names) != n_classes or len(set(names)) != n_classes or "" in names:
        raise InputError(
            subject,
            expected=f"{n_classes} different class_names, one per class",
            received=f"{len(names)}: {', '.join(names[:20])}",
            action="Correct class_names or leave it out.",
        )
    images = {key: arrays[key] for key in ("x_train", "x_test")}
    return Arrays(
        name=name,
        **{key: x if x.ndim == 4 else x[..., np.newaxis] for key, x in images.items()},
        **{key: arrays[key].reshape(-1).astype(np.int64) for key in ("y_train", "y_test")},
        class_names=names,
    )
