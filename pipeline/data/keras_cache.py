"""The image sets of keras.datasets: find them in Keras's cache, fetch, verify and read them.

`keras.datasets` would import TensorFlow (about 9 s) to read a file, so the few lines that find,
verify and fill Keras's cache are our own; files carry the names Keras gives them, so that each
finds what the other has fetched. NumPy only.
"""

import gzip
import os
import pickle
import socket
import sys
import tarfile
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.base import InputError
from pipeline.data.npz import FASHION_CLASSES, assemble
from pipeline.data.splits import Arrays, identity_of, refused_if_damaged

CONNECT_SECONDS = 3.0  # `auto` must decide within seconds that there is no network
STALL_SECONDS = 15.0
DOWNLOAD_SECONDS = 900.0


class _File(NamedTuple):
    """A file of Keras's cache: the name a download gets, other names it may have, its hash."""

    name: str
    url: str
    sha256: str | None = None
    aliases: tuple[str, ...] = ()


class _Cifar(NamedTuple):
    """CIFAR's archive, pickled by Python 2: the training batches, the test batch, class names."""

    folder: str
    batches: tuple[str, ...]
    prefix: bytes  # of the keys `labels` and `label_names`


_CIFAR = {
    "cifar10": _Cifar(
        "cifar-10-batches-py",
        (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"),
        b"",
    ),
    "cifar100": _Cifar("cifar-100-python", ("train", "test", "meta"), b"fine_"),
}

_TORONTO = "https://www.cs.toronto.edu/~kriz"
_GOOGLE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
_FASHION_FILES = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}

# Names, addresses and hashes as in keras.datasets of Keras 3. The aliases are the names of Keras 2
# and of the archive at its origin, so that a person may copy either into the cache.
KERAS_FILES = {
    "cifar10": (
        _File(
            "cifar-10-batches-py-target_archive",
            f"{_TORONTO}/cifar-10-python.tar.gz",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            ("cifar-10-batches-py.tar.gz", "cifar-10-python.tar.gz"),
        ),
    ),
    "cifar100": (
        _File(
            "cifar-100-python-target_archive",
            f"{_TORONTO}/cifar-100-python.tar.gz",
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            ("cifar-100-python.tar.gz",),
        ),
    ),
    "mnist": (
        _File(
            "mnist.npz",
            f"{_GOOGLE}/mnist.npz",
            "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
        ),
    ),
    # Keras publishes no hashes for these: https and the checks of their content must do.
    "fashion_mnist": tuple(
        _File(f"fashion-mnist/{name}", f"{_GOOGLE}/{name}") for name in _FASHION_FILES.values()
    ),
}


def cache_directory() -> Path:
    """Where Keras keeps its data sets."""
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras")
    return Path(os.path.abspath(home.expanduser())) / "datasets"


def find(name: str, *, fetch: bool = True) -> Path:
    """Find the file or folder of one of `KERAS_FILES` in Keras's cache; fetch what is missing.

    Args:
        name: a key of `KERAS_FILES`.
        fetch: whether to fetch what is missing.

    Raises:
        InputError: it is not cached and there is no network or it is not to be fetched, or a
            download is not what it must be.
    """
    cache = cache_directory()
    files = KERAS_FILES[name]
    found = [_cached(cache, file) for file in files]
    if not all(found) and (folder := _extracted(cache, name)):
        return folder
    if not all(found) and not fetch:
        raise InputError(
            f"data set {name}",
            expected=f"a cached copy in {cache}",
            received="none",
            action="It is fetched when it is needed.",
        )
    paths = [path or _fetch(cache, file) for path, file in zip(found, files, strict=True)]
    return paths[0] if len(paths) == 1 else paths[0].parent


def files_of(name: str, path: Path) -> list[Path]:
    """The files whose content makes up a data set, given what `find` returned."""
    if not path.is_dir():
        return [path]
    if name not in _CIFAR:
        return [path / file for file in _FASHION_FILES.values()]
    return [path / batch for batch in _CIFAR[name].batches]


def read(name: str, path: Path, *, identity: str) -> Arrays:
    """Read and check CIFAR or Fashion-MNIST; `mnist` is an .npz file.

    Args:
        name: a key of `KERAS_FILES`, but not `mnist`.
        path: what `find` returned.
        identity: SHA-256 (hex) of the files, by `identity_of`.

    Raises:
        InputError: the archive is not the published one, or a file is damaged.
    """
    subject, action = f"data set {path}", "Delete it, so that it is fetched again."
    published = KERAS_FILES[name][0].sha256
    if path.is_file() and identity != published:
        expected = f"the published archive, SHA-256 {published}"
        raise InputError(subject, expected=expected, received=identity, action=action)
    with refused_if_damaged(subject, action):
        if name in _CIFAR:
            arrays, class_names = _read_cifar(path, _CIFAR[name])
        else:
            arrays = {key: _read_idx(path / file) for key, file in _FASHION_FILES.items()}
            class_names = FASHION_CLASSES
        return assemble(subject, name=name, arrays=arrays, class_names=class_names)


def _cached(cache: Path, file: _File) -> Path | None:
    """The cached file; one with another hash (an interrupted download) counts as missing."""
    for path in (cache / name for name in (file.name, *file.aliases)):
        if path.is_file() and file.sha256 in (None, identity_of([path])):
            return path
    return None


def _extracted(cache: Path, name: str) -> Path | None:
    """The folder into which Keras 3 or 2 extracted CIFAR's archive, if it is complete."""
    if name not in _CIFAR:
        return None
    folder = _CIFAR[name].folder
    for path in (cache / f"{folder}-target" / folder, cache / folder):
        if all((path / batch).is_file() for batch in _CIFAR[name].batches):
            return path
    return None


def _fetch(cache: Path, file: _File) -> Path:
    """Download a file into Keras's cache, with a clear error where there is no network."""
    target = cache / file.name
    try:
        _connect(file.url)
        print(f"Downloading {file.url} to {target}", file=sys.stderr)
        _download(file.url, target, file.sha256)
    except OSError as error:
        raise InputError(
            f"data set file {target}",
            expected=f"a cached copy or a connection to {file.url}",
            received=str(error),
            action=f"Without a network: copy {file.url.rpartition('/')[2]}, downloaded elsewhere, "
            f"to {target}, or give the path of an .npz file with x_train, y_train, x_test, y_test.",
        ) from error
    return target


def _connect(url: str) -> None:
    """Raise OSError unless the host (or the proxy in use) answers within `CONNECT_SECONDS`."""
    address = urllib.parse.urlsplit(urllib.request.getproxies().get("https") or url)
    outcome: list[OSError | None] = []

    def attempt() -> None:
        try:
            port = address.port or (443 if address.scheme == "https" else 80)
            socket.create_connection((address.hostname or "", port), CONNECT_SECONDS).close()
            outcome.append(None)
        except OSError as error:
            outcome.append(error)

    # In a thread, since no timeout bounds the look-up of a name (up to 30 s without a network).
    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    failure = outcome[0] if outcome else TimeoutError(f"no answer within {CONNECT_SECONDS:g} s")
    if failure:
        raise OSError(f"no connection to {address.hostname}: {failure}")


def _download(url: str, target: Path, sha256: str | None) -> None:
    """Download to a temporary name, verify, rename; OSError if any of these fails."""
    target.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + DOWNLOAD_SECONDS
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-") as directory:
        part = Path(directory) / target.name
        with urllib.request.urlopen(url, timeout=STALL_SECONDS) as response, part.open("wb") as out:
            while block := response.read(1 << 20):
                out.write(block)
                if time.monotonic() > deadline:
                    raise TimeoutError(f"download not finished after {DOWNLOAD_SECONDS:g} s")
        received = identity_of([part])
        if sha256 not in (None, received):
            raise OSError(f"the download's SHA-256 is {received}, expected {sha256}")
        os.replace(part, target)


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles NumPy arrays and builtin containers; any other global is refused, not run."""

    def find_class(self, module: str, name: str) -> Any:
        reconstruct: Any = np.empty(0).__reduce__()[0]
        allowed = {"ndarray": np.ndarray, "dtype": np.dtype, "_reconstruct": reconstruct}
        modules = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
        if module in modules and name in allowed:
            return allowed[name]
        raise pickle.UnpicklingError(f"refused to load {module}.{name} from a pickle")


def _read_cifar(path: Path, cifar: _Cifar) -> tuple[dict[str, Any], tuple[str, ...]]:
    batches = dict(_cifar_batches(path, cifar))
    *train, test, meta = cifar.batches
    arrays: dict[str, Any] = {}
    for split, names in (("train", train), ("test", [test])):
        pixels = np.concatenate([batches[name][b"data"] for name in names])
        images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        arrays[f"x_{split}"] = np.ascontiguousarray(images)
        labels = [np.asarray(batches[name][cifar.prefix + b"labels"]) for name in names]
        arrays[f"y_{split}"] = np.concatenate(labels)
    class_names = batches[meta][cifar.prefix + b"label_names"]
    return arrays, tuple(name.decode() for name in class_names)


def _cifar_batches(path: Path, cifar: _Cifar) -> Iterator[tuple[str, dict[bytes, Any]]]:
    if path.is_dir():
        for name in cifar.batches:
            with (path / name).open("rb") as stream:
                yield name, _ArrayUnpickler(stream, encoding="bytes").load()
        return
    with tarfile.open(path, "r|gz") as archive:  # as a stream: seeking back would inflate it again
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            content = archive.extractfile(member)
            if content and folder == cifar.folder and name in cifar.batches:
                yield name, _ArrayUnpickler(content, encoding="bytes").load()


def _read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Read the IDX format of MNIST (http://yann.lecun.com/exdb/mnist/): big-endian sizes first."""
    content = gzip.decompress(path.read_bytes())
    zeros, kind, dimensions = content[:2], content[2], content[3]
    if zeros != b"\0\0" or kind != 8:
        raise ValueError(f"{path.name} is not an IDX file of unsigned bytes")
    shape = np.frombuffer(content, ">u4", dimensions, offset=4).tolist()
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
