import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import loaded, tiny_arrays, written_npz

from pipeline.base import InputError
from pipeline.data import npz


def test_gives_its_stem_images_and_flat_labels(tmp_path: Path) -> None:
    written = tiny_arrays()
    arrays = loaded(tmp_path / "tiny.npz", y_train=written["y_train"][:, np.newaxis])
    assert arrays.name == "tiny"
    np.testing.assert_array_equal(arrays.x_train, written["x_train"])
    np.testing.assert_array_equal(arrays.x_test, written["x_test"])
    np.testing.assert_array_equal(arrays.y_train, written["y_train"])
    assert arrays.y_train.shape == (60,)
    assert arrays.class_names == ("0", "1", "2")


def test_images_without_channels_get_one(tmp_path: Path) -> None:
    images = {key: tiny_arrays()[key][..., 0] for key in ("x_train", "x_test")}
    arrays = loaded(tmp_path / "grey.npz", **images)
    assert arrays.x_train.shape == (60, 4, 5, 1)
    assert arrays.x_test.shape == (12, 4, 5, 1)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint64, ">i4"])
def test_labels_of_any_integer_type(tmp_path: Path, dtype: Any) -> None:
    labels = {key: tiny_arrays()[key].astype(dtype) for key in ("y_train", "y_test")}
    assert loaded(tmp_path / "tiny.npz", **labels).y_train.dtype == np.int64


def test_class_names_are_taken(tmp_path: Path) -> None:
    arrays = loaded(tmp_path / "tiny.npz", class_names=np.array(["ant", "bee", "cow"]))
    assert arrays.class_names == ("ant", "bee", "cow")


@pytest.mark.parametrize(
    ("stem", "n_classes", "first"),
    [("my_cifar10_copy", 10, "airplane"), ("other", 10, "0"), ("cifar10_animals", 6, "0")],
)
def test_cifar10_names_need_the_stem_and_ten_classes(
    tmp_path: Path, stem: str, n_classes: int, first: str
) -> None:
    arrays = loaded(tmp_path / f"{stem}.npz", **tiny_arrays(n_classes=n_classes))
    assert arrays.class_names[0] == first
    assert len(arrays.class_names) == n_classes


REFUSED_ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "float images": ({"x_train": np.zeros((60, 4, 5, 3), np.float32)}, r"uint8.*float32.*Convert"),
    "bool images": ({"x_test": np.zeros((12, 4, 5, 3), bool)}, "x_test of uint8"),
    "flat images": ({"x_train": np.zeros((60, 60), np.uint8)}, r"\(n, h, w, c\).*\(60, 60\)"),
    "five dimensions": ({"x_train": np.zeros((60, 1, 4, 5, 3), np.uint8)}, r"\(n, h, w, c\)"),
    "channels first": ({"x_train": np.zeros((60, 3, 32, 32), np.uint8)}, "channels come last"),
    "empty images": ({"x_test": np.zeros((0, 4, 5, 3), np.uint8)}, "not empty"),
    "zero height": ({"x_train": np.zeros((60, 0, 5, 3), np.uint8)}, "not empty"),
    "other size": ({"x_test": np.zeros((12, 5, 4, 3), np.uint8)}, "same height"),
    "float labels": ({"y_train": np.zeros(60)}, "integer label.*float64"),
    "text labels": ({"y_train": np.array(["a"] * 60)}, "integer label"),
    "one-hot labels": ({"y_train": np.zeros((60, 3), np.uint8)}, r"integer label.*\(60, 3\)"),
    "too many labels": ({"y_train": np.arange(61) % 3}, r"60 images.*\(61,\)"),
    "too few labels": ({"y_test": np.arange(11) % 3}, r"12 images.*\(11,\)"),
    "negative label": ({"y_train": np.arange(60) % 3 - 1}, "labels from -1"),
    "new class in test": ({"y_test": np.arange(12) % 4}, "up to 2 in y_train and up to 3"),
    "class without training images": ({"y_train": np.arange(60) % 2 * 2}, "0 of class 1"),
    "class with one training image": (
        {"y_train": np.r_[np.zeros(59, int), 1], "y_test": np.zeros(12, int)},
        "1 of class 1",
    ),
    "one class": ({"y_train": np.zeros(60, int), "y_test": np.zeros(12, int)}, "2 to 1000 classes"),
    "1001 classes": ({"y_train": np.arange(60) % 3 + 998}, "up to 1000 in y_train"),
    "huge label": ({"y_train": np.full(60, 2**64 - 1, np.uint64)}, "2 to 1000 classes"),
    "object labels": ({"y_train": np.array([0, 1, 2] * 20, object)}, "y_train.*pickled"),
    "object names": ({"class_names": np.array(["a", "b", "c"], object)}, "class_names.*pickled"),
    "numbered names": ({"class_names": np.arange(3)}, "array of strings"),
    "too few names": ({"class_names": np.array(["a", "b"])}, "3 different class_names"),
    "equal names": ({"class_names": np.array(["a", "b", "a"])}, "3 different class_names"),
}


@pytest.mark.parametrize("case", REFUSED_ARRAYS)
def test_refuses_arrays(tmp_path: Path, case: str) -> None:
    changes, message = REFUSED_ARRAYS[case]
    with pytest.raises(InputError, match=message) as error:
        loaded(tmp_path / "bad.npz", **changes)
    assert str(tmp_path / "bad.npz") in str(error.value)


def not_a_zip(path: Path) -> None:
    path.write_bytes(b"hello" * 100)


def truncated(path: Path) -> None:
    content = written_npz(path)
    path.write_bytes(content[: len(content) // 2])


def corrupt_pixels(path: Path) -> None:
    content = bytearray(written_npz(path))
    content[1500:1600] = bytes(100)
    path.write_bytes(content)


def array_missing(path: Path) -> None:
    arrays = tiny_arrays()
    np.savez(path, x_trian=arrays.pop("x_train"), **arrays)


def empty_zip(path: Path) -> None:
    zipfile.ZipFile(path, "w").close()


def header_declaring(shape: tuple[int, ...], path: Path, stored: int | None = None) -> None:
    """An .npz whose x_train declares a shape but holds hardly any pixels."""
    arrays = tiny_arrays()
    del arrays["x_train"]
    np.savez(path, **arrays)
    header = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_train.npy", header.getvalue() + bytes(100))
        if stored is not None:
            archive.getinfo("x_train.npy").file_size = stored + len(header.getvalue())


def size_that_lies(path: Path) -> None:
    header_declaring((60, 1000, 1000, 3), path)


def negative_shape(path: Path) -> None:
    header_declaring((-10, -10, 1, 1), path)


def larger_than_memory(path: Path) -> None:
    header_declaring((10**9, 1000, 1000, 1), path, stored=10**15)


REFUSED_FILES: dict[Callable[[Path], None], str] = {
    not_a_zip: "not a zip",
    truncated: "undamaged.*not a zip",
    corrupt_pixels: "undamaged",
    array_missing: r"no x_train\). Did you mean 'x_trian'",
    empty_zip: "none.*no x_train, y_train, x_test, y_test",
    size_that_lies: "bytes stored",
    negative_shape: "not empty",
    larger_than_memory: "fit for memory",
}


@pytest.mark.parametrize("write", REFUSED_FILES)
def test_refuses_file(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "bad.npz"
    write(path)
    with pytest.raises(InputError, match=REFUSED_FILES[write]) as error:
        npz.read(npz.find(str(path)))
    assert str(path) in str(error.value)


def test_headers_are_refused_before_content_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "bad.npz", **(tiny_arrays() | {"y_test": np.zeros(3, int)}))
    with pytest.raises(InputError, match="12 images"):
        npz.find(str(tmp_path / "bad.npz"))
