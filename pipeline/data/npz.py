"""The arrays of a data set: the checks that every source shares, and reading .npz files.

NumPy only. An .npz file may come from anywhere: what it declares is checked before its content is
read, nothing is unpickled or written to disk, and only the four arrays and the names are opened.
"""

import math
import os
import unicodedata
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.base import InputError, did_you_mean
from pipeline.data.splits import Arrays, Labels, refused_if_damaged

MAX_CLASSES = 1000
MAX_CLASS_NAME = 50  # characters
MAX_FEATURES = 1_000_000  # numbers in one image: a dense layer has a weight for each of them
MAX_HEADER = 1024  # bytes; NumPy's own are 128
# Photographs shrink by less than 10 when they are deflated, and drawings by less than 50.
MAX_EXPANSION = 100
ALWAYS_EXPANDED = 256 * 2**20  # bytes, however small the file: an empty drawing shrinks by 1000
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
    if _unprintable(dataset):
        raise InputError(
            "data set",
            expected="a path without control characters, in valid Unicode",
            received=repr(dataset),
            action="Rename the file or its folder.",
        )
    path = Path(os.path.abspath(os.path.expanduser(dataset)))
    if path.suffix != ".npz" or not os.path.isfile(path):
        found = "another kind of file" if os.path.exists(path) else "no such file"
        raise InputError(
            f"data set {path}",
            expected="the path of an .npz file",
            received=found,
            action=did_you_mean(path.name, _npz_files(path.parent)) or "Check the path.",
        )
    with _opened(path) as archive:
        _npz_headers(path, archive)
    return path


def _unprintable(text: str) -> bool:
    """Whether a text has control characters, line ends or bytes that are no text."""
    refused = ("Cc", "Cs", "Zl", "Zp")
    return any(unicodedata.category(character) in refused for character in text)


def _npz_files(directory: Path) -> list[str]:
    try:
        return [sibling.name for sibling in directory.glob("*.npz")]
    except OSError:  # the folder's name is too long, or it cannot be read
        return []


def read(path: Path) -> Arrays:
    """Read and check an .npz file, and name the data set by its stem.

    Raises:
        InputError: the file is damaged, or its arrays cannot be used.
    """
    subject = f"data set {path}"
    with _opened(path) as archive:
        headers = _npz_headers(path, archive)
        # The labels first: they are small, and wrong ones are refused without reading images.
        arrays = {key: _npy_content(archive, key).reshape(-1) for key in ("y_train", "y_test")}
        _check_labels(subject, arrays["y_train"], arrays["y_test"])
        arrays |= {key: _npy_content(archive, key) for key in ("x_train", "x_test")}
        names = _npy_content(archive, "class_names").tolist() if "class_names" in headers else ()
        return assemble(subject, name=path.stem, arrays=arrays, class_names=names)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive; whatever goes wrong while it is open is an InputError about the file."""
    action = "Copy it again, or write it again with numpy.savez(path, x_train=...)."
    with refused_if_damaged(f"data set {path}", action), zipfile.ZipFile(path) as archive:
        yield archive


def _npz_headers(path: Path, archive: zipfile.ZipFile) -> dict[str, _Header]:
    """Check everything that the zip directory and the .npy headers tell, reading no content."""
    subject = f"data set {path}"
    members = [name for name in archive.namelist() if name.endswith(".npy")]
    present = {name.removesuffix(".npy") for name in members}
    missing = [name for name in _NPZ_ARRAYS if name not in present]
    if missing:
        shown = ", ".join(sorted(name[:MAX_CLASS_NAME] for name in present)[:20])
        raise InputError(
            subject,
            expected=f"the arrays {', '.join(_NPZ_ARRAYS)}",
            received=f"{shown or 'none'} (no {', '.join(missing)})",
            action=did_you_mean(missing[0], present - {*_NPZ_ARRAYS}) or "Add what is missing.",
        )
    wanted = [*_NPZ_ARRAYS, *({"class_names"} & present)]
    if twice := [name for name in wanted if members.count(f"{name}.npy") > 1]:
        raise InputError(
            subject,
            expected="every array once",
            received=f"{twice[0]} several times",
            action="Write the file again.",
        )
    _check_sizes(path, {name: archive.getinfo(f"{name}.npy") for name in wanted})
    headers = {name: _npy_header(archive, name, subject) for name in wanted}
    _check_headers(subject, headers)
    return headers


def _check_sizes(path: Path, members: Mapping[str, zipfile.ZipInfo]) -> None:
    """Refuse what would fill the memory when it is read, from a small file or a large one."""
    subject, action = f"data set {path}", "Write it with numpy.savez, or give a smaller data set."
    methods = {member.compress_type for member in members.values()}
    if not methods <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        raise InputError(
            subject,
            expected="arrays stored as they are or deflated, as NumPy does",
            received=f"methods {', '.join(map(str, sorted(methods)))} of the zip format",
            action=action,
        )
    declared = sum(member.file_size for member in members.values())
    stored, memory = path.stat().st_size, _memory()
    # The arrays are split into copies of them, so they are in memory twice, besides the rest.
    if 3 * declared > memory:
        received = f"{declared} bytes, with {memory} bytes of memory"
        expected = "arrays fit for memory, of a third of it at most"
        raise InputError(subject, expected=expected, received=received, action=action)
    if declared > max(ALWAYS_EXPANDED, MAX_EXPANSION * stored):
        received = f"{declared} bytes from a file of {stored} bytes"
        expected = f"arrays of at most {MAX_EXPANSION} times the file's size"
        raise InputError(subject, expected=expected, received=received, action=action)


def _memory() -> int:
    """Bytes of memory of this machine, or of the container that this process is in."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text("ascii").strip()
    except OSError:
        return physical
    return min(physical, int(limit)) if limit.isdecimal() else physical


def _npy_header(archive: zipfile.ZipFile, name: str, subject: str) -> _Header:
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as stream:
        # Version 1.0 is what NumPy writes for numbers and strings; its headers end after 64 KiB.
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError(f"{name} is not in version 1.0 of the .npy format")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=MAX_HEADER)
        declared = stream.tell() + math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise InputError(
            subject,
            expected=f"{name} as plain numbers or strings",
            received="pickled Python objects, which are never read",
            action=f"Give {name} a dtype that is not object.",
        )
    if declared != member.file_size:
        raise InputError(
            subject,
            expected=f"{name} of {declared} bytes as its header declares",
            received=f"{member.file_size} bytes stored",
            action="Write the file again.",
        )
    return _Header(shape, dtype)


def _npy_content(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    # Not by np.load, which takes a member `x_train` for the `x_train.npy` that was checked.
    with archive.open(f"{name}.npy") as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False, max_header_size=MAX_HEADER)
        stream.read()  # nothing is left; at the end the checksum is compared
    return array


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
    names = headers.get("class_names")
    if names and (names.dtype.kind != "U" or len(names.shape) != 1):
        raise InputError(
            subject,
            expected="class_names as a one-dimensional array of strings",
            received=f"{names.dtype} {names.shape}",
            action="Write class_names=np.array([...]) or leave it out.",
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
    if math.prod(shape[1:]) > MAX_FEATURES:
        raise InputError(
            subject,
            expected=f"{name} with images of at most {MAX_FEATURES} numbers",
            received=f"{math.prod(shape[1:])} in each of {shape[0]}",
            action="Scale the images down.",
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


def _check_class_names(subject: str, names: Sequence[str], n_classes: int) -> None:
    """Refuse names that do not tell the classes apart or have no place in a figure."""
    action = "Correct class_names or leave it out."
    shown = ", ".join(repr(name[:MAX_CLASS_NAME]) for name in names[:20])
    if len(names) != n_classes or len(set(names)) != n_classes or "" in names:
        expected = f"{n_classes} different class_names, one per class"
        raise InputError(
            subject, expected=expected, received=f"{len(names)}: {shown}", action=action
        )
    longest = max(map(len, names))
    if longest > MAX_CLASS_NAME or any(map(_unprintable, names)):
        expected = f"class_names of at most {MAX_CLASS_NAME} characters, on one line"
        received = f"up to {longest} characters: {shown}"
        raise InputError(subject, expected=expected, received=received, action=action)


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
    _check_class_names(subject, names, n_classes)
    images = {key: arrays[key] for key in ("x_train", "x_test")}
    return Arrays(
        name=name,
        **{key: x if x.ndim == 4 else x[..., np.newaxis] for key, x in images.items()},
        **{key: arrays[key].reshape(-1).astype(np.int64) for key in ("y_train", "y_test")},
        class_names=names,
    )
