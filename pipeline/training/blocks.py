"""The order in which training reads images, and how they are batched."""

import math
import mmap
import resource
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import tensorflow as tf

Batch = tuple[np.ndarray, np.ndarray]  # images and labels


class Batches(ABC):
    """Batches of images and labels, read by their numbers."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> Batch: ...

    def __iter__(self) -> Iterator[Batch]:
        return (self[index] for index in range(len(self)))

    def as_dataset(self) -> tf.data.Dataset:
        """What Keras reads: these batches, in every epoch anew, the next while one is used.

        tf.data does not tune itself: the thread that does so can miss that an epoch has ended, and
        the next epoch then waits until that thread's pause is over, which grows to as long as the
        epoch was. With two workers on two cores, a third of the epochs began with such a wait.
        """
        options = tf.data.Options()
        options.autotune.enabled = False
        signature = tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in self[0])
        return (
            tf.data.Dataset.from_generator(self.__iter__, output_signature=signature)
            .apply(tf.data.experimental.assert_cardinality(len(self)))
            .prefetch(1)
            .with_options(options)
        )


class Blocks(Batches):
    """The training split in shuffled blocks of mini-batches.

    An epoch is a whole number of equal blocks of full mini-batches. No image is left out: the last
    mini-batches are filled up with the first images of the epoch's own permutation (45,000 images
    at batch size 32 are 21 blocks of 67 mini-batches; 24 images are seen twice).

    A thread reads the next block while one is trained on.

    Args:
        images: uint8 of shape (n, height, width, channels); may be memory-mapped.
        labels: int32 of shape (n,).
        batch_size: images per mini-batch.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, *, batch_size: int):
        self.images = ImageReader(images)
        self.labels = np.asarray(labels, np.int32)
        self.batches_per_block, self.n_blocks = block_shape(len(images), batch_size)
        self.batch_size = batch_size
        self._thread = ThreadPoolExecutor(1, "images")
        self.set_epoch(seed=0, epoch=1)

    def set_epoch(self, *, seed: int, epoch: int) -> None:
        """Draw the permutation of an epoch from the run's seed and the epoch's number."""
        permutation = np.random.default_rng([seed, epoch]).permutation(len(self.labels))
        shape = (self.n_blocks, self.batches_per_block, self.batch_size)
        self.order = np.resize(permutation, shape)
        self._next: dict[int, Future[np.ndarray]] = {}
        self.images.begin_epoch()

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps (mini-batches) per epoch."""
        return self.n_blocks * self.batches_per_block

    def __len__(self) -> int:
        return self.n_blocks

    def __getitem__(self, index: int) -> Batch:
        order = self.order[index]
        read = self._next.pop(index, None)
        images = read.result() if read else self.images.read(order)
        if index + 1 < self.n_blocks:
            self._next[index + 1] = self._thread.submit(self.images.read, self.order[index + 1])
        return images, self.labels[order]


class ImageReader:
    """Reads images by their numbers; from a disk, where memory does not hold them all.

    The system reads a memory-mapped image that is not in memory with those around it. In a random
    order these only drive out others, so once images turn out to come from the disk each is asked
    for alone, and all of a block before the first is waited for.

    Args:
        images: uint8 of shape (n, height, width, channels); may be memory-mapped.
    """

    def __init__(self, images: np.ndarray):
        self.images = images
        self._mapping = images.base if isinstance(images.base, mmap.mmap) else None
        self.from_disk = False

    def begin_epoch(self) -> None:
        """Take the images to be in memory until one is not: the first epoch brings them there."""
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
        assert isinstance(self.images, np.memmap)
        assert self._mapping is not None
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


class EvaluationBatches(Batches):
    """A split in order, in as few nearly equal batches as fit the batch size, for evaluation.

    Args:
        images: uint8 of shape (n, height, width, channels); may be memory-mapped.
        labels: int32 of shape (n,).
        batch_size: most images per batch.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, *, batch_size: int = 1000):
        self.images = images
        self.labels = np.asarray(labels, np.int32)
        self.batch_size = math.ceil(len(images) / math.ceil(len(images) / batch_size))

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        batch = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return np.asarray(self.images[batch]), self.labels[batch]
