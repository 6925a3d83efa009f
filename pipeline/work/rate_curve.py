"""The learning rate that a study comes to: the minimum of a smooth curve through all its trials.

The best trial is luck: rates that differ threefold end closer together than two trainings of one
rate. What tells where the best rate lies are the slopes to both sides of it, and all trials have a
part in these, also those that were pruned after an epoch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.polynomial import Polynomial

Array = np.ndarray

NEAR = math.log(5)  # standard deviation of the weights around the best trial, of log rates
FAR = math.log(10)  # how far the curve is followed to both sides of that
FAR_BEHIND = 0.2  # of log losses: how much worse a rate is does not matter from here on
POINTS = 50


class Tried(NamedTuple):
    """What became of a trial."""

    rate: float
    losses: Sequence[float]  # that it would be judged by if it had ended after epoch 1, 2, ...
    completed: bool = False
    diverged: bool = False


@dataclass(frozen=True, kw_only=True)
class RateCurve:
    """A smooth curve through the trials of a study, and its minimum."""

    chosen: float  # the rate at the minimum
    expected: Sequence[float]  # of each trial: the loss at its end; NaN of those that diverged
    points: pd.DataFrame  # learning_rate and val_loss; the chosen one alone where there is no curve


def curve_through(trials: Sequence[Tried]) -> RateCurve:
    """The curve through trials of which at least one was completed.

    A trial counts by the last epoch it reached: how far its loss then lay from that of the
    completed ones after as many epochs, as if it kept that distance. Through these goes a parabola
    over the log rate, by least squares; a trial weighs by its epochs and its nearness to the best.
    One that is far behind, or diverged, tells only that the curve is as high there: where it is, it
    does not count. The curve is not followed beyond the trials that converged, and there is none
    through fewer than three rates, or where it has no minimum: the best one's is chosen then.
    """
    usual = np.mean([_log(one.losses) for one in trials if one.completed], axis=0)
    behind = np.array([_behind(one, usual) for one in trials])
    rates = np.array([one.rate for one in trials])
    place = min(
        (place for place, one in enumerate(trials) if one.completed), key=behind.__getitem__
    )
    best, converged = trials[place], rates[np.isfinite(behind)]
    low = max(converged.min(), best.rate / math.exp(FAR))
    high = min(converged.max(), best.rate * math.exp(FAR))
    x, epochs = np.log(rates / best.rate), np.array([max(1, len(one.losses)) for one in trials])
    weights = epochs * np.exp(-((x / NEAR) ** 2) / 2)
    parabola = _parabola(x, behind, weights) if len(set(converged)) >= 3 else None
    if parabola is None:
        chosen, shown, curve = best.rate, np.array([best.rate]), behind[[place]]
    else:
        (lowest,) = parabola.deriv().roots()
        chosen = float(np.clip(best.rate * np.exp(lowest), low, high))
        shown = np.sort([*np.geomspace(low, high, POINTS), chosen])
        curve = parabola(np.log(shown / best.rate))
    return RateCurve(
        chosen=chosen,
        expected=np.exp(usual[-1] + np.where(np.isfinite(behind), behind, np.nan)).tolist(),
        points=pd.DataFrame({"learning_rate": shown, "val_loss": np.exp(usual[-1] + curve)}),
    )


def _log(losses: Sequence[float]) -> Array:
    return np.log(np.maximum(losses, np.finfo(float).tiny))


def _behind(one: Tried, usual: Array) -> float:
    """How far a trial lay behind the completed ones at its last epoch, in log loss."""
    if one.diverged:
        return math.inf
    return float(_log(one.losses)[-1] - usual[len(one.losses) - 1])


def _parabola(x: Array, behind: Array, weights: Array) -> Polynomial | None:
    """The parabola that fits best; None where the trials determine none with a minimum."""
    far, parabola = behind >= FAR_BEHIND, None
    counts = np.full(len(x), True)
    for _ in x:
        if len(set(x[counts])) < 3:
            break
        y, root = np.minimum(behind, FAR_BEHIND)[counts], np.sqrt(weights[counts])
        fitted, (_, rank, *_) = Polynomial.fit(x[counts], y, 2, w=root, full=True)
        standard = fitted.convert()
        if rank < 3 or len(standard) < 3 or standard.coef[2] <= 0:
            return None
        parabola, before = standard, counts
        counts = ~(far & (parabola(x) >= FAR_BEHIND))
        if np.array_equal(counts, before):
            break
    return parabola
