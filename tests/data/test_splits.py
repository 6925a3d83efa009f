import dataclasses
import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import loaded, tiny_arrays

from pipeline.base import InputError
from pipeline.comparisons import Data
from pipeline.data.splits import (
    _ARRAYS,
    Arrays,
    _scale_of_pixels,
    class_counts,
    open_splits,
    save,
    split_arrays,
    stratified_sample,
)

NINE = Data(val_size=9, split_seed=42)


@pytest.fixture
def tiny(tmp_path: Path) -> Arrays:
    return loaded(tmp_path / "tiny.npz")


@pytest.mark.parametrize(
    ("val_size", "n_train", "expected"),
    [(5000, 50_000, 5000), (5000, 4000, 800), (1, 5, 1), (20_000, 50_000, 10_000)],
)
def test_validation_size_is_capped_at_a_fifth(val_size: int, n_train: int, expected: int) -> None:
    splits = split_arrays(of_two_classes(n_train), Data(val_size=val_size))
    assert len(splits.y_val) == expected


def of_two_classes(n_train: int) -> Arrays:
    """Training and test images of one pixel each."""
    x, y = np.zeros((n_train, 1, 1, 1), np.uint8), np.arange(n_train) % 2
    return Arrays(name="two", x_train=x, y_train=y, x_test=x, y_test=y, class_names=("a", "b"))


@pytest.mark.parametrize("val_size", [0, -1])
def test_no_images_to_validate_with_are_refused(val_size: int) -> None:
    with pytest.raises(InputError, match=r"val_size .*: expected an integer from 1"):
        split_arrays(of_two_classes(100), Data(val_size=val_size))


def test_images_of_which_a_fifth_is_none_are_refused() -> None:
    with pytest.raises(InputError, match="val_size: expected at least 1, out of at least 5"):
        split_arrays(of_two_classes(4), Data(val_size=5))


def test_splitting_shapes_types_and_properties(tiny: Arrays) -> None:
    splits = split_arrays(tiny, NINE)
    assert splits.x_train.shape == (51, 4, 5, 3)
    assert splits.x_val.shape == (9, 4, 5, 3)
    assert splits.y_train.dtype == splits.y_val.dtype == splits.y_test.dtype == np.int32
    assert (splits.image_shape, splits.n_classes, splits.name) == ((4, 5, 3), 3, "tiny")
    np.testing.assert_array_equal(splits.x_test, tiny.x_test)
    np.testing.assert_array_equal(splits.y_test, tiny.y_test)


def test_splitting_is_a_partition_in_the_order_on_disk(tiny: Arrays) -> None:
    splits = split_arrays(tiny, NINE)
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
def test_splitting_is_stratified(
    tmp_path: Path, counts: tuple[int, ...], val_size: int, expected: list[int]
) -> None:
    labels = np.repeat(np.arange(3), counts)
    images = tiny_arrays(n_train=len(labels))["x_train"]
    arrays = loaded(tmp_path / "tiny.npz", x_train=images, y_train=labels)
    splits = split_arrays(arrays, Data(val_size=val_size, split_seed=1))
    assert list(class_counts(splits.y_val, splits.class_names).values()) == expected


def test_splitting_depends_on_the_seed_alone(tiny: Arrays) -> None:
    fingerprints = [
        split_arrays(tiny, Data(val_size=9, split_seed=seed)).fingerprint for seed in (42, 42, 43)
    ]
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]


def test_stratified_sample_is_the_same_on_every_machine() -> None:
    sample = stratified_sample(np.arange(20) % 2, 6, seed=42)
    assert sample.tolist() == [1, 4, 8, 10, 15, 17]


@pytest.fixture
def uneven(tmp_path: Path) -> Arrays:
    """40, 20, 12 and 8 training images of four classes in a mixed order, and 12 test images."""
    labels = np.random.default_rng(3).permutation(np.repeat(np.arange(4), (40, 20, 12, 8)))
    arrays = tiny_arrays(n_train=80, n_classes=4) | {"y_train": labels}
    return loaded(tmp_path / "uneven.npz", **arrays, class_names=np.array(["a", "b", "c", "d"]))


def rows(images: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, int]]:
    return [(image.tobytes(), int(y)) for image, y in zip(images, labels, strict=True)]


def test_classes_are_kept_alone_and_numbered_in_their_order(uneven: Arrays) -> None:
    splits = split_arrays(uneven, Data(classes=(3, 1), val_size=5))
    assert splits.class_names == ("d", "b")
    new = {3: 0, 1: 1}
    for given, kept in (
        (
            rows(uneven.x_train, uneven.y_train),
            rows(splits.x_train, splits.y_train) + rows(splits.x_val, splits.y_val),
        ),
        (rows(uneven.x_test, uneven.y_test), rows(splits.x_test, splits.y_test)),
    ):
        assert sorted(kept) == sorted((image, new[y]) for image, y in given if y in new)
    assert splits.y_train.dtype == splits.y_val.dtype == splits.y_test.dtype == np.int32
    # 5 out of 8 and 20 are 1.43 and 3.57.
    assert class_counts(splits.y_val, splits.class_names) == {"d": 1, "b": 4}


def test_all_classes_by_name_are_the_data_set_itself(uneven: Arrays) -> None:
    given, default = (
        split_arrays(uneven, Data(classes=classes)) for classes in ((0, 1, 2, 3), None)
    )
    assert given.fingerprint == default.fingerprint


def test_images_of_each_class_are_the_first_in_an_order_of_the_seed(uneven: Arrays) -> None:
    splits = split_arrays(uneven, Data(images_per_class=6, classes=(2, 3, 0), split_seed=7))
    position = {image.tobytes(): index for index, image in enumerate(uneven.x_train)}
    train, val = (
        [position[image.tobytes()] for image in images] for images in (splits.x_train, splits.x_val)
    )
    # One at a time in that order, held out first: 18 images kept, a fifth of them are 3.
    numbers = np.random.PCG64(7).random_raw(80).tolist()
    expected: dict[str, list[int]] = {"train": [], "val": []}
    for label in (0, 2, 3):
        of_class = [index for index in range(80) if uneven.y_train[index] == label]
        first, *others = sorted(of_class, key=lambda index: numbers[index])[:6]
        expected["val"] += [first]
        expected["train"] += others
    assert {"train": train, "val": val} == {key: sorted(values) for key, values in expected.items()}
    assert len(splits.x_test) == 9


def test_fewer_images_are_among_more_whichever_other_classes_are_kept(uneven: Arrays) -> None:
    def kept(data: Data) -> set[bytes]:
        splits = split_arrays(uneven, data)
        return {image.tobytes() for image in (*splits.x_train, *splits.x_val)}

    assert kept(Data(images_per_class=3)) < kept(Data(images_per_class=8))
    some = kept(Data(images_per_class=3, classes=(2, 0)))
    assert some < kept(Data(images_per_class=3))
    assert some != kept(Data(images_per_class=3, classes=(2, 0), split_seed=2))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Data(classes=(0, 4)), r"classes of the data: expected labels .* 0 to 3; .*\(0, 4\)"),
        (Data(images_per_class=9), "from 2, .* to 8, all that class d has; received 9"),
        (Data(images_per_class=13, classes=(1, 2)), "to 12, all that class c has; received 13"),
        (Data(images_per_class=1), "expected from 2, .*; received 1"),
        (Data(images_per_class=2, classes=(0, 1)), "out of at least 5 .* out of 4"),
    ],
)
def test_splitting_refuses_what_the_data_set_does_not_have(
    uneven: Arrays, data: Data, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        split_arrays(uneven, data)


def test_splitting_refuses_classes_without_test_images(tmp_path: Path) -> None:
    arrays = loaded(tmp_path / "tiny.npz", y_test=np.zeros(12, int))
    with pytest.raises(InputError, match="of which tiny has test images"):
        split_arrays(arrays, Data(classes=(1, 2)))


def test_without_standardising_pixels_are_brought_from_0_to_1(tiny: Arrays) -> None:
    default = split_arrays(tiny, Data())
    splits = split_arrays(tiny, Data(standardized=False))
    pixels = splits.x_train.reshape(len(splits.x_train), -1)
    scaled = (pixels - splits.mean) / np.sqrt(splits.variance)
    assert scaled.dtype == splits.mean.dtype == splits.variance.dtype == np.float32
    np.testing.assert_array_equal(scaled, pixels.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(splits.x_train, default.x_train)
    assert splits.fingerprint != default.fingerprint


def test_statistics_match_numpy_in_float64() -> None:
    images = np.random.default_rng(1).integers(0, 256, (2500, 3, 2, 2), dtype=np.uint8)
    mean, variance = _scale_of_pixels(images, standardized=True).values()
    reference = images.reshape(2500, -1).astype(np.float64)
    assert mean.dtype == variance.dtype == np.float32
    assert mean.shape == variance.shape == (12,)
    np.testing.assert_array_equal(mean, reference.mean(axis=0).astype(np.float32))
    np.testing.assert_allclose(variance, reference.var(axis=0), rtol=1e-7)


def test_statistics_are_those_of_the_training_split_alone(tiny: Arrays) -> None:
    splits = split_arrays(tiny, NINE)
    reference = splits.x_train.reshape(51, -1).mean(axis=0, dtype=np.float64)
    np.testing.assert_array_equal(splits.mean, reference.astype(np.float32))
    assert not np.array_equal(splits.mean, tiny.x_train.reshape(60, -1).mean(axis=0))


def test_variance_of_a_constant_pixel_is_one_percent_of_the_average() -> None:
    images = np.random.default_rng(1).integers(0, 256, (100, 2, 2, 1), dtype=np.uint8)
    images[:, 0, 0] = 7
    _, variance = _scale_of_pixels(images, standardized=True).values()
    unfloored = images.reshape(100, -1).var(axis=0)
    assert unfloored[0] == 0
    np.testing.assert_allclose(variance[0], 0.01 * unfloored.mean(), rtol=1e-6)
    np.testing.assert_allclose(variance[1:], unfloored[1:], rtol=1e-6)


def test_fingerprint_is_the_sha256_of_the_six_arrays(tiny: Arrays) -> None:
    splits = split_arrays(tiny, NINE)
    content = b"".join(
        f"{name} {array.shape} {array.dtype.str}\n".encode() + array.tobytes()
        for name in ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test")
        for array in [getattr(splits, name)]
    )
    assert splits.fingerprint == hashlib.sha256(content).hexdigest()


def test_fingerprint_changes_with_one_pixel_but_not_with_the_location(tmp_path: Path) -> None:
    def fingerprint(path: Path, arrays: dict[str, Any]) -> str:
        return split_arrays(loaded(path, **arrays), NINE).fingerprint

    arrays = tiny_arrays()
    first = fingerprint(tmp_path / "first.npz", arrays)
    (tmp_path / "folder").mkdir()
    assert fingerprint(tmp_path / "folder" / "second.npz", arrays) == first
    arrays["x_test"][11, 3, 4, 2] ^= 1
    assert fingerprint(tmp_path / "first.npz", arrays) != first


def test_class_counts_includes_absent_classes() -> None:
    assert class_counts(np.array([2, 0, 2]), ["a", "b", "c"]) == {"a": 1, "b": 0, "c": 2}


def test_save_and_open_round_trip_is_memory_mapped_and_read_only(
    tmp_path: Path, tiny: Arrays
) -> None:
    saved = split_arrays(tiny, NINE)
    save(saved, tmp_path / "new" / "splits")
    opened = open_splits(tmp_path / "new" / "splits")
    for name in _ARRAYS:
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
    tmp_path: Path, tiny: Arrays
) -> None:
    def resident() -> int:
        """KiB of the file of training images that are mapped at the moment."""
        _, _, after = Path("/proc/self/smaps").read_text().partition(str(tmp_path / "x_train.npy"))
        (kib,) = re.findall(r"^Rss: +(\d+) kB$", after, re.MULTILINE)[:1]
        return int(kib)

    saved = split_arrays(tiny, NINE)
    save(saved, tmp_path)
    opened = open_splits(tmp_path)
    assert resident() == 0  # also what was read to be checked
    np.testing.assert_array_equal(opened.x_train, saved.x_train)
    assert resident() > 0
    opened.unload()
    assert resident() == 0
    np.testing.assert_array_equal(opened.x_train, saved.x_train)
    saved.unload()  # of arrays in memory there is nothing to let go of


@pytest.mark.parametrize("damage", ["missing array", "truncated array", "no metadata", "bad json"])
def test_open_splits_refuses(tmp_path: Path, tiny: Arrays, damage: str) -> None:
    save(split_arrays(tiny, NINE), tmp_path / "splits")
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
        open_splits(tmp_path / "splits")


UNSTANDARDIZED = Data(val_size=9, split_seed=42, standardized=False)


@pytest.mark.parametrize("data", [NINE, UNSTANDARDIZED], ids=["standardized", "0 to 1"])
@pytest.mark.parametrize("changed", [*_ARRAYS, "fingerprint", "class_names"])
def test_content_that_was_changed_is_refused(
    tmp_path: Path, tiny: Arrays, data: Data, changed: str
) -> None:
    splits = split_arrays(tiny, data)
    content = getattr(splits, changed)
    if changed == "fingerprint":
        other: Any = "0" * 64
    elif changed == "class_names":
        other = (*content, "one more")
    else:
        other = content.copy()
        other.ravel()[-1] += 1
    save(dataclasses.replace(splits, **{changed: other}), tmp_path)
    with pytest.raises(InputError, match=r"others than metadata.json tells.*-P reuse=never"):
        open_splits(tmp_path)
    save(splits, tmp_path)
    assert open_splits(tmp_path).fingerprint == splits.fingerprint


def test_mean_and_variance_may_differ_by_rounding(tmp_path: Path, tiny: Arrays) -> None:
    splits = split_arrays(tiny, NINE)
    save(dataclasses.replace(splits, variance=np.nextafter(splits.variance, np.inf)), tmp_path)
    assert open_splits(tmp_path).fingerprint == splits.fingerprint


def test_a_whole_other_data_set_is_refused_where_the_fingerprint_is_known(
    tmp_path: Path, tiny: Arrays
) -> None:
    expected = split_arrays(tiny, NINE).fingerprint
    save(other := split_arrays(tiny, Data(val_size=9, split_seed=43)), tmp_path)
    with pytest.raises(InputError) as refused:
        open_splits(tmp_path, expected, subject="artifact 'data' of run 1")
    assert refused.value.subject == "artifact 'data' of run 1"
    assert (expected in refused.value.expected, refused.value.received) == (True, other.fingerprint)
    assert open_splits(tmp_path, other.fingerprint).name == "tiny"


def test_content_is_read_once_in_a_process(
    tmp_path: Path, tiny: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(split_arrays(tiny, NINE), tmp_path)
    opened = open_splits(tmp_path)
    monkeypatch.delattr("pipeline.data.splits.fingerprint_of")
    assert open_splits(tmp_path, opened.fingerprint) is opened
