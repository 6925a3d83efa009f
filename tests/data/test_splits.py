import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import loaded, tiny_arrays

from pipeline.base import InputError
from pipeline.data import splits


@pytest.fixture
def tiny(tmp_path: Path) -> splits.Arrays:
    return loaded(tmp_path / "tiny.npz")


@pytest.mark.parametrize(
    ("val_size", "n_train", "expected"),
    [(5000, 50_000, 5000), (5000, 4000, 800), (1, 5, 1), (20_000, 50_000, 10_000)],
)
def test_validation_size_is_capped_at_a_fifth(val_size: int, n_train: int, expected: int) -> None:
    assert splits.validation_size(val_size, n_train) == expected


@pytest.mark.parametrize(("val_size", "n_train"), [(0, 100), (-1, 100), (5, 4)])
def test_validation_size_refuses(val_size: int, n_train: int) -> None:
    with pytest.raises(InputError, match="val_size: expected at least 1"):
        splits.validation_size(val_size, n_train)


def test_prepare_splits_refuses_a_negative_seed(tiny: splits.Arrays) -> None:
    with pytest.raises(InputError, match="seed: expected 0 or more; received -1"):
        splits.split_arrays(tiny, val_size=6, seed=-1)


def test_prepare_splits_shapes_types_and_properties(tiny: splits.Arrays) -> None:
    splits = splits.split_arrays(tiny, val_size=9, seed=42)
    assert splits.x_train.shape == (51, 4, 5, 3)
    assert splits.x_val.shape == (9, 4, 5, 3)
    assert splits.y_train.dtype == splits.y_val.dtype == splits.y_test.dtype == np.int32
    assert (splits.image_shape, splits.n_classes, splits.name) == ((4, 5, 3), 3, "tiny")
    np.testing.assert_array_equal(splits.x_test, tiny.x_test)
    np.testing.assert_array_equal(splits.y_test, tiny.y_test)


def test_prepare_splits_is_a_partition_in_the_order_on_disk(tiny: splits.Arrays) -> None:
    splits = splits.split_arrays(tiny, val_size=9, seed=42)
    position = {image.tobytes(): index for index, image in enumerate(tiny.x_train)}
    train, val = (
        [position[image.tobytes()] for image in split] for split in (splits.x_train, splits.x_val)
    )
    assert train == sorted(train)
    assert val == sorted(val)
    assert sorted(train + val) == list(range(60))
    np.testing.assert_array_equal(splits.y_val, tiny.y_train[val])
    np.testing.assert_array_equal(splits.y_train, tiny.y_train[train])


@pytest.mark.parametrize(
    ("counts", "val_size", "expected"),
    [
        ((20, 20, 20), 9, [3, 3, 3]),
        ((30, 20, 10), 12, [6, 4, 2]),
        ((45, 13, 2), 6, [5, 1, 0]),  # quotas 4.5, 1.3 and 0.2: the largest remainder is served
        ((20, 20, 20), 10, [4, 3, 3]),
        ((2, 2, 2), 1, [1, 0, 0]),
    ],
)
def test_prepare_splits_is_stratified(
    tmp_path: Path, counts: tuple[int, ...], val_size: int, expected: list[int]
) -> None:
    labels = np.repeat(np.arange(3), counts)
    images = tiny_arrays(n_train=len(labels))["x_train"]
    arrays = loaded(tmp_path / "tiny.npz", x_train=images, y_train=labels)
    splits = splits.split_arrays(arrays, val_size=val_size, seed=1)
    assert list(splits.class_counts(splits.y_val, splits.class_names).values()) == expected


def test_prepare_splits_depends_on_the_seed_alone(tiny: splits.Arrays) -> None:
    fingerprints = [
        splits.split_arrays(tiny, val_size=9, seed=seed).fingerprint for seed in (42, 42, 43)
    ]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_stratified_sample_is_the_same_on_every_machine() -> None:
    sample = splits.stratified_sample(np.arange(20) % 2, 6, seed=42)
    assert sample.tolist() == [1, 4, 8, 10, 15, 17]


def test_statistics_match_numpy_in_float64() -> None:
    images = np.random.default_rng(1).integers(0, 256, (2500, 3, 2, 2), dtype=np.uint8)
    mean, variance = splits._feature_statistics(images)
    reference = images.reshape(2500, -1).astype(np.float64)
    assert mean.dtype == variance.dtype == np.float32
    assert mean.shape == variance.shape == (12,)
    np.testing.assert_array_equal(mean, reference.mean(axis=0).astype(np.float32))
    np.testing.assert_allclose(variance, reference.var(axis=0), rtol=1e-7)


def test_statistics_are_those_of_the_training_split_alone(tiny: splits.Arrays) -> None:
    splits = splits.split_arrays(tiny, val_size=9, seed=42)
    reference = splits.x_train.reshape(51, -1).mean(axis=0, dtype=np.float64)
    np.testing.assert_array_equal(splits.mean, reference.astype(np.float32))
    assert not np.array_equal(splits.mean, tiny.x_train.reshape(60, -1).mean(axis=0))


def test_variance_of_a_constant_pixel_is_one_percent_of_the_average() -> None:
    images = np.random.default_rng(1).integers(0, 256, (100, 2, 2, 1), dtype=np.uint8)
    images[:, 0, 0] = 7
    _, variance = splits._feature_statistics(images)
    unfloored = images.reshape(100, -1).var(axis=0)
    assert unfloored[0] == 0
    np.testing.assert_allclose(variance[0], 0.01 * unfloored.mean(), rtol=1e-6)
    np.testing.assert_allclose(variance[1:], unfloored[1:], rtol=1e-6)


def test_fingerprint_changes_with_one_pixel_but_not_with_the_location(tmp_path: Path) -> None:
    def fingerprint(path: Path, arrays: dict[str, Any]) -> str:
        return splits.split_arrays(loaded(path, **arrays), val_size=9, seed=42).fingerprint

    arrays = tiny_arrays()
    first = fingerprint(tmp_path / "first.npz", arrays)
    (tmp_path / "folder").mkdir()
    assert fingerprint(tmp_path / "folder" / "second.npz", arrays) == first
    arrays["x_test"][11, 3, 4, 2] ^= 1
    assert fingerprint(tmp_path / "first.npz", arrays) != first


def test_class_counts_includes_absent_classes() -> None:
    assert splits.class_counts(np.array([2, 0, 2]), ["a", "b", "c"]) == {"a": 1, "b": 0, "c": 2}


def test_save_and_open_round_trip_is_memory_mapped_and_read_only(
    tmp_path: Path, tiny: splits.Arrays
) -> None:
    saved = splits.split_arrays(tiny, val_size=9, seed=42)
    splits.save(saved, tmp_path / "new" / "splits")
    opened = splits.open_splits(tmp_path / "new" / "splits")
    for name in (*splits._SPLIT_ARRAYS, "mean", "variance"):
        array = getattr(opened, name)
        assert isinstance(array, np.memmap), name
        assert not array.flags.writeable, name
        assert array.dtype == getattr(saved, name).dtype
        np.testing.assert_array_equal(array, getattr(saved, name))
    assert (opened.name, opened.class_names) == (saved.name, saved.class_names)
    assert opened.fingerprint == saved.fingerprint
    with pytest.raises(ValueError, match="read-only"):
        opened.x_train[0, 0, 0, 0] = 1


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs Linux's /proc")
def test_unloaded_images_hold_no_memory_until_they_are_read_again(
    tmp_path: Path, tiny: splits.Arrays
) -> None:
    def resident() -> int:
        """KiB of the file of training images that are mapped at the moment."""
        _, _, after = Path("/proc/self/smaps").read_text().partition(str(tmp_path / "x_train.npy"))
        (kib,) = re.findall(r"^Rss: +(\d+) kB$", after, re.MULTILINE)[:1]
        return int(kib)

    saved = splits.split_arrays(tiny, val_size=9, seed=42)
    splits.save(saved, tmp_path)
    opened = splits.open_splits(tmp_path)
    np.testing.assert_array_equal(opened.x_train, saved.x_train)
    assert resident() > 0
    opened.unload()
    assert resident() == 0
    np.testing.assert_array_equal(opened.x_train, saved.x_train)
    saved.unload()  # of arrays in memory there is nothing to let go of


@pytest.mark.parametrize("damage", ["missing array", "truncated array", "no metadata", "bad json"])
def test_open_prepared_refuses(tmp_path: Path, tiny: splits.Arrays, damage: str) -> None:
    splits.save(splits.split_arrays(tiny, val_size=9, seed=42), tmp_path / "splits")
    array, described = (tmp_path / "splits" / name for name in ("y_val.npy", "metadata.json"))
    if damage == "missing array":
        array.unlink()
    elif damage == "truncated array":
        array.write_bytes(array.read_bytes()[:-1])
    elif damage == "no metadata":
        described.unlink()
    else:
        described.write_text("{")
    with pytest.raises(InputError, match="Run the prepare step again"):
        splits.open_splits(tmp_path / "splits")
