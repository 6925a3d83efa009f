import numpy as np
import pytest
from scipy.stats import chisquare

from pipeline.comparisons.twenty_layers import BN
from pipeline.training.augmentation import Augmentation, augmentation_of, shifted
from pipeline.training.blocks import Blocks, Feed


def numbered(n: int, *, height: int = 5, width: int = 6, channels: int = 3) -> np.ndarray:
    """Images of random pixels, the first of which is the image's number."""
    random = np.random.default_rng(4).integers(0, 256, (n, height, width, channels), np.uint8)
    random[:, 0, 0, 0] = np.arange(n)
    return random


def moved(image: np.ndarray, mirrored: int, down: int, right: int) -> np.ndarray:
    """An image shifted, then mirrored, pixel by pixel."""
    height, width, _ = image.shape
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    found = image[rows][:, columns]
    return found[:, ::-1] if mirrored else found


@pytest.mark.parametrize(("mirrored", "pixels"), [(True, 0), (False, 2), (True, 2), (True, 16)])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_is_changed_as_drawn(mirrored: bool, pixels: int, channels: int) -> None:
    augmentation = Augmentation(mirrored, pixels)
    images = numbered(24, channels=channels).reshape(3, 8, 5, 6, channels)
    drawn = augmentation.drawn((3, 8), seed=1, epoch=1)
    expected = [
        moved(image, *change)
        for image, change in zip(
            images.reshape(24, 5, 6, channels), drawn.reshape(24, 3), strict=True
        )
    ]
    received = augmentation.apply(images.copy(), drawn)
    np.testing.assert_array_equal(received.reshape(24, 5, 6, channels), expected)


def test_a_shift_goes_down_and_right_and_repeats_the_edge() -> None:
    image = np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1)
    down, right = np.array([1]), np.array([-1])
    expected = [[1, 2, 2], [1, 2, 2], [4, 5, 5]]
    np.testing.assert_array_equal(shifted(image, down, right, most=2)[0, :, :, 0], expected)


def test_images_in_another_order_of_memory_are_changed_too() -> None:
    augmentation = Augmentation(mirrored=True, pixels=0)
    images = np.asfortranarray(numbered(4)[None])
    drawn = np.ones((1, 4, 3), np.int8)
    received = augmentation.apply(images.copy(order="F"), drawn)
    np.testing.assert_array_equal(received, images[..., ::-1, :])


def test_every_change_is_as_probable_and_drawn_from_seed_and_epoch() -> None:
    augmentation = Augmentation(mirrored=True, pixels=2)
    draws = {
        (seed, epoch): augmentation.drawn((10, 50), seed=seed, epoch=epoch)
        for seed in (1, 2)
        for epoch in range(1, 11)
    }
    assert len({drawn.tobytes() for drawn in draws.values()}) == 20
    again = augmentation.drawn((10, 50), seed=2, epoch=7)
    np.testing.assert_array_equal(again, draws[2, 7])
    together = np.concatenate([*draws.values()]).reshape(-1, 3)
    changes, counts = np.unique(together, axis=0, return_counts=True)
    assert len(changes) == 2 * 5 * 5
    assert chisquare(counts).pvalue > 0.001


def test_a_variant_without_augmentation_has_none() -> None:
    assert augmentation_of(BN) is None
    variant = BN.derive(name="shifted", shifted_pixels=3)
    assert augmentation_of(variant) == Augmentation(mirrored=False, pixels=3)


@pytest.mark.parametrize("pairs", [False, True])
def test_an_epoch_reads_the_same_images_in_the_same_order_but_changed(pairs: bool) -> None:
    images, labels = numbered(250), np.arange(250) % 5
    augmentation = Augmentation(mirrored=True, pixels=1)
    plain, changed = (
        Blocks(images, labels, batch_size=1, pairs=pairs, augmentation=one)
        for one in (None, augmentation)
    )
    assert len(plain) > 1
    for epoch in (1, 2):
        for blocks in (plain, changed):
            blocks.set_epoch(seed=3, epoch=epoch)
        np.testing.assert_array_equal(changed.order, plain.order)
        for number, ((as_is, learnt), (received, same)) in enumerate(
            zip(Feed(plain), Feed(changed), strict=True)
        ):
            np.testing.assert_array_equal(learnt, same)
            expected = augmentation.apply(as_is.numpy().copy(), changed.changes[number])
            np.testing.assert_array_equal(received, expected)
            assert (received.numpy() != as_is.numpy()).any()
    np.testing.assert_array_equal(images, numbered(250))  # nothing that is kept is changed
