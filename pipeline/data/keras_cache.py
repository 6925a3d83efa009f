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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.base import InputError
from pipeline.data.npz import FASHION_CLASSES, assemble
from pipeline.data.splits import Arrays, identity_of, refused_if_damaged, require

CONNECT_SECONDS = 3.0  # `auto` must decide within seconds that there is no network
STALL_SECONDS = 15.0
DOWNLOAD_SECONDS = 900.0


class _Files(NamedTuple):
    """A data set in Keras's cache: one file, or a folder of several."""

    places: tuple[str, ...]  # where it may be; a download goes to the first
    url: str  # of the file, or of the folder
    # Keras publishes none for Fashion-MNIST: https and the checks of the content must do.
    sha256: str | None = None
    members: tuple[str, ...] = ()  # of CIFAR the training batches, the test batch, class names
    prefix: bytes = b""  # of the keys `labels` and `label_names` in CIFAR's batches


def _cifar(folder: str, origin: str, sha256: str, members: Sequence[str], prefix: bytes) -> _Files:
    # Keras 3's archive, Keras 2's, the one of its authors; Keras 3's folder, Keras 2's.
    archives = (f"{folder}-target_archive", f"{folder}.tar.gz", origin)
    places = (*archives, f"{folder}-target/{folder}", folder)
    url = f"https://www.cs.toronto.edu/~kriz/{origin}"
    return _Files(places, url, sha256, tuple(members), prefix)


def _idx_files(split: str) -> tuple[str, ...]:
    return f"{split}-images-idx3-ubyte.gz", f"{split}-labels-idx1-ubyte.gz"


_GOOGLE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"

# Names, addresses and hashes as in keras.datasets of Keras 3.
KERAS_FILES = {
    "cifar10": _cifar(
        "cifar-10-batches-py",
        "cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"],
        b"",
    ),
    "cifar100": _cifar(
        "cifar-100-python",
        "cifar-100-python.tar.gz",
        "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        ["train", "test", "meta"],
        b"fine_",
    ),
    "mnist": _Files(
        places=("mnist.npz",),
        url=f"{_GOOGLE}/mnist.npz",
        sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
    ),
    "fashion_mnist": _Files(
        places=("fashion-mnist",),
        url=_GOOGLE,
        members=(*_idx_files("train"), *_idx_files("t10k")),
    ),
}


def cache_directory() -> Path:
    """Where Keras keeps its data sets."""
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras")
    return Path(os.path.abspath(home.expanduser())) / "datasets"


def find(name: str, *, fetch: bool = True) -> Path:
    """The file or folder of one of `KERAS_FILES` in Keras's cache; what is missing is fetched.

    Raises:
        InputError: it is not cached and there is no network or it is not to be fetched, or a
            download is not what it must be.
    """
    cache, wanted = cache_directory(), KERAS_FILES[name]
    for path in (cache / place for place in wanted.places):
        # A file with another hash (an interrupted download) counts as missing.
        if all(file.is_file() for file in files_of(name, path)) and (
            path.is_dir() or identity_of([path]) == wanted.sha256
        ):
            return path
    action = "It is fetched when it is needed."
    require(fetch, f"data set {name}", f"a cached copy in {cache}", "none", action)
    path = cache / wanted.places[0]
    if wanted.sha256:
        _fetch(wanted.url, path, wanted.sha256)
        return path
    for member in wanted.members:
        if not (path / member).is_file():
            _fetch(f"{wanted.url}/{member}", path / member)
    return path


def files_of(name: str, path: Path) -> list[Path]:
    """The files whose content makes up a data set, given what `find` returned."""
    members = KERAS_FILES[name].members if name in KERAS_FILES and path.is_dir() else ()
    return [path / member for member in members] or [path]


def read(name: str, path: Path) -> Arrays:
    """Read and check CIFAR or Fashion-MNIST where `find` found it; `mnist` is an .npz file.

    Raises:
        InputError: the archive is not the published one, or a file is damaged.
    """
    subject, action = f"data set {path}", "Delete it, so that it is fetched again."
    if path.is_file():
        published, received = KERAS_FILES[name].sha256, identity_of([path])
        expected = f"the published archive, SHA-256 {published}"
        require(received == published, subject, expected, received, action)
    with refused_if_damaged(subject, action):
        read_content = _read_fashion if name == "fashion_mnist" else _read_cifar
        arrays, class_names = read_content(path, KERAS_FILES[name])
        return assemble(subject, name=name, arrays=arrays, class_names=class_names)


def _fetch(url: str, target: Path, sha256: str | None = None) -> None:
    """Download a file into Keras's cache, with a clear error where there is no network."""
    try:
        _connect(url)
        print(f"Downloading {url} to {target}", file=sys.stderr)
        _download(url, target, sha256)
    except OSError as error:
        raise InputError(
            f"data set file {target}",
            expected=f"a cached copy or a connection to {url}",
            received=str(error),
            action=f"Without a network: copy {url.rpartition('/')[2]}, downloaded elsewhere, "
            f"to {target}, or give the path of an .npz file with x_train, y_train, x_test, y_test.",
        ) from error


def _connect(url: str) -> None:
    """Raise OSError unless the host (or the proxy in use) answers within `CONNECT_SECONDS`."""
    address = urllib.parse.urlsplit(urllib.request.getproxies().get("https") or url)
    outcome: list[OSError | None] = [TimeoutError(f"no answer within {CONNECT_SECONDS:g} s")]

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
    if failure := outcome[-1]:
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


def _read_cifar(path: Path, cifar: _Files) -> tuple[dict[str, Any], tuple[str, ...]]:
    found = dict(_cifar_batches(path, cifar))
    *train, test, meta = (found[name] for name in cifar.members)
    arrays: dict[str, Any] = {}
    for split, batches in (("train", train), ("test", [test])):
        pixels = np.concatenate([batch[b"data"] for batch in batches])
        images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        arrays[f"x_{split}"] = np.ascontiguousarray(images)
        labels = [np.asarray(batch[cifar.prefix + b"labels"]) for batch in batches]
        arrays[f"y_{split}"] = np.concatenate(labels)
    return arrays, tuple(name.decode() for name in meta[cifar.prefix + b"label_names"])


def _cifar_batches(path: Path, cifar: _Files) -> Iterator[tuple[str, dict[bytes, Any]]]:
    if path.is_dir():
        for name in cifar.members:
            with (path / name).open("rb") as stream:
                yield name, _ArrayUnpickler(stream, encoding="bytes").load()
        return
    with tarfile.open(path, "r|gz") as archive:  # as a stream: seeking back would inflate it again
        for member in archive:
            folder, _, name = member.name.rpartition("/")
            content = archive.extractfile(member)
            if content and folder == cifar.places[-1] and name in cifar.members:
                yield name, _ArrayUnpickler(content, encoding="bytes").load()


def _read_fashion(path: Path, fashion: _Files) -> tuple[dict[str, Any], tuple[str, ...]]:
    names = ("x_train", "y_train", "x_test", "y_test")
    files = zip(names, fashion.members, strict=True)
    return {name: _read_idx(path / file) for name, file in files}, FASHION_CLASSES


def _read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Read the IDX format of MNIST (http://yann.lecun.com/exdb/mnist/): big-endian sizes first."""
    content = gzip.decompress(path.read_bytes())
    zeros, kind, dimensions = content[:2], content[2], content[3]
    if zeros != b"\0\0" or kind != 8:
        raise ValueError(f"{path.name} is not an IDX file of unsigned bytes")
    shape = np.frombuffer(content, ">u4", dimensions, offset=4).tolist()
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
