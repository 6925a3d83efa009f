"""An effect and its confidence interval, from few seeds.

Effects are on an additive scale, variant less reference: differences, or logarithms of ratios. An
interval is asked for by its error rates, the chance that it misses the effect: that of the seeds,
and that of the test images. They differ because the seeds are looked at again whenever one is
added, the images are always the same.
"""

import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float]
UNKNOWN: Interval = (math.nan, math.nan)
FEWEST = 3  # runs of each variant, or pairs of them, without which no variance is worth a verdict
OUTLYING = 0.01  # the chance to take a variance for that of another kind, of samples of one kind


class Errors(NamedTuple):
    """The chances that an interval misses the effect, two-sided: for the seeds, for the images."""

    seeds: float
    images: float


@dataclass(frozen=True, kw_only=True)
class Estimate(ABC):
    """What is known of an effect."""

    effect: float
    sizes: tuple[int, int]  # runs of the variant and of the reference; of pairs, both their number

    @abstractmethod
    def interval(self, errors: Errors) -> Interval:
        """The confidence interval; NaN where there is none."""

    @abstractmethod
    def half_width(self, errors: Errors, seeds: int) -> float:
        """Half the width that is to be expected with so many seeds of each."""


class Spread(NamedTuple):
    """The variance of one run, and the degrees of freedom that it is known with."""

    variance: float
    freedom: float


def own_spread(sample: Floats) -> Spread:
    """The spread of a sample by itself; of a single run it is not known."""
    if sample.size < 2:
        return Spread(math.nan, 0)
    if (sample == sample[0]).all():  # of 0.1 three times, NumPy's variance is not 0
        return Spread(0.0, sample.size - 1)
    return Spread(float(sample.var(ddof=1)), sample.size - 1)


def spreads(samples: Sequence[Floats]) -> list[Spread]:
    """The spread of each of some samples: its own variance, or what is usual, whichever is larger.

    Three seeds say little of a variance: now and then they agree by chance, and what differs by
    nothing then seems to differ beyond noise. The others' spread is the floor that prevents it.
    """
    own = [own_spread(one) for one in samples]
    floor = usual_spread([one for one in own if one.freedom])
    return [floor if not one.freedom or one.variance <= floor.variance else one for one in own]


def usual_spread(spreads: Sequence[Spread]) -> Spread:
    """The pooled variance of samples, without those that are of another kind.

    A network that stays at chance does not spread at all, one that barely trains far more than the
    others: neither tells how much those do. Less than half are left out as too large, by Cochran's
    test (1941) for samples of different sizes ('t Lam 2010); several at once are looked for as by
    Rosner (1983), since two of them hide each other.
    """
    ordered = sorted(one for one in spreads if one.variance > 0)
    usual = len(ordered)
    for count in range(len(ordered) - 1, len(ordered) // 2, -1):
        beside, largest = _pooled(ordered[:count]), ordered[count]
        ratio = largest.variance / beside.variance
        if (count + 1) * special.fdtrc(largest.freedom, beside.freedom, ratio) < OUTLYING:
            usual = count
    return _pooled(ordered[:usual] or spreads)


def _pooled(spreads: Sequence[Spread]) -> Spread:
    freedom = sum(one.freedom for one in spreads)
    if not freedom:
        return Spread(math.nan, 0)
    return Spread(sum(one.variance * one.freedom for one in spreads) / freedom, freedom)


@dataclass(frozen=True, kw_only=True)
class MeanDifference(Estimate):
    """A difference of means, by Welch's t (1947), or with one sample a mean difference of pairs.

    The image variance is that of the effect over other test images of the same kind, see
    `image_variance`; of a time there is none. Of what is `counted`, seeds that agree do so by what
    the network is, not by chance.
    """

    samples: tuple[Spread, ...]
    image_variance: float = 0.0
    counted: bool = False

    def interval(self, errors: Errors) -> Interval:
        half_width = self._half_width(errors, self.sizes)
        return self.effect - half_width, self.effect + half_width

    def half_width(self, errors: Errors, seeds: int) -> float:
        """With more seeds, the variances are known better, too."""
        return self._half_width(errors, (seeds, seeds))

    def _half_width(self, errors: Errors, sizes: tuple[int, int]) -> float:
        parts = [
            (one.variance / new, max(1.0, one.freedom + new - old))
            for one, old, new in zip(self.samples, self.sizes, sizes, strict=False)
        ]
        variance = sum(part for part, _ in parts)
        if self.counted and variance == 0 and min(self.sizes) >= FEWEST:
            return 0.0
        if min(self.sizes) < FEWEST or not variance > 0:  # seeds can agree by chance
            return math.nan
        # Welch and Satterthwaite's degrees of freedom.
        freedom = variance**2 / sum(part**2 / known for part, known in parts)
        of_seeds = special.stdtrit(freedom, 1 - errors.seeds / 2) ** 2 * variance
        of_images = special.ndtri(1 - errors.images / 2) ** 2 * self.image_variance
        return math.sqrt(of_seeds + of_images)


def image_variance(*correct: npt.NDArray[Any]) -> float:
    """The variance of a difference of accuracies over other test images, seeds held fixed.

    Seeds and images are crossed; what seeds add is taken off, since the spread of the runs holds it
    already. Of one array, the difference is within the runs, -1, 0 or 1 per image. Source:
    the components of variance that the Multi-Bootstrap resamples (Sellam et al. 2022, MultiBERTs,
    section 3), in closed form.

    Args:
        correct: what the runs of the variant, and of the reference, had right: (runs, images).
    """
    signs = (1.0, -1.0)
    means = [sign * one.mean(axis=0) for sign, one in zip(signs, correct, strict=False)]
    # Of runs that only one seed made, what seeds add cannot be told from what images do.
    seeds = [
        one.astype(np.float64).var(axis=0, ddof=1).mean() / len(one)
        for one in correct
        if len(one) > 1
    ]
    between = float(np.sum(means, axis=0).var(ddof=1) - sum(seeds))
    return max(0.0, between) / correct[0].shape[1]


class Times(NamedTuple):
    """How long runs took to get somewhere, and which of them got there."""

    times: Floats  # the last time that it was looked for, of a run that never did
    reached: npt.NDArray[np.bool_]

    @property
    def median(self) -> float:
        """The median, a run that never got there being later than all others."""
        return float(np.median(np.where(self.reached, self.times, np.inf)))

    def scaled(self, factor: float) -> "Times":
        """The same runs if each had taken that many times as long."""
        return Times(self.times * factor, self.reached)


@dataclass(frozen=True, kw_only=True)
class CensoredRatio(Estimate):
    """The logarithm of how many times as long a variant takes as its reference, by the log-rank.

    The test is exact, over the ways to deal the runs out to the two (Peto and Peto 1972); the
    interval holds the ratios that it does not reject (Wei and Gail 1983). The effect is the ratio
    of the medians.
    """

    variant: Times
    reference: Times

    def interval(self, errors: Errors) -> Interval:
        if min(self.sizes) < FEWEST:
            return UNKNOWN
        # The order of the runs, and so the test, changes only where a ratio of two is passed.
        ratios = np.log(np.divide.outer(self.variant.times, self.reference.times))
        passed = np.unique(ratios.round(9))
        beside = np.concatenate([[passed[0] - 1], passed, [passed[-1] + 1]])
        tried = np.exp((beside[1:] + beside[:-1]) / 2)
        middle = int(np.searchsorted(passed, np.median(ratios)))

        def is_rejected(place: int) -> bool:
            return self.p_value(tried[place]) <= errors.seeds

        above = bisect_left(range(middle, len(tried)), True, key=is_rejected)
        below = bisect_left(range(middle, -1, -1), True, key=is_rejected)
        ends = np.concatenate([[-np.inf], passed, [np.inf]])
        low, high = sorted((ends[middle - below + 1], ends[middle + above]))  # of ties, none fits
        return float(low), float(high)

    def p_value(self, ratio: float = 1.0) -> float:
        """Of the variant taking that many times as long as the reference."""
        return log_rank(self.variant, self.reference.scaled(ratio))

    def half_width(self, errors: Errors, seeds: int) -> float:
        """By the spread of the times that are known; the test itself cannot be foreseen."""
        arrived = [np.log(one.times[one.reached]) for one in (self.variant, self.reference)]
        spread, least = spreads(arrived), 2 / math.comb(2 * seeds, seeds)  # its lowest p-value
        if least >= errors.seeds:
            return math.inf
        variance = sum(one.variance for one in spread) / seeds
        return float(special.ndtri(1 - errors.seeds / 2)) * math.sqrt(variance)


MOST_DEALS = 20_000  # of which the exact test is made; of more a sample


def log_rank(one: Times, other: Times) -> float:
    """The two-sided p-value of a permutation test with log-rank scores.

    Twice that of the nearer tail: late runs have larger scores than early ones, so that a sum as
    far from 0 is no measure of as rare a deal.
    """
    scores = log_rank_scores(
        np.concatenate([one.times, other.times]), np.concatenate([one.reached, other.reached])
    )
    size, total = len(one.times), len(scores)
    observed, own = scores[:size].sum(), 0
    if math.comb(total, size) <= MOST_DEALS:
        sums = scores[_deals(total, size)].sum(axis=1)
    else:
        generator = np.random.default_rng(0)  # the same verdict every time
        sums = generator.permuted(np.tile(scores, (MOST_DEALS, 1)), axis=1)[:, :size].sum(axis=1)
        own = 1  # the deal that was found is one of all
    tails = (sums >= observed - 1e-9).sum(), (sums <= observed + 1e-9).sum()
    return min(1.0, 2 * (int(min(tails)) + own) / (len(sums) + own))


@lru_cache(maxsize=16)
def _deals(total: int, size: int) -> npt.NDArray[np.intp]:
    """Every way to choose so many of some runs."""
    return np.array(list(combinations(range(total), size)))


def log_rank_scores(times: Floats, reached: npt.NDArray[np.bool_]) -> Floats:
    """The scores of runs, which add up to 0: whether one got there, less its hazard until then."""
    moments = np.unique(times[reached])
    at_risk = (times[:, None] >= moments).sum(axis=0)
    arrived = ((times[:, None] == moments) & reached[:, None]).sum(axis=0)
    hazard = np.concatenate([[0.0], np.cumsum(arrived / at_risk)])
    return reached - hazard[np.searchsorted(moments, times, side="right")]
