"""The order in which training reads images, and how they are batched."""

import math
import mmap
import resource
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf
from keras.src.trainers.data_adapters.data_adapter import DataAdapter

from pipeline.data.samples import pairs_of
from pipeline.training.augmentation import Augmentation

Batch: TypeAlias = tuple[np.ndarray, np.ndarray]  # images and labels

LARGEST_BLOCK = 128  # mini-batches; of a large data set, blocks hold at least half as many


class Blocks:
    """The training split in shuffled blocks of mini-batches.

    An epoch is a whole number of equal blocks of full mini-batches. No image is left out: the last
    mini-batches are filled up with the first images of the epoch's own permutation (45,000 images
    at batch size 32 are 21 blocks of 67 mini-batches; 24 images are seen twice). The images are
    uint8 of shape (n, height, width, channels), and may be memory-mapped; or float32, (n, units),
    what frozen layers make of them. Of pairs, an epoch has as many as images, every image being the
    first of one, and their labels are whether both are of one class. Augmentation changes images
    after they are read, each whenever it is.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int,
        pairs: bool = False,
        augmentation: Augmentation | None = None,
    ):
        self.images = ImageReader(images)
        self.labels = np.asarray(labels, np.int32)
        self.pairs = pairs
        self.batches_per_block, self.n_blocks = block_shape(len(images), batch_size)
        self.steps_per_epoch = self.n_blocks * self.batches_per_block
        self.batch_size = batch_size
        self.augmentation = augmentation
        self._thread = ThreadPoolExecutor(1, "images")
        self.set_epoch(seed=0, epoch=1)

    def set_epoch(self, *, seed: int, epoch: int) -> None:
        """Draw the order of an epoch, or its pairs, from the run's seed and the epoch's number."""
        order, labels = order_of_epoch(self.labels, seed=seed, epoch=epoch, pairs=self.pairs)
        shape = (self.n_blocks, self.batches_per_block, self.batch_size)
        self.order = np.resize(order, (*shape, *order.shape[1:]))
        self.labels_in_order = np.resize(labels, shape)
        if self.augmentation:
            self.changes = self.augmentation.drawn(self.order.shape, seed=seed, epoch=epoch)
        self.images.from_disk = False  # until one is not in memory: the first epoch brings it there

    def __len__(self) -> int:
        return self.n_blocks

    def __iter__(self) -> Iterator[Batch]:
        """The blocks of the epoch; a thread reads the next while one is trained on."""
        reading = deque([self._thread.submit(self._read, 0)])
        for number, labels in enumerate(self.labels_in_order, start=1):
            if number < self.n_blocks:
                reading.append(self._thread.submit(self._read, number))
            yield reading.popleft().result(), labels  # and keep none in memory

    def _read(self, block: int) -> np.ndarray:
        images = self.images.read(self.order[block])
        return self.augmentation.apply(images, self.changes[block]) if self.augmentation else images


def order_of_epoch(
    labels: np.ndarray, *, seed: int, epoch: int, pairs: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Which images an epoch reads, in order, as indices (n,) or pairs of indices (n, 2); labels.

    Labels of pairs, as `pairs_of` draws them, are 1 where both are of one class, else 0.
    """
    generator = np.random.default_rng([seed, epoch])
    permutation = generator.permutation(len(labels))
    if not pairs:
        return permutation, labels[permutation]
    return pairs_of(labels, permutation, generator.bit_generator.random_raw(len(labels)))


def block_shape(n_images: int, batch_size: int) -> tuple[int, int]:
    """Mini-batches per block and blocks per epoch, with the fewest images seen twice."""
    batches = math.ceil(n_images / batch_size)
    if batches <= LARGEST_BLOCK:
        return batches, 1
    sizes = range(LARGEST_BLOCK, LARGEST_BLOCK // 2 - 1, -1)
    size = min(sizes, key=lambda size: -batches % size)
    return size, math.ceil(batches / size)


class ImageReader:
    """Reads images by their numbers; from a disk, where memory does not hold them all.

    The system reads a memory-mapped image that is not in memory with those around it. In a random
    order these only drive out others, so once images turn out to come from the disk each is asked
    for alone, and all of a block before the first is waited for.
    """

    def __init__(self, images: np.ndarray):
        self.images: Any = images
        self._mapping: Any = images.base if isinstance(images.base, mmap.mmap) else None
        self.from_disk = False

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """The images of some numbers, of shape (*numbers.shape, height, width, channels)."""
        if self._mapping is None:
            return self.images[numbers]
        if self.from_disk:
            self.ask_for(numbers)
        faults = reads_waited_for()
        images = self.images[numbers]
        if reads_waited_for() > faults and not self.from_disk:
            self.from_disk = True
            self._mapping.madvise(mmap.MADV_RANDOM)
        return images

    def ask_for(self, numbers: np.ndarray) -> None:
        """Let the system read the pages of some images, without waiting for them."""
        size = self.images.strides[0]
        # The mapping begins at the multiple of its granularity below the first image.
        first = self.images.offset % mmap.ALLOCATIONGRANULARITY
        for start in (first + size * numbers.ravel()).tolist():
            page = start - start % mmap.PAGESIZE
            self._mapping.madvise(mmap.MADV_WILLNEED, page, start + size - page)


def reads_waited_for() -> int:
    """Pages that this thread (where the system knows; else the process) has waited for."""
    who = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
    return resource.getrusage(who).ru_majflt


def evaluation_batches(images: np.ndarray, labels: np.ndarray) -> list[Batch]:
    """A split in order, in as few nearly equal batches of at most 1000 as can be; views of it."""
    images, labels = np.asarray(images), np.asarray(labels, np.int32)
    size = math.ceil(len(images) / math.ceil(len(images) / 1000))
    starts = range(0, len(images), size)
    return [(images[start : start + size], labels[start : start + size]) for start in starts]


class Feed(DataAdapter):
    """What Keras reads: these batches, in every epoch anew.

    tf.data would take 18 ms to begin a generator anew, three times as long as the arithmetic of an
    epoch of 500 small images.
    """

    def __init__(self, batches: Blocks | list[Batch]):
        self.batches = batches

    @property
    def num_batches(self) -> int:
        return len(self.batches)

    def get_tf_dataset(self) -> "Feed":
        return self

    def __iter__(self) -> Iterator[list[tf.Tensor]]:
        return (list(map(tf.convert_to_tensor, batch)) for batch in self.batches)
