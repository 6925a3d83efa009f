"""The arrays of a data set: the checks that every source shares, and reading .npz files.

An .npz file may come from anywhere: what it declares is checked before its content is read, nothing
is unpickled or written to disk, and only the four arrays and the names are opened. What cannot be
used is an InputError.
"""

import math
import os
import unicodedata
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from pipeline.base import did_you_mean
from pipeline.data.splits import Arrays, Labels, refused_if_damaged, require

ARRAYS = ("x_train", "y_train", "x_test", "y_test")
MAX_CLASSES = 1000
MAX_CLASS_NAME = 50  # characters
MAX_FEATURES = 1_000_000  # numbers in one image: a dense layer has a weight for each of them
MAX_HEADER = 1024  # bytes; NumPy's own are 128
MAX_EXPANSION = 100  # photographs shrink by less than 10 when deflated, drawings by less than 50
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
Header: TypeAlias = tuple[tuple[int, ...], np.dtype]  # what is known before content is read


def find(dataset: str) -> Path:
    """The absolute path of an .npz file; refused unless its arrays have usable shapes and types."""
    expected = "a path without control or invisible characters, in valid Unicode"
    action = "Rename the file or its folder."
    require(not _unprintable(dataset), "data set", expected, repr(dataset), action)
    path = Path(os.path.abspath(os.path.expanduser(dataset)))
    subject, beside = f"data set {path}", []
    is_npz = path.suffix == ".npz" and os.path.isfile(path)
    if not is_npz:
        with suppress(OSError):  # the folder's name is too long, or it cannot be read
            beside = [sibling.name for sibling in path.parent.glob("*.npz") if sibling.is_file()]
    received = "another kind of file" if os.path.exists(path) else "no such file"
    action = did_you_mean(path.name, beside) or "Check the path."
    require(is_npz, subject, "the path of an .npz file", received, action)
    with _opened(path):
        return path


def read(path: Path) -> Arrays:
    """Read and check an .npz file, and name the data set by its stem."""
    subject = f"data set {path}"
    with _opened(path) as archive:
        # The labels first: they are small, and wrong ones are refused without reading images.
        arrays = {key: _npy_content(archive, key).reshape(-1) for key in ("y_train", "y_test")}
        _check_labels(subject, **arrays)
        arrays |= {key: _npy_content(archive, key) for key in ("x_train", "x_test")}
        named = "class_names.npy" in archive.namelist()
        names = _npy_content(archive, "class_names").tolist() if named else ()
        return assemble(subject, path.stem, arrays, names)


def _unprintable(text: str) -> bool:
    """Whether a text has control characters, line ends or bytes that are no text.

    Among them are those that nobody sees, and that reverse what is written after them or make two
    names look alike; of these, only the joiners belong to words.
    """
    joiners = dict.fromkeys(map(ord, "\u200c\u200d"))
    categories = set(map(unicodedata.category, text.translate(joiners)))
    return bool({"Cc", "Cf", "Cs", "Zl", "Zp"} & categories)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """An archive; whatever goes wrong while it is open is an InputError about the file."""
    subject = f"data set {path}"
    action = "Copy it again, or write it again with numpy.savez(path, x_train=...)."
    with refused_if_damaged(subject, action), zipfile.ZipFile(path) as archive:
        _check_archive(subject, archive, stored=path.stat().st_size)
        yield archive


def _check_archive(subject: str, archive: zipfile.ZipFile, *, stored: int) -> None:
    """Check everything that the zip directory and the .npy headers tell, reading no content."""
    names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    missing = [name for name in ARRAYS if name not in names]
    shown = ", ".join(sorted(name[:MAX_CLASS_NAME] for name in set(names))[:20])
    received = f"{shown or 'none'} (no {', '.join(missing)})"
    near = did_you_mean(missing[0], {*names} - {*ARRAYS}) if missing else ""
    expected = f"the arrays {', '.join(ARRAYS)}"
    require(not missing, subject, expected, received, near or "Add what is missing.")
    wanted = [*ARRAYS, *({"class_names"} & set(names))]
    for name in wanted:
        received, action = f"{name} several times", "Write the file again."
        require(names.count(name) == 1, subject, "every array once", received, action)
    members = {name: archive.getinfo(f"{name}.npy") for name in wanted}
    _check_sizes(subject, members.values(), stored=stored)
    _check_headers(subject, {name: _npy_header(archive, name, subject) for name in wanted})


def _check_sizes(subject: str, members: Collection[zipfile.ZipInfo], *, stored: int) -> None:
    """Whether what a file declares can be read, and does not fill the memory."""
    action = "Write it with numpy.savez, or give a smaller data set."
    methods = {member.compress_type for member in members}
    expected = "arrays stored as they are or deflated, as NumPy does"
    received = f"methods {', '.join(map(str, sorted(methods)))} of the zip format"
    usual = methods <= {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
    require(usual, subject, expected, received, action)
    declared = sum(member.file_size for member in members)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # there is no container, or it has no limit
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text("ascii")))
    expected = "arrays fit for memory, of a third of it at most"
    received = f"{declared} bytes, with {memory} bytes of memory"
    # The arrays are split into copies of them, so they are in memory twice, besides the rest.
    require(3 * declared <= memory, subject, expected, received, action)
    expected = f"arrays of at most {MAX_EXPANSION} times the file's size"
    received = f"{declared} bytes from a file of {stored} bytes"
    largest = max(ALWAYS_EXPANDED, MAX_EXPANSION * stored)
    require(declared <= largest, subject, expected, received, action)


def _npy_header(archive: zipfile.ZipFile, name: str, subject: str) -> Header:
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as stream:
        # Version 1.0 is what NumPy writes for numbers and strings; its headers end after 64 KiB.
        if np.lib.format.read_magic(stream) != (1, 0):
            raise ValueError(f"{name} is not in version 1.0 of the .npy format")
        shape, _, dtype = np.lib.format.read_array_header_1_0(stream, max_header_size=MAX_HEADER)
        declared = stream.tell() + math.prod(shape) * dtype.itemsize
    expected = f"{name} as plain numbers or strings"
    received = "pickled Python objects, which are never read"
    action = f"Give {name} a dtype that is not object."
    require(not dtype.hasobject, subject, expected, received, action)
    expected = f"{name} of {declared} bytes as its header declares"
    received, action = f"{member.file_size} bytes stored", "Write the file again."
    require(declared == member.file_size, subject, expected, received, action)
    return shape, dtype


def _npy_content(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    # Not by np.load, which takes a member `x_train` for the `x_train.npy` that was checked.
    with archive.open(f"{name}.npy") as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False, max_header_size=MAX_HEADER)
        stream.read()  # nothing is left; at the end the checksum is compared
    return array


def assemble(
    subject: str, name: str, arrays: Mapping[str, Any], class_names: Sequence[str] = ()
) -> Arrays:
    """Check arrays, bring them to (n, h, w, c) and (n,), and name their classes.

    Args:
        subject: what an error is about, e.g. `data set /data/tiny.npz`.
        name: of the data set; CIFAR-10's classes get their names where it contains `cifar10`.
        arrays: images, uint8, (n, h, w) or (n, h, w, c), and labels, integers, (n,) or (n, 1).
        class_names: one per class; numbers where there are none.
    """
    _check_headers(subject, {key: (array.shape, array.dtype) for key, array in arrays.items()})
    labels = {key: arrays[key].reshape(-1) for key in ("y_train", "y_test")}
    _check_labels(subject, **labels)
    n_classes = int(labels["y_train"].max()) + 1
    is_cifar10 = "cifar10" in name and n_classes == len(CIFAR10_CLASSES)
    default = CIFAR10_CLASSES if is_cifar10 else tuple(map(str, range(n_classes)))
    names = tuple(map(str, class_names)) or default
    action = "Correct class_names or leave it out."
    shown = ", ".join(repr(name[:MAX_CLASS_NAME]) for name in names[:20])
    fits = len(names) == len(set(names)) == n_classes and "" not in names
    expected = f"{n_classes} different class_names, one per class"
    require(fits, subject, expected, f"{len(names)}: {shown}", action)
    longest = max(map(len, names))
    fits = longest <= MAX_CLASS_NAME and not any(map(_unprintable, names))
    expected = f"class_names of at most {MAX_CLASS_NAME} characters, all visible, on one line"
    require(fits, subject, expected, f"up to {longest} characters: {shown}", action)
    checked: dict[str, Any] = {key: y.astype(np.int64) for key, y in labels.items()}
    for key in ("x_train", "x_test"):
        checked[key] = arrays[key].reshape(*arrays[key].shape[:3], -1)
    return Arrays(name=name, **checked, class_names=names)


def _check_headers(subject: str, headers: Mapping[str, Header]) -> None:
    """Whether shapes and dtypes, of arrays or declared by files, are usable and fit together."""
    for split in ("train", "test"):
        (shape, dtype), (labels, label_type) = headers[f"x_{split}"], headers[f"y_{split}"]
        expected = f"x_{split} of uint8, pixels from 0 to 255"
        scaled = "(x * 255).round().astype('uint8') if its pixels lie between 0 and 1"
        action = f"Convert with x.astype('uint8'), or {scaled}."
        require(dtype == np.uint8, subject, expected, str(dtype), action)
        fits = len(shape) in (3, 4) and min(shape) >= 1 and (len(shape) == 3 or shape[3] <= 4)
        expected = f"x_{split} of shape (n, h, w) or (n, h, w, c), not empty, with c up to 4"
        action = "Reshape it; channels come last: x.transpose(0, 2, 3, 1)."
        require(fits, subject, expected, str(shape), action)
        n, features = shape[0], math.prod(shape[1:])
        expected = f"x_{split} with images of at most {MAX_FEATURES} numbers"
        received, action = f"{features} in each of {n}", "Scale the images down."
        require(features <= MAX_FEATURES, subject, expected, received, action)
        fits = label_type.kind in "iu" and labels in ((n,), (n, 1))
        expected = f"y_{split} with an integer label for each of the {n} images, ({n},)"
        action = "Store the class numbers, counted from 0, e.g. y.astype('int64')."
        require(fits, subject, expected, f"{label_type} {labels}", action)
    if "class_names" in headers:
        shape, dtype = headers["class_names"]
        fits = dtype.kind == "U" and len(shape) == 1
        expected = "class_names as a one-dimensional array of strings"
        action = "Write class_names=np.array([...]) or leave it out."
        require(fits, subject, expected, f"{dtype} {shape}", action)
    train, test = (headers[name][0][1:] for name in ("x_train", "x_test"))
    expected = "training and test images of the same height, width and channels"
    require(train == test, subject, expected, f"{train} and {test}", "Bring them to one size.")


def _check_labels(subject: str, y_train: Labels, y_test: Labels) -> None:
    """Whether labels, (n,), can be learnt and split."""
    lowest = min(int(y_train.min()), int(y_test.min()))
    last, last_tested = int(y_train.max()), int(y_test.max())
    fits = lowest >= 0 and 1 <= last < MAX_CLASSES and last_tested <= last
    expected = f"labels from 0, 2 to {MAX_CLASSES} classes, every test class in y_train"
    received = f"labels from {lowest}, up to {last} in y_train and up to {last_tested} in y_test"
    action = "Number the classes from 0 and keep images of each in the training set."
    require(fits, subject, expected, received, action)
    counts = np.bincount(y_train.astype(np.int64))
    expected = "at least 2 training images of every class, one of them to validate with"
    received = f"{counts.min()} of class {counts.argmin()}"
    action = "Number the classes without gaps, or add images."
    require(bool(counts.min() >= 2), subject, expected, received, action)
