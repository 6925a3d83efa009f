"""Which test images the seeds of every variant get right, and what they take the others for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.answers.intervals import Floats


@dataclass(frozen=True, eq=False)
class Votes:
    """What the seeds of a variant say of the test images.

    Args:
        seeds: how many of them have logged what they predicted.
        counts: how many of them take an image for a class, of shape (images, classes).
        mean: the mean of their probabilities, of the same shape.
    """

    seeds: int
    counts: npt.NDArray[np.integer]
    mean: npt.NDArray[np.float32]


class Mistaken(NamedTuple):
    """A test image that seeds of a variant get wrong."""

    place: int  # among the test images
    true: str
    guess: str  # the class that most of them take it for
    votes: int  # how many do
    seeds: int
    confidence: float  # their mean probability of that class


class OnlyRight(NamedTuple):
    """How many test images one of two models gets right and the other wrong."""

    one: float
    other: float
    between_seeds: Mapping[str, float]  # the same of two seeds of one variant, where it has two


@dataclass(frozen=True, eq=False)
class ImageEvidence:
    """The test images, with the votes of the variants whose runs logged what they predicted.

    Args:
        pictures: uint8 of shape (images, height, width, channels); None where they are gone.
    """

    labels: npt.NDArray[np.integer]
    class_names: Sequence[str]
    votes: Mapping[str, Votes]
    pictures: npt.NDArray[np.uint8] | None = None

    def right(self, variant: str) -> Floats:
        """The share of a variant's seeds that get an image right, by image."""
        of = self.votes[variant]
        return of.counts[np.arange(len(self.labels)), self.labels] / of.seeds

    def class_accuracies(self, variant: str) -> Floats:
        """The accuracy by class, the mean over the seeds; NaN for a class without images."""
        images = np.bincount(self.labels, minlength=len(self.class_names))
        right = np.bincount(self.labels, self.right(variant), minlength=len(self.class_names))
        return np.where(images > 0, right / np.maximum(images, 1), np.nan)

    def only_right(self, one: str, other: str) -> OnlyRight:
        """What only one of two variants gets right, as a mean over all pairs of their seeds."""
        ours, theirs = self.right(one), self.right(other)
        apart = {
            name: float((right * (1 - right)).sum() * of.seeds / (of.seeds - 1))
            for name, right in {one: ours, other: theirs}.items()
            if (of := self.votes[name]).seeds > 1
        }
        first, second = ((a * (1 - b)).sum() for a, b in ((ours, theirs), (theirs, ours)))
        return OnlyRight(float(first), float(second), apart)

    def that_only(self, one: str, other: str, most: int) -> list[Mistaken]:
        """The images that most seeds of a variant get right and of the other wrong."""
        ours, theirs = self.right(one), self.right(other)
        found = self._mistaken(other, np.where(ours > 0.5, ours - theirs, -1), most)
        return [shown for shown in found if ours[shown.place] > 0.5]

    def mistaken(self, variant: str, most: int) -> list[Mistaken]:
        """The images that most seeds of a variant get wrong, the surest first."""
        return self._mistaken(variant, 1 - self.right(variant), most)

    def _mistaken(self, variant: str, order: Floats, most: int) -> list[Mistaken]:
        """The first by an order, the highest first, and by how sure the seeds are of what is not.

        Of an image that most of them get right there is nothing to show.
        """
        of, every = self.votes[variant], np.arange(len(self.labels))
        wrong = of.counts.copy()
        wrong[every, self.labels] = 0
        guesses = np.where(wrong == wrong.max(axis=1, keepdims=True), of.mean, -1).argmax(axis=1)
        sure = of.mean[every, guesses]
        found = np.lexsort((-sure, -order))[:most]
        return [
            Mistaken(
                place=int(place),
                true=self.class_names[self.labels[place]],
                guess=self.class_names[guesses[place]],
                votes=int(of.counts[place, guesses[place]]),
                seeds=of.seeds,
                confidence=float(sure[place]),
            )
            for place in found
            if 2 * of.counts[place, self.labels[place]] < of.seeds
        ]
