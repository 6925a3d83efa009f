from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from datasets import loaded, tiny_arrays

from pipeline.base import InputError
from pipeline.comparisons import Data
from pipeline.data.splits import Arrays, class_counts
from pipeline.data.splitting import split_arrays

Split = Literal["stratified", "position"]
NINE = Data(val_size=9, split_seed=42)
BY_POSITION = Data(
    skipped_per_class=3, val_images_per_class=2, images_per_class=3, split="position"
)


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


def in_order(arrays: Arrays, seed: int) -> dict[int, list[int]]:
    """The training images of every class one at a time, by their numbers in a raw stream."""
    numbers = np.random.PCG64(seed).random_raw(len(arrays.y_train)).tolist()
    order = sorted(range(len(numbers)), key=lambda index: numbers[index])
    return {
        label: [index for index in order if arrays.y_train[index] == label] for label in range(4)
    }


def positions(arrays: Arrays, images: np.ndarray) -> list[int]:
    """Where some images stand among the training images of a data set."""
    position = {image.tobytes(): index for index, image in enumerate(arrays.x_train)}
    return [position[image.tobytes()] for image in images]


@pytest.mark.parametrize(
    ("data", "held_out", "trained"),  # of each class
    [
        # 18 to train with, and as many as a quarter of them, by class, to validate with.
        (Data(images_per_class=6, classes=(2, 3, 0)), {0: 2, 2: 1, 3: 1}, 6),
        (Data(images_per_class=6, classes=(2, 3, 0), val_size=2), {0: 1, 2: 1, 3: 0}, 6),
        (Data(images_per_class=3, val_images_per_class=2), dict.fromkeys(range(4), 2), 3),
        (BY_POSITION, dict.fromkeys(range(4), 2), 3),
        (Data(val_images_per_class=7, classes=(1, 3)), {1: 7, 3: 7}, None),
        (replace(BY_POSITION, images_per_class=None), dict.fromkeys(range(4), 2), None),
        (Data(skipped_per_class=2, val_size=7), {0: 4, 1: 2, 2: 1, 3: 0}, None),
    ],
)
def test_of_each_class_some_are_skipped_then_held_out_then_trained_with(
    uneven: Arrays, data: Data, held_out: dict[int, int], trained: int | None
) -> None:
    splits = split_arrays(uneven, replace(data, split_seed=7))
    expected: dict[str, list[int]] = {"train": [], "val": []}
    for label, count in held_out.items():
        of_class = in_order(uneven, 7)[label]
        left = (sorted(of_class) if data.split == "position" else of_class)[
            data.skipped_per_class :
        ]
        expected["val"] += left[:count]
        expected["train"] += left[count:][:trained]
    found = {"train": splits.x_train, "val": splits.x_val}
    assert {name: positions(uneven, images) for name, images in found.items()} == {
        name: sorted(values) for name, values in expected.items()
    }


def test_by_position_the_last_images_are_held_out_whichever_class_they_are_of(
    uneven: Arrays,
) -> None:
    def split(**settings: Any) -> tuple[list[int], list[int]]:
        splits = split_arrays(uneven, Data(split="position", **settings))
        return positions(uneven, splits.x_train), positions(uneven, splits.x_val)

    assert split(val_size=10) == (list(range(70)), list(range(70, 80)))
    trained, held_out = split()
    assert (trained, held_out) == (list(range(64)), list(range(64, 80)))
    assert split(split_seed=2) == (trained, held_out)
    some = [index for index in range(80) if uneven.y_train[index] in (0, 2)]
    assert split(classes=(2, 0), val_size=7) == (some[:-7], some[-7:])
    # Of those trained with, the first of each class, whichever are held out.
    few, last = split(classes=(2, 0), images_per_class=4, val_size=2)
    assert last == some[-2:]
    of_class = {label: [one for one in some if uneven.y_train[one] == label] for label in (0, 2)}
    assert few == sorted(of_class[0][:4] + of_class[2][:4])
    few, last = split(classes=(2, 0), images_per_class=4, skipped_per_class=3)
    assert last == some[-2:]  # a quarter of 8
    assert few == sorted(of_class[0][3:7] + of_class[2][3:7])


@pytest.mark.parametrize("split", ["stratified", "position"])
def test_what_one_data_set_skips_another_one_can_have(uneven: Arrays, split: Split) -> None:
    first = split_arrays(uneven, Data(images_per_class=4, val_images_per_class=2, split=split))
    others = split_arrays(uneven, Data(skipped_per_class=6, val_images_per_class=1, split=split))
    found = [
        positions(uneven, images)
        for images in (first.x_train, first.x_val, others.x_train, others.x_val)
    ]
    assert list(map(len, found)) == [16, 8, 52, 4]
    assert sorted(chain(*found)) == list(range(80))


def test_fewer_images_are_among_more_whichever_other_classes_are_kept(uneven: Arrays) -> None:
    def trained(**settings: Any) -> set[bytes]:
        return {one.tobytes() for one in split_arrays(uneven, Data(**settings)).x_train}

    def kept(**settings: Any) -> set[bytes]:
        held_out = split_arrays(uneven, Data(**settings)).x_val
        return trained(**settings) | {one.tobytes() for one in held_out}

    assert kept(images_per_class=3) < kept(images_per_class=6)
    some = kept(images_per_class=3, val_images_per_class=1, classes=(2, 0))
    assert some < kept(images_per_class=3, val_images_per_class=1)
    other = kept(images_per_class=3, val_images_per_class=1, classes=(2, 0), split_seed=2)
    assert some != other
    few, more = (trained(images_per_class=one, val_images_per_class=2) for one in (3, 6))
    assert few < more


@pytest.mark.parametrize("split", ["stratified", "position"])
def test_those_held_out_of_each_class_are_the_same_however_many_are_trained_with(
    uneven: Arrays, split: Split
) -> None:
    held_out = [
        split_arrays(
            uneven, Data(images_per_class=asked, val_images_per_class=2, split=split)
        ).x_val.tolist()
        for asked in (1, 3, None)
    ]
    assert held_out[0] == held_out[1] == held_out[2]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Data(classes=(0, 4)), r"classes of the data: expected labels .* 0 to 3; .*\(0, 4\)"),
        (
            Data(images_per_class=9, val_size=4),
            "images_per_class of the data: expected at most 7: class d has 8 training images, "
            "less 1 held out; received 9",
        ),
        (Data(images_per_class=10**9), "at most 6: class d has 8 training images, less 2 held out"),
        (
            Data(images_per_class=4, val_images_per_class=3, skipped_per_class=2),
            "at most 3: class d has 8 training images, less 2 skipped and 3 held out",
        ),
        (
            Data(images_per_class=13, classes=(1, 2), val_images_per_class=1),
            "at most 11: class c has 12 .* less 1 held out; received 13",
        ),
        (
            Data(val_images_per_class=6, skipped_per_class=2),
            "val_images_per_class of the data: expected at most 5: class d has 8 training images, "
            "less 2 skipped and 1 needed to train with; received 6",
        ),
        (
            Data(skipped_per_class=7),
            "skipped_per_class of the data: expected at most 6: class d has 8 training images, "
            "less 2 needed to train and to validate with; received 7",
        ),
        (Data(skipped_per_class=100, classes=(0, 1)), "at most 18: class b has 20 "),
        (Data(images_per_class=1, classes=(0, 1)), "out of at least 5 .* out of 2 training images"),
        (Data(skipped_per_class=6, classes=(2, 3), pairs=True), "to validate with; received 1 of"),
    ],
)
def test_splitting_refuses_what_the_data_set_does_not_have(
    uneven: Arrays, data: Data, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        split_arrays(uneven, data)


def test_by_position_a_class_that_comes_last_is_refused(tmp_path: Path) -> None:
    arrays = loaded(tmp_path / "sorted.npz", y_train=np.repeat([0, 1, 2], (30, 22, 8)))
    with pytest.raises(InputError, match="which leaves none of class 2 to train with") as refused:
        split_arrays(arrays, Data(split="position"))
    assert refused.value.subject == "split of the data"
    assert len(split_arrays(arrays, Data(split="position", val_size=7)).y_val) == 7


@pytest.mark.parametrize("n_test", [12, 15])
def test_pairs_to_validate_and_to_test_with_are_fixed_and_half_of_them_are_same(
    uneven: Arrays, n_test: int
) -> None:
    arrays = replace(uneven, x_test=uneven.x_train[:n_test], y_test=uneven.y_train[:n_test])
    data = Data(classes=(0, 1), val_images_per_class=4, pairs=True)
    splits, single = split_arrays(arrays, data), split_arrays(arrays, replace(data, pairs=False))
    assert (splits.pairs, single.pairs) == (True, False)
    assert (splits.class_names, splits.kept_names) == (("different", "same"), ("a", "b"))
    assert (splits.n_classes, splits.image_shape) == (2, (2, 4, 5, 3))
    assert (single.image_shape, single.trained_names, splits.trained_names) == (
        (4, 5, 3),
        ("a", "b"),
        ("a", "b"),
    )
    for name in ("x_train", "y_train", "mean", "variance"):
        np.testing.assert_array_equal(getattr(splits, name), getattr(single, name))
    for split in ("val", "test"):
        of_class = dict(rows(getattr(single, f"x_{split}"), getattr(single, f"y_{split}")))
        images, labels = getattr(splits, f"x_{split}"), getattr(splits, f"y_{split}")
        assert images.shape == (len(of_class), 2, 4, 5, 3)
        assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
        assert labels.sum() == len(labels) // 2
        first, second = ([image.tobytes() for image in images[:, side]] for side in (0, 1))
        assert sorted(first) == sorted(of_class)
        assert all(one != other for one, other in zip(first, second, strict=True))
        same = [of_class[one] == of_class[other] for one, other in zip(first, second, strict=True)]
        assert labels.tolist() == same
    assert splits.fingerprint != single.fingerprint
    assert splits.fingerprint == split_arrays(arrays, data).fingerprint


def test_pairs_of_a_class_with_a_single_image_are_refused(tmp_path: Path) -> None:
    def refusal(data: Data, **changes: Any) -> str:
        with pytest.raises(InputError, match="pairs of the data: expected two images or ") as error:
            split_arrays(loaded(tmp_path / "tiny.npz", **changes), data)
        return f"{error.value.expected}; {error.value.received}"

    pairs = Data(pairs=True, val_images_per_class=2)
    assert "to train with; 1 of class 0," in refusal(replace(pairs, images_per_class=1))
    assert "to validate with; 1 of class" in refusal(replace(pairs, val_images_per_class=1))
    one = np.repeat([0, 1, 2], (6, 5, 1))
    assert "to test with; 1 of class 2," in refusal(pairs, y_test=one)
    assert "to test with; 12 of class 1, of 1 classes" in refusal(pairs, y_test=one * 0 + 1)


def test_splitting_refuses_classes_without_test_images(tmp_path: Path) -> None:
    arrays = loaded(tmp_path / "tiny.npz", y_test=np.zeros(12, int))
    with pytest.raises(InputError, match="of which tiny has test images"):
        split_arrays(arrays, Data(classes=(1, 2)))
