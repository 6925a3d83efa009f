"""The order in which training reads images, and how they are batched."""

import math

import keras
import numpy as np


class Blocks(keras.utils.PyDataset):
    """The training split in shuffled blocks of mini-batches.

    An epoch is a whole number of equal blocks of full mini-batches. No image is left out: the last
    mini-batches are filled up with the first images of the epoch's own permutation (45,000 images
    at batch size 32 are 21 blocks of 67 mini-batches; 24 images are seen twice).

    Args:
        images: uint8 of shape (n, height, width, channels); may be memory-mapped.
        labels: int32 of shape (n,).
        batch_size: images per mini-batch.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, *, batch_size: int):
        super().__init__()
        self.images = images
        self.labels = np.asarray(labels, np.int32)
        self.batches_per_block, self.n_blocks = block_shape(len(images), batch_size)
        self.batch_size = batch_size
        self.set_epoch(seed=0, epoch=1)

    def set_epoch(self, *, seed: int, epoch: int) -> None:
        """Draw the permutation of an epoch from the run's seed and the epoch's number."""
        permutation = np.random.default_rng([seed, epoch]).permutation(len(self.images))
        shape = (self.n_blocks, self.batches_per_block, self.batch_size)
        self.order = np.resize(permutation, shape)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps (mini-batches) per epoch."""
        return self.n_blocks * self.batches_per_block

    def __len__(self) -> int:
        return self.n_blocks

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        order = self.order[index]
        return self.images[order], self.labels[order]


def block_shape(n_images: int, batch_size: int, largest_block: int = 128) -> tuple[int, int]:
    """Mini-batches per block and blocks per epoch, with the fewest images seen twice.

    Args:
        n_images: images in the training split.
        batch_size: images per mini-batch.
        largest_block: most mini-batches in a block; blocks hold at least half as many where the
            data set is large enough.
    """
    batches = math.ceil(n_images / batch_size)
    if batches <= largest_block:
        return batches, 1
    sizes = range(largest_block, largest_block // 2 - 1, -1)
    size = min(sizes, key=lambda size: -batches % size)
    return size, math.ceil(batches / size)


class EvaluationBatches(keras.utils.PyDataset):
    """A split in order, in as few nearly equal batches as fit the batch size, for evaluation.

    Args:
        images: uint8 of shape (n, height, width, channels); may be memory-mapped.
        labels: int32 of shape (n,).
        batch_size: most images per batch.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, *, batch_size: int = 1000):
        super().__init__()
        self.images = images
        self.labels = np.asarray(labels, np.int32)
        self.batch_size = math.ceil(len(images) / math.ceil(len(images) / batch_size))

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        batch = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return np.asarray(self.images[batch]), self.labels[batch]
