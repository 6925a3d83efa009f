import math
import mmap
import os
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from scipy.stats import chisquare

from pipeline.training.blocks import (
    Blocks,
    Feed,
    ImageReader,
    block_shape,
    evaluation_batches,
    order_of_epoch,
    reads_waited_for,
)


@pytest.mark.parametrize(
    ("n_images", "batch_size", "expected"),
    [
        (45_000, 32, (67, 21)),
        (45_000, 128, (88, 4)),
        (3_200, 32, (100, 1)),
        (4_096, 32, (128, 1)),
        (4_097, 32, (65, 2)),  # one mini-batch more than a block can hold
        (260, 2, (65, 2)),
        (10, 32, (1, 1)),
    ],
)
def test_block_shape(n_images: int, batch_size: int, expected: tuple[int, int]) -> None:
    assert block_shape(n_images, batch_size) == expected


@pytest.mark.parametrize("batch_size", [1, 3, 32, 128, 1000])
def test_block_shape_never_loses_an_image_and_repeats_the_fewest(batch_size: int) -> None:
    for n_images in range(1, 60_000, 997):
        batches_per_block, n_blocks = block_shape(n_images, batch_size)
        batches = math.ceil(n_images / batch_size)
        assert batches_per_block * n_blocks >= batches
        if batches <= 128:
            assert (batches_per_block, n_blocks) == (batches, 1)
        else:
            assert 64 <= batches_per_block <= 128
            fewest = min(size * math.ceil(batches / size) for size in range(64, 129))
            assert batches_per_block * n_blocks == fewest


def numbered_blocks(n_images: int, batch_size: int) -> Blocks:
    """Blocks of images that hold their own number."""
    numbers = np.arange(n_images)
    images = np.stack([numbers // 256, numbers % 256], axis=1).astype(np.uint8)
    return Blocks(images.reshape(-1, 1, 1, 2), numbers, batch_size=batch_size)


@pytest.mark.parametrize("n_images", [260, 300, 5])
def test_an_epoch_holds_every_image_and_fills_up_with_its_first(n_images: int) -> None:
    blocks = numbered_blocks(n_images, batch_size=8 if n_images < 260 else 2)
    blocks.set_epoch(seed=3, epoch=7)
    images, labels = (np.concatenate(part) for part in zip(*list(blocks), strict=True))
    assert images.shape == (blocks.steps_per_epoch, blocks.batch_size, 1, 1, 2)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    order = labels.ravel()
    np.testing.assert_array_equal(images.reshape(-1, 2) @ np.array([256, 1]), order)
    assert sorted(order[:n_images]) == list(range(n_images))
    assert 0 <= len(order) - n_images < blocks.n_blocks * blocks.batch_size
    np.testing.assert_array_equal(order[n_images:], order[: len(order) - n_images])


def test_an_epoch_that_begins_anew_reads_by_its_own_permutation() -> None:
    blocks = numbered_blocks(300, batch_size=2)
    blocks.set_epoch(seed=3, epoch=1)
    assert len(blocks) > 1
    next(iter(blocks))  # the next block is read ahead
    blocks.set_epoch(seed=3, epoch=2)
    images, labels = list(blocks)[1]
    np.testing.assert_array_equal(images.reshape(-1, 2) @ np.array([256, 1]), labels.ravel())
    np.testing.assert_array_equal(labels, blocks.order[1])


def on_disk(path: Path, images: np.ndarray) -> np.ndarray:
    """Images memory-mapped from a file of which nothing is in memory."""
    with path.open("wb") as file:
        np.save(file, images)
        file.flush()
        os.fsync(file.fileno())  # only pages that are written can be dropped
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return np.load(path, mmap_mode="r")


def test_images_that_are_not_in_memory_are_asked_for_ahead_until_they_are(tmp_path: Path) -> None:
    images = np.random.default_rng(1).integers(0, 256, (30_000, 32, 32, 3), dtype=np.uint8)
    reader = ImageReader(on_disk(tmp_path / "images.npy", images))
    numbers = np.random.default_rng(2).permutation(30_000).reshape(-1, 10, 100)
    asked_for = []
    for block in numbers[:3]:
        np.testing.assert_array_equal(reader.read(block), images[block])
        asked_for.append(reader.from_disk)
    if not asked_for[0]:
        pytest.skip(f"{tmp_path} is in memory: nothing is read from a disk")
    assert asked_for == [True, True, True]
    reader.from_disk = False  # as in a new epoch
    reader.read(numbers[0])
    assert not reader.from_disk


def test_what_was_asked_for_is_not_waited_for(tmp_path: Path) -> None:
    images = on_disk(tmp_path / "images.npy", np.zeros((30_000, 32, 32, 3), np.uint8))
    images.base.madvise(mmap.MADV_RANDOM)  # type: ignore[union-attr]
    others, *attempts = np.random.default_rng(2).permutation(30_000)[:1200].reshape(6, 200)

    def waited_for(numbers: np.ndarray) -> int:
        before = reads_waited_for()
        images[numbers]
        return reads_waited_for() - before

    if not (not_asked_for := waited_for(others)):
        pytest.skip(f"{tmp_path} is in memory: nothing is read from a disk")
    for seconds, asked_for in enumerate(attempts, 1):
        ImageReader(images).ask_for(asked_for)
        time.sleep(seconds)  # a busy disk takes its time
        if waited_for(asked_for) < 0.1 * not_asked_for:
            return
    pytest.fail("the disk was waited for as long as for what was not asked for")


def test_blocks_have_equal_shapes() -> None:
    blocks = numbered_blocks(45_000, batch_size=32)
    assert (len(blocks), blocks.steps_per_epoch) == (21, 1407)
    assert {labels.shape for _, labels in blocks} == {(67, 32)}


def test_the_permutation_depends_on_seed_and_epoch_alone() -> None:
    blocks, used = numbered_blocks(300, batch_size=2), numbered_blocks(300, batch_size=2)
    orders = {}
    for seed, epoch in [(1, 1), (1, 2), (2, 1), (2, 2)]:
        blocks.set_epoch(seed=seed, epoch=epoch)
        orders[seed, epoch] = blocks.order
    assert len({order.tobytes() for order in orders.values()}) == 4
    for seed, epoch in [(2, 1), (1, 2), (2, 1)]:
        used.set_epoch(seed=seed, epoch=epoch)
        np.testing.assert_array_equal(used.order, orders[seed, epoch])


def paired_blocks(labels: np.ndarray, images: np.ndarray | None = None) -> Blocks:
    """Blocks of pairs of images that hold their own number."""
    numbers = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    return Blocks(numbers if images is None else images, labels, batch_size=4, pairs=True)


@pytest.mark.parametrize("n_images", [40, 41])
def test_an_epoch_of_pairs_has_every_image_first_and_half_of_them_same(
    tmp_path: Path, n_images: int
) -> None:
    labels = np.random.default_rng(1).integers(0, 3, n_images)
    np.save(tmp_path / "images.npy", np.arange(n_images, dtype=np.uint8).reshape(-1, 1, 1, 1))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    for blocks in (paired_blocks(labels), paired_blocks(labels, mapped)):
        blocks.set_epoch(seed=3, epoch=7)
        images, same = (np.concatenate(part) for part in zip(*list(blocks), strict=True))
        assert images.shape == (blocks.steps_per_epoch, 4, 2, 1, 1, 1)
        assert (images.dtype, same.dtype) == (np.uint8, np.int32)
        pairs, same = images.reshape(-1, 2)[:n_images], same.ravel()[:n_images]
        assert sorted(pairs[:, 0]) == list(range(n_images))
        assert (pairs[:, 0] != pairs[:, 1]).all()
        np.testing.assert_array_equal(labels[pairs[:, 0]] == labels[pairs[:, 1]], same)
        assert same.sum() == n_images // 2
        drawn, learnt = order_of_epoch(labels, seed=3, epoch=7, pairs=True)
        np.testing.assert_array_equal(pairs, drawn)
        np.testing.assert_array_equal(same, learnt)


def test_pairs_are_drawn_anew_in_every_epoch_from_all_that_there_are() -> None:
    labels, epochs = np.arange(9) % 3, 3000
    drawn = {
        (seed, epoch): order_of_epoch(labels, seed=seed, epoch=epoch, pairs=True)[0]
        for seed in (1, 2)
        for epoch in range(epochs)
    }
    assert len({pairs.tobytes() for pairs in drawn.values()}) == 2 * epochs
    again, _ = order_of_epoch(labels, seed=2, epoch=7, pairs=True)
    np.testing.assert_array_equal(again, drawn[2, 7])
    found = np.zeros((9, 9))
    for pairs in drawn.values():
        np.add.at(found, tuple(pairs.T), 1)
    same = (labels[:, None] == labels) & ~np.eye(9, dtype=bool)
    for pairs in (found[same], found[labels[:, None] != labels]):
        assert chisquare(pairs).pvalue > 0.001
    assert found.diagonal().sum() == 0
    # Of 9 pairs 4 are same; each has two others of its class, and six of other classes.
    assert found[same].sum() / found.sum() == 4 / 9


def test_keras_reads_blocks_and_evaluation_batches_of_pairs() -> None:
    blocks = paired_blocks(np.arange(40) % 3)
    for (images, same), (read, learnt) in zip(blocks, Feed(blocks), strict=True):
        np.testing.assert_array_equal(images, read)
        np.testing.assert_array_equal(same, learnt)
        assert read.shape[1:] == (4, 2, 1, 1, 1)
    fixed = evaluation_batches(np.zeros((1001, 2, 4, 5, 3), np.uint8), np.arange(1001) % 2)
    (images, _), _ = Feed(fixed)
    assert images.shape == (501, 2, 4, 5, 3)


@pytest.mark.parametrize(
    ("n_images", "expected"),
    [
        (5000, [1000] * 5),
        (1001, [501, 500]),
        (2500, [834, 834, 832]),
        (3001, [751, 751, 751, 748]),
        (40, [40]),
    ],
)
def test_evaluation_batches_hold_every_image_once_in_order(
    n_images: int, expected: list[int]
) -> None:
    numbers = np.arange(n_images)
    batches = evaluation_batches(numbers[:, None], numbers[::-1])
    images, labels = zip(*batches, strict=True)
    assert [len(batch) for batch in images] == [len(batch) for batch in labels] == expected
    np.testing.assert_array_equal(np.concatenate(images)[:, 0], numbers)
    np.testing.assert_array_equal(np.concatenate(labels), numbers[::-1])


def test_keras_reads_every_batch_in_every_epoch_of_the_permutation_of_then() -> None:
    read = numbered_blocks(600, batch_size=4)
    told: list[tuple[tuple[int, ...], np.ndarray]] = []

    class Told(keras.Model):
        """Trains nothing, and tells what it would be trained on."""

        def train_step(self, block: Any) -> dict[str, Any]:
            images, labels = block
            told.append((images.shape, labels.numpy()))
            return {"loss": 0.0}

    class NextEpoch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, _logs: dict | None = None) -> None:
            read.set_epoch(seed=3, epoch=epoch + 1)
            expected.extend(read.order)

    expected: list[np.ndarray] = []
    model = Told()
    model.compile(run_eagerly=True)
    model.fit(Feed(read), epochs=2, callbacks=[NextEpoch()], shuffle=False, verbose=0)
    shapes, labels = zip(*told, strict=True)
    np.testing.assert_array_equal(labels, expected)
    assert (len(told), set(shapes)) == (2 * len(read), {(75, 4, 1, 1, 2)})
