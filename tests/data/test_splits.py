import dataclasses
import hashlib
import json
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
    class_counts,
    open_splits,
    save,
    scale_of_pixels,
)
from pipeline.data.splitting import split_arrays

NINE = Data(val_size=9, split_seed=42)
PAIRS = Data(val_size=9, split_seed=42, pairs=True)


@pytest.fixture
def tiny(tmp_path: Path) -> Arrays:
    return loaded(tmp_path / "tiny.npz")


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
    mean, variance = scale_of_pixels(images, standardized=True).values()
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
    _, variance = scale_of_pixels(images, standardized=True).values()
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


@pytest.mark.parametrize(
    "changes",
    [
        {"kept_names": 3},
        {"kept_names": [["0"]]},
        {"class_names": None},
        {"class_names": ["same"]},
        {"x_train": "of another place"},
        {"pairs": False},
    ],
    ids=str,
)
def test_metadata_that_were_made_up_are_refused(
    tmp_path: Path, tiny: Arrays, changes: dict[str, Any]
) -> None:
    save(split_arrays(tiny, PAIRS), tmp_path)
    metadata = tmp_path / "metadata.json"
    described = json.loads(metadata.read_text("utf-8"))
    metadata.write_text(json.dumps(described | changes), "utf-8")
    with pytest.raises(InputError, match="Run the prepare step again"):
        open_splits(tmp_path)


def test_single_images_are_no_pairs_whatever_metadata_tell(tmp_path: Path, tiny: Arrays) -> None:
    splits = split_arrays(tiny, Data(classes=(0, 1)))
    save(dataclasses.replace(splits, kept_names=splits.class_names), tmp_path)
    with pytest.raises(InputError, match=r"others than metadata.json tells"):
        open_splits(tmp_path)


UNSTANDARDIZED = Data(val_size=9, split_seed=42, standardized=False)


@pytest.mark.parametrize(
    "data", [NINE, UNSTANDARDIZED, PAIRS], ids=["standardized", "0 to 1", "pairs"]
)
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


def test_fewer_images_to_train_with_are_among_more_and_scaled_by_themselves(tiny: Arrays) -> None:
    splits = split_arrays(tiny, NINE)
    few, more = splits.few(4), splits.few(9)
    assert class_counts(few.y_train, few.class_names) == {"0": 4, "1": 4, "2": 4}
    everything = [image.tobytes() for image in splits.x_train]
    places = [[everything.index(image.tobytes()) for image in one.x_train] for one in (few, more)]
    assert all(one == sorted(one) for one in places)
    assert set(places[0]) < set(places[1])
    for one, found in zip((few, more), places, strict=True):
        np.testing.assert_array_equal(one.y_train, splits.y_train[found])
        np.testing.assert_array_equal(one.x_val, splits.x_val)
        assert one.fingerprint == splits.fingerprint
        scale = scale_of_pixels(one.x_train, standardized=True)
        np.testing.assert_array_equal(one.mean, scale["mean"])
        np.testing.assert_array_equal(one.variance, scale["variance"])
    assert splits.few(4) is few  # a compiled trainer is kept by it


def test_fewer_images_are_not_standardised_where_all_are_not(tiny: Arrays) -> None:
    few = split_arrays(tiny, UNSTANDARDIZED).few(4)
    assert (few.mean.tolist(), few.variance.tolist()) == ([0] * 60, [255**2] * 60)


def test_more_images_than_a_class_has_to_train_with_are_refused(tiny: Arrays) -> None:
    for data, least, asked in ((NINE, 1, 18), (NINE, 1, 0), (PAIRS, 2, 1)):
        expected = f"expected from {least} to 17, all that class 0 has to train with; .* {asked}"
        with pytest.raises(InputError, match=expected):
            split_arrays(tiny, data).few(asked)


def test_images_can_be_scaled_as_those_of_another_network(tmp_path: Path, tiny: Arrays) -> None:
    splits, other = split_arrays(tiny, NINE), split_arrays(tiny, UNSTANDARDIZED)
    scaled = splits.scaled_as(other)
    assert (scaled.mean is other.mean, scaled.variance is other.variance) == (True, True)
    assert (scaled.x_train is splits.x_train, scaled.fingerprint) == (True, splits.fingerprint)
    assert splits.scaled_as(other) is scaled
    assert scaled.scaled_as(split_arrays(tiny, PAIRS)).mean.any()  # of pairs, single images
    small = {name: tiny_arrays()[name][:, :3] for name in ("x_train", "x_test")}
    smaller = split_arrays(loaded(tmp_path / "smaller.npz", **small), NINE)
    with pytest.raises(InputError, match=r"shape \(4, 5, 3\), as those of tiny .* \(3, 5, 3\)"):
        smaller.scaled_as(other)


def test_pairs_are_known_again_and_metadata_from_before_there_were_any(
    tmp_path: Path, tiny: Arrays
) -> None:
    saved = split_arrays(tiny, PAIRS)
    save(saved, tmp_path)
    opened = open_splits(tmp_path, saved.fingerprint)
    assert (opened.pairs, opened.kept_names) == (True, ("0", "1", "2"))
    assert (opened.image_shape, opened.n_classes) == ((2, 4, 5, 3), 2)
    save(single := split_arrays(tiny, NINE), tmp_path / "single")
    described = json.loads((tmp_path / "single" / "metadata.json").read_text("utf-8"))
    assert described == {
        "name": "tiny",
        "class_names": ["0", "1", "2"],
        "fingerprint": single.fingerprint,
    }
    assert not open_splits(tmp_path / "single").pairs


@pytest.mark.parametrize("kept_names", [(), ("0", "1"), ("0", "1", "2", "3")])
def test_pairs_with_other_classes_than_their_images_have_are_refused(
    tmp_path: Path, tiny: Arrays, kept_names: tuple[str, ...]
) -> None:
    save(dataclasses.replace(split_arrays(tiny, PAIRS), kept_names=kept_names), tmp_path)
    with pytest.raises(InputError, match=r"others than metadata.json tells"):
        open_splits(tmp_path)
