"""Which images: some of each class, and pairs, the same on every machine and NumPy version."""

from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.integer[Any]]
Indices = npt.NDArray[np.intp]


def raw_numbers(seed: int, size: int) -> npt.NDArray[np.uint64]:
    """Random 64-bit numbers that a seed decides."""
    # NumPy fixes the raw stream of a bit generator for good (NEP 19), but not what
    # Generator.permutation makes of it, nor does scikit-learn fix its splitters.
    return np.random.PCG64(seed).random_raw(size)


def drawn_order(size: int, seed: int) -> Indices:
    """The numbers below a size in an order that a seed decides."""
    return np.argsort(raw_numbers(seed, size), kind="stable")


def some_of_each(labels: Labels, order: Indices, starts: Indices, counts: Indices) -> Indices:
    """Sorted indices of images of every class: so many, from its own start in the order on.

    Args:
        labels: of the images, (n,).
        order: in which the images of a class are counted, (n,).
        starts, counts: for every class, how many of its images are passed over, then taken.
    """
    found = [
        order[labels[order] == label][start : start + count]
        for label, (start, count) in enumerate(zip(starts, counts, strict=True))
    ]
    return np.sort(np.concatenate(found))


def first_of_each(labels: Labels, counts: Indices, seed: int) -> Indices:
    """Sorted indices of so many images of every class, the first in an order the seed decides."""
    return some_of_each(labels, drawn_order(len(labels), seed), np.zeros_like(counts), counts)


def shares(counts: Indices, size: int) -> Indices:
    """How many of every class make a sample of some size (largest remainder)."""
    found, remainder = np.divmod(size * counts, counts.sum())
    found[np.argsort(-remainder, kind="stable")[: size - found.sum()]] += 1
    return found


def stratified_sample(labels: Labels, size: int, seed: int) -> Indices:
    """Sorted indices of a sample with the class proportions of the whole."""
    return first_of_each(labels, shares(np.bincount(labels), size), seed)


def pairs_of(
    labels: Labels, first: Indices, numbers: npt.NDArray[np.uint64]
) -> tuple[Indices, npt.NDArray[np.int32]]:
    """Pairs of images, every second one of the same class, and whether they are: 0 or 1.

    The second image is drawn uniformly: of a pair of the same class from the others of that class,
    so never the first image itself, and of a different pair from all images of other classes. As
    the two kinds alternate, there are equally many in every mini-batch of an even size.

    Args:
        labels: of the images, (n,); at least two classes, at least two images of each that has any.
        first: the first image of every pair, (m,).
        numbers: random 64-bit numbers, (m,), that choose the second ones.

    Returns:
        Indices, (m, 2), and labels, (m,).
    """
    by_class = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    place = np.empty_like(by_class)
    place[by_class] = np.arange(len(labels))
    same = np.arange(len(first), dtype=np.int32) % 2
    label = labels[first]
    count, start = counts[label], (np.cumsum(counts) - counts)[label]
    # Onward from an image of a class to any other of it; from the last of a class to any of others.
    choices = np.where(same, count - 1, len(labels) - count)
    onward = (numbers % choices.astype(np.uint64)).astype(np.intp)
    within = start + (place[first] - start + 1 + onward) % count
    others = (start + count + onward) % len(labels)
    return np.stack([first, by_class[np.where(same, within, others)]], axis=1), same


def fixed_pairs(labels: Labels, seed: int) -> tuple[Indices, npt.NDArray[np.int32]]:
    """As many pairs as images, by `pairs_of`: each image is the first of one, decided by a seed."""
    order, numbers = raw_numbers(seed, 2 * len(labels)).reshape(2, -1)
    return pairs_of(labels, np.argsort(order, kind="stable"), numbers)
