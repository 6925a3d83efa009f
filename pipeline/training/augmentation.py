"""Images that training sees otherwise in every epoch: mirrored, and shifted by some pixels."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.comparisons import Variant

_STREAM = 1  # of the random numbers of an epoch, beside those that its order is drawn from


@dataclass(frozen=True)
class Augmentation:
    """How images change from epoch to epoch, each on its own.

    Args:
        mirrored: whether each is mirrored, left to right, with a probability of a half.
        pixels: by how many an image is shifted, at most, up or down and left or right; each of
            these shifts is as probable. The border that this uncovers repeats the pixels at the
            image's edge.
    """

    mirrored: bool
    pixels: int

    def drawn(self, shape: tuple[int, ...], *, seed: int, epoch: int) -> np.ndarray:
        """What becomes of an epoch's images, int8 of shape (*shape, 3): mirrored, down, right."""
        generator = np.random.default_rng([seed, epoch, _STREAM])
        mirrored = generator.integers(0, 1 + self.mirrored, (*shape, 1), np.int8)
        shifts = generator.integers(-self.pixels, self.pixels, (*shape, 2), np.int8, endpoint=True)
        return np.concatenate([mirrored, shifts], axis=-1)

    def apply(self, images: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Images of mini-batches, uint8 of shape (..., height, width, channels), changed in place.

        Mini-batch by mini-batch, as one stays in the processor's cache.
        """
        images = np.ascontiguousarray(images)
        for batch, of_batch in zip(_batches(images, 3), _batches(drawn, 1), strict=True):
            mirrored, down, right = of_batch.T
            if self.pixels:
                batch[:] = shifted(batch, down, right, most=self.pixels)
            if self.mirrored:
                # A pixel as one element: byte by byte it would take twice the time.
                pixels, chosen = batch.view(f"V{batch.shape[-1]}"), mirrored == 1
                pixels[chosen] = pixels[chosen, :, ::-1]
        return images


def augmentation_of(variant: Variant) -> Augmentation | None:
    """How a variant's training images change; None: they do not."""
    if not variant.mirrored_images and not variant.shifted_pixels:
        return None
    return Augmentation(variant.mirrored_images, variant.shifted_pixels)


def shifted(images: np.ndarray, down: np.ndarray, right: np.ndarray, *, most: int) -> np.ndarray:
    """Images, (n, height, width, channels), each shifted by numbers of pixels of its own."""
    n, height, width, channels = images.shape
    padded = np.pad(images, ((0, 0), (most, most), (most, most), (0, 0)), mode="edge")
    # With all values of a row in one dimension, rows are copied whole.
    rows = padded.reshape(n, height + 2 * most, -1)
    windows = sliding_window_view(rows, (height, width * channels), axis=(1, 2))[:, :, ::channels]
    return windows[np.arange(n), most - down, most - right].reshape(images.shape)


def _batches(array: np.ndarray, dimensions: int) -> Iterator[np.ndarray]:
    """Views of the mini-batches of a block; the images of pairs are images like others."""
    for batch in array:
        yield batch.reshape(-1, *array.shape[-dimensions:])
