import gzip
import hashlib
import importlib.util
import os
import pickle
import socket
import struct
import tarfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from pipeline.base import InputError
from pipeline.data import npz, sources
from pipeline.data.splits import Arrays


def found_and_read(name: str) -> Arrays:
    return sources.load(sources.resolve(name))


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return datasets.empty_cache(tmp_path, monkeypatch)


@pytest.fixture(params=datasets.CIFAR10_FOLDERS)
def extracted_cifar10(request: pytest.FixtureRequest, empty_cache: Path) -> Path:
    return datasets.extracted_cifar10(empty_cache / request.param)


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "mnist", "fashion_mnist"])
def test_keras_data_set_without_network_says_what_to_copy_where(
    empty_cache: Path, dataset: str
) -> None:
    with pytest.raises(InputError, match="Without a network: copy") as error:
        sources.resolve(dataset)
    url, target = downloads(dataset)[0]
    assert str(empty_cache / target) in str(error.value)
    assert url in str(error.value)


def downloads(dataset: str) -> list[tuple[str, str]]:
    """The address of every file, and where in the cache a download goes."""
    files = sources.KERAS_FILES[dataset]
    if files.sha256:
        return [(files.url, files.places[0])]
    return [(f"{files.url}/{name}", f"{files.places[0]}/{name}") for name in files.members]


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100", "mnist", "fashion_mnist"])
def test_names_addresses_and_hashes_are_those_of_keras(dataset: str) -> None:
    spec = importlib.util.find_spec("keras")
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).with_name("src").joinpath(f"datasets/{dataset}.py").read_text()
    sha256 = sources.KERAS_FILES[dataset].sha256
    assert sha256 is None or f'"{sha256}"' in text
    for url, target in downloads(dataset):
        host_path, _, name = url.rpartition("/")
        assert f'"{host_path}/' in text
        assert name in text
        assert f'"{Path(target).name.removesuffix("_archive")}"' in text


def test_extracted_cifar10_is_found_and_read(extracted_cifar10: Path) -> None:
    assert sources.resolve("cifar10").location == str(extracted_cifar10)
    arrays = found_and_read("cifar10")
    assert arrays.name == "cifar10"
    assert arrays.x_train.shape == (100, 32, 32, 3)
    assert arrays.x_test.shape == (20, 32, 32, 3)
    assert arrays.class_names == npz.CIFAR10_CLASSES
    assert arrays.y_train.tolist() == list(range(10)) * 10
    rng = np.random.default_rng(5)
    batches = [rng.integers(0, 256, (20, 3, 32, 32), dtype=np.uint8) for _ in range(6)]
    np.testing.assert_array_equal(arrays.x_train[20, :, :, 1], batches[1][0, 1])
    np.testing.assert_array_equal(arrays.x_test[3, :, :, 2], batches[5][3, 2])


class MakesDirectory:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_malicious_pickle_is_refused_and_not_run(extracted_cifar10: Path, tmp_path: Path) -> None:
    payload = pickle.dumps({b"data": MakesDirectory(tmp_path / "ran")}, protocol=3)
    (extracted_cifar10 / "data_batch_2").write_bytes(payload)
    with pytest.raises(InputError, match=r"refused to load posix\.mkdir"):
        found_and_read("cifar10")
    assert not (tmp_path / "ran").exists()
    pickle.loads(payload)
    assert (tmp_path / "ran").exists()  # the payload works where it is not refused


@pytest.mark.parametrize("content", [b"", b"\x80\x02}.", b"no pickle"])
def test_damaged_batch_is_refused(extracted_cifar10: Path, content: bytes) -> None:
    (extracted_cifar10 / "test_batch").write_bytes(content)
    with pytest.raises(InputError, match=r"undamaged.*Delete it"):
        found_and_read("cifar10")


def test_incomplete_folder_does_not_count_as_cached(extracted_cifar10: Path) -> None:
    (extracted_cifar10 / "data_batch_3").unlink()
    with pytest.raises(InputError, match="no connection"):
        sources.resolve("cifar10")


@pytest.mark.parametrize("name", ["cifar-10-batches-py-target_archive", "cifar-10-python.tar.gz"])
def test_archive_with_another_hash_is_not_used(
    extracted_cifar10: Path, empty_cache: Path, name: str
) -> None:
    with tarfile.open(empty_cache / name, "w:gz") as archive:
        archive.add(extracted_cifar10, arcname="cifar-10-batches-py")
    (extracted_cifar10 / "test_batch").unlink()
    with pytest.raises(InputError, match="no connection"):
        sources.resolve("cifar10")
    published = sources.KERAS_FILES["cifar10"].sha256
    assert published
    given = sources.Source(name="cifar10", location=str(empty_cache / name), identity=published)
    with pytest.raises(InputError, match=f"SHA-256 {published}, as it was resolved"):
        sources.load(given)


def test_archive_is_read_like_the_folder(
    extracted_cifar10: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_folder = found_and_read("cifar10")
    path = empty_cache / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(extracted_cifar10, arcname="cifar-10-batches-py")
    published = hashlib.sha256(path.read_bytes()).hexdigest()
    files = sources.KERAS_FILES["cifar10"]._replace(sha256=published)
    monkeypatch.setitem(sources.KERAS_FILES, "cifar10", files)
    assert sources.resolve("cifar10").location == str(path)
    from_archive = found_and_read("cifar10")
    assert from_archive.class_names == from_folder.class_names
    for name in npz.ARRAYS:
        np.testing.assert_array_equal(getattr(from_archive, name), getattr(from_folder, name))


FASHION_FILES = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def cached_fashion_mnist(empty_cache: Path) -> Path:
    for key, array in datasets.tiny_arrays().items():
        images_or_labels = array[..., 0] if array.ndim == 4 else array
        write_idx(empty_cache / "fashion-mnist" / FASHION_FILES[key], images_or_labels)
    return empty_cache / "fashion-mnist"


def test_cached_fashion_mnist_is_read(cached_fashion_mnist: Path) -> None:
    labels = {"train": np.arange(60, dtype=np.uint8) % 10, "test": np.arange(12, dtype=np.uint8)}
    for split, array in labels.items():
        write_idx(cached_fashion_mnist / FASHION_FILES[f"y_{split}"], array % 10)
    assert sources.resolve("fashion_mnist").location == str(cached_fashion_mnist)
    arrays = found_and_read("fashion_mnist")
    assert arrays.name == "fashion_mnist"
    assert arrays.class_names[9] == "Ankle boot"
    np.testing.assert_array_equal(arrays.x_train[..., 0], datasets.tiny_arrays()["x_train"][..., 0])
    np.testing.assert_array_equal(arrays.y_train, labels["train"])


def test_what_is_missing_of_fashion_mnist_is_fetched_alone(cached_fashion_mnist: Path) -> None:
    (cached_fashion_mnist / FASHION_FILES["x_test"]).unlink()
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz: expected a cached copy"):
        sources.resolve("fashion_mnist")


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"text", id="not compressed"),
        pytest.param(gzip.compress(b"\0\0\x08\x01\0\0\0\x09one"), id="too short"),
        pytest.param(gzip.compress(b"none"), id="no header"),
    ],
)
def test_damaged_fashion_mnist_is_refused(cached_fashion_mnist: Path, content: bytes) -> None:
    (cached_fashion_mnist / FASHION_FILES["y_test"]).write_bytes(content)
    with pytest.raises(InputError, match=r"undamaged.*Delete it"):
        found_and_read("fashion_mnist")


def test_download_puts_a_verified_file_in_place(tmp_path: Path) -> None:
    origin, target = tmp_path / "origin", tmp_path / "cache" / "target"
    origin.write_bytes(b"content")
    sources._download(origin.as_uri(), target, hashlib.sha256(b"content").hexdigest())
    assert target.read_bytes() == b"content"
    assert list(target.parent.iterdir()) == [target]


def test_download_with_another_hash_leaves_nothing_behind(tmp_path: Path) -> None:
    origin, target = tmp_path / "origin", tmp_path / "cache" / "target"
    origin.write_bytes(b"tampered")
    with pytest.raises(OSError, match="SHA-256"):
        sources._download(origin.as_uri(), target, hashlib.sha256(b"content").hexdigest())
    assert list(target.parent.iterdir()) == []


def test_connect_accepts_a_host_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}/file"
        sources._connect(url)
    with pytest.raises(OSError, match=r"no connection to 127\.0\.0\.1"):
        sources._connect(url)
