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

from pipeline.base.rounding import three_digits

# The penalty on bends, of log losses over decades. On CIFAR-10 a third of it, or three times as
# much, moves the rates of elu and bn by 7%; with more, the steep end of 1cycle's is not followed.
SMOOTHNESS = 0.01
FAR_BEHIND = 0.2  # of log losses: how much worse a rate is does not matter from here on
FEWEST = 5  # rates that a smoothing spline takes
POINTS = 201  # of the curve, over at most two decades: 0.01 of one apart


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
    # learning_rate and val_loss; the chosen one alone where there is no curve, none where no trial
    # was completed.
    points: pd.DataFrame


def curve_through(trials: Sequence[Tried]) -> RateCurve:
    """The curve through trials of which at least one was completed.

    A trial counts by the last epoch it reached: how far its loss then lay from that of the
    completed ones after as many epochs, as if it kept that distance. Through these goes a smoothing
    spline over the log rate, in which a trial weighs by its epochs. It is followed for a decade to
    both sides of the best trial, and not beyond those that converged. Through fewer than five rates
    there is none: the best trial's is chosen.
    """
    usual = np.mean([_log(one.losses) for one in trials if one.completed], axis=0)
    behind = np.array([_behind(one, usual) for one in trials])
    rates = np.array([one.rate for one in trials])
    completed = [place for place, one in enumerate(trials) if one.completed]
    best = min(completed, key=behind.__getitem__)
    shown, curve = rates[[best]], behind[[best]]
    x, same = np.unique(np.log10(rates), return_inverse=True)
    if len(x) >= FEWEST:
        from scipy.interpolate import make_smoothing_spline  # half a second, which a plan saves

        epochs = np.array([max(1, len(one.losses)) for one in trials]) / len(usual)
        weights = np.bincount(same, epochs)
        heights = np.bincount(same, epochs * np.minimum(behind, FAR_BEHIND)) / weights
        converged = rates[np.isfinite(behind)]
        low, high = max(converged.min(), shown[0] / 10), min(converged.max(), 10 * shown[0])
        grid = np.geomspace(low, high, POINTS if low < high else 1)
        shown = np.unique([three_digits(rate) for rate in grid])
        curve = make_smoothing_spline(x, heights, weights, SMOOTHNESS)(np.log10(shown))
    return RateCurve(
        chosen=float(shown[curve.argmin()]),
        expected=np.exp(usual[-1] + np.where(np.isfinite(behind), behind, np.nan)).tolist(),
        points=pd.DataFrame({"learning_rate": shown, "val_loss": np.exp(usual[-1] + curve)}),
    )


def lowest_of(trials: Sequence[Tried]) -> RateCurve:
    """The lowest rate of trials of which none was completed; one that diverged only if all did."""
    chosen = min(trials, key=lambda one: (one.diverged, one.rate)).rate
    nothing = pd.DataFrame({"learning_rate": [], "val_loss": []})
    return RateCurve(chosen=chosen, expected=[math.nan] * len(trials), points=nothing)


def _log(losses: Sequence[float]) -> np.ndarray:
    return np.log(np.maximum(losses, np.finfo(float).tiny))


def _behind(one: Tried, usual: np.ndarray) -> float:
    """How far a trial lay behind the completed ones at its last epoch, in log loss."""
    if one.diverged:
        return math.inf
    return float(_log(one.losses)[-1] - usual[len(one.losses) - 1])
