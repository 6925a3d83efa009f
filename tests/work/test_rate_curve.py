"""The chosen learning rate: the minimum of a curve through trials, whatever became of them."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize

from pipeline.work import rate_curve
from pipeline.work.rate_curve import Tried, curve_through

MINIMUM = 3e-4
RATES = (2.5e-5, 8e-5, 1.6e-4, 4.5e-4, 1e-3, 6.3e-3)
GONE_ON = (0.2, 0.1, 0.0)  # how far above its last an epoch's log loss lies


def trial(rate: float, epochs: int = 3, noise: float = 0.0, minimum: float = MINIMUM) -> Tried:
    """A trial of so many epochs, of three, whose log loss is a parabola."""
    log_loss = 0.05 * math.log(rate / minimum) ** 2 + noise
    losses = [math.exp(log_loss + above) for above in GONE_ON[:epochs]]
    return Tried(rate, losses, completed=epochs == 3)


def diverged(rate: float) -> Tried:
    return Tried(rate, [2.0], diverged=True)


@pytest.mark.parametrize("epochs", [(3,) * 6, (1, 2, 3, 3, 1, 1)], ids=["completed", "pruned"])
def test_the_minimum_is_found_also_where_trials_were_pruned(epochs: tuple[int, ...]) -> None:
    trials = [trial(rate, one) for rate, one in zip(RATES, epochs, strict=True)]
    near = [one for one in trials if abs(math.log(one.rate / MINIMUM)) < 2]
    found = curve_through(near)
    assert found.chosen == pytest.approx(MINIMUM)
    ends = [math.exp(0.05 * math.log(one.rate / MINIMUM) ** 2) for one in near]
    assert found.expected == pytest.approx(ends)


def test_a_lucky_trial_does_not_take_it_all() -> None:
    lucky = trial(1.6e-4, noise=-0.03)
    trials = [trial(rate) for rate in RATES if rate != lucky.rate] + [lucky]
    assert min(trials, key=lambda one: one.losses[-1]) is lucky
    assert curve_through(trials).chosen == pytest.approx(MINIMUM, rel=0.25)


def test_the_chosen_rate_varies_far_less_than_that_of_the_best_trial() -> None:
    random = np.random.default_rng(0)
    chosen, best = [], []
    for _ in range(200):
        rates = np.exp(random.uniform(math.log(8e-5), math.log(1e-3), 6))
        trials = [trial(rate, noise=random.normal(0, 0.01)) for rate in (2e-5, *rates, 4.5e-3)]
        chosen.append(math.log(curve_through(trials).chosen))
        best.append(math.log(min(trials, key=lambda one: one.losses[-1]).rate))
    assert np.std(chosen) < np.std(best) / 2
    assert np.mean(chosen) == pytest.approx(math.log(MINIMUM), abs=0.05)


def test_the_curve_is_the_weighted_least_squares_parabola() -> None:
    epochs, noise = (1, 2, 3, 3, 2, 1), (0.01, -0.02, 0.0, 0.015, -0.01, 0.02)
    trials = [trial(*one) for one in zip(RATES, epochs, noise, strict=True)]
    x = np.log(RATES)
    completed = (trials[2], trials[3])
    usual = np.mean([np.log(one.losses) for one in completed], axis=0)
    behind = np.array([np.log(one.losses)[-1] - usual[len(one.losses) - 1] for one in trials])
    far = behind > rate_curve.FAR_BEHIND
    assert far.sum() == 2
    best = x[2] if behind[2] < behind[3] else x[3]
    weights = epochs * np.exp(-(((x - best) / rate_curve.NEAR) ** 2) / 2)

    def squares(of: np.ndarray) -> float:
        curve = of[0] + of[1] * (x - best) + of[2] * (x - best) ** 2
        off = np.where(far, np.maximum(rate_curve.FAR_BEHIND - curve, 0), behind - curve)
        return float(np.sum(weights * off**2))

    fitted = minimize(squares, [0.0, 0.0, 0.05], method="BFGS", options={"gtol": 1e-9}).x
    assert math.log(curve_through(trials).chosen) == pytest.approx(
        best - fitted[1] / (2 * fitted[2]), abs=1e-4
    )


@pytest.mark.parametrize(
    "trials",
    [
        [trial(1e-3)],
        [trial(1e-3), trial(1e-2, 1)],
        [trial(1e-3), trial(1e-3, noise=0.1), trial(1e-2, 1)],  # two rates
        [trial(1e-3), diverged(1e-2), diverged(1e-1)],
        [trial(1e-3), trial(1e-4), diverged(1e-2), diverged(1e-1)],
    ],
    ids=["one", "two", "two rates", "all but one diverged", "all but two diverged"],
)
def test_of_too_few_trials_that_converged_the_best_is_chosen(trials: list[Tried]) -> None:
    best = min((one for one in trials if one.completed), key=lambda one: one.losses[-1])
    found = curve_through(trials)
    assert found.chosen == best.rate
    assert found.points.to_dict("list") == {
        "learning_rate": [best.rate],
        "val_loss": pytest.approx([best.losses[-1]]),
    }


def test_trials_without_a_minimum_between_them_leave_it_to_the_best() -> None:
    heights = (-0.1, 0.0, -0.12)  # a hill
    trials = [
        Tried(rate, [math.exp(one)], completed=True)
        for rate, one in zip((1e-4, 1e-3, 1e-2), heights, strict=True)
    ]
    assert curve_through(trials).chosen == 1e-2


@pytest.mark.parametrize("beyond", [1e-6, 1e-1])
def test_no_rate_is_chosen_beyond_the_trials_that_converged(beyond: float) -> None:
    rates = (1e-4, 3e-4, 1e-3, 3e-3)
    nearest = min(rates, key=lambda rate: abs(math.log(rate / beyond)))
    trials = [trial(rate, minimum=beyond) for rate in rates]
    assert curve_through(trials).chosen == nearest
    further = curve_through([*trials, diverged(beyond)]).chosen
    assert rates[0] <= further <= rates[-1]


def test_rates_that_diverge_push_the_choice_away() -> None:
    trials = [trial(rate, minimum=2e-3) for rate in (1e-4, 3e-4, 1e-3, 2e-3)]
    safe = curve_through([*trials, diverged(4e-3), diverged(1e-2)]).chosen
    assert 5e-4 < safe < curve_through(trials).chosen == pytest.approx(2e-3)


def test_the_curve_holds_its_minimum_and_ends_with_the_trials() -> None:
    found = curve_through([trial(rate) for rate in RATES[1:5]])
    rates, losses = found.points["learning_rate"], found.points["val_loss"]
    assert rates.is_monotonic_increasing
    assert (rates.iloc[0], rates.iloc[-1]) == pytest.approx((8e-5, 1e-3))
    assert rates[losses.idxmin()] == found.chosen
    assert losses.min() == pytest.approx(1.0)
