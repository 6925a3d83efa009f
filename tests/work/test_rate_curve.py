"""The chosen learning rate: the minimum of a curve through trials, whatever became of them."""

import math

import numpy as np
import pytest

from pipeline.work import rate_curve
from pipeline.work.rate_curve import Tried, curve_through

MINIMUM = 3e-4
RATES = (2.5e-5, 8e-5, 1.6e-4, 4.5e-4, 1e-3, 6.3e-3)
GONE_ON = (0.2, 0.1, 0.0)  # how far above its last an epoch's log loss lies
STEP = 0.01 * math.log(10)  # from one point of the curve to the next


def trial(rate: float, epochs: int = 3, noise: float = 0.0, minimum: float = MINIMUM) -> Tried:
    """A trial of so many epochs, of three, whose log loss is a parabola over the log rate."""
    log_loss = 0.02 * math.log(rate / minimum) ** 2 + noise
    losses = [math.exp(log_loss + above) for above in GONE_ON[:epochs]]
    return Tried(rate, losses, completed=epochs == 3)


def diverged(rate: float) -> Tried:
    return Tried(rate, [2.0], diverged=True)


@pytest.mark.parametrize("epochs", [(3,) * 6, (1, 2, 3, 3, 1, 1)], ids=["completed", "pruned"])
def test_the_minimum_is_found_also_where_trials_were_pruned(epochs: tuple[int, ...]) -> None:
    trials = [trial(rate, one) for rate, one in zip(RATES, epochs, strict=True)]
    found = curve_through(trials)
    assert math.log(found.chosen / MINIMUM) == pytest.approx(0, abs=2 * STEP)
    assert found.expected == pytest.approx([trial(rate).losses[-1] for rate in RATES])


def test_the_chosen_rate_and_the_points_of_the_curve_have_three_digits() -> None:
    rates = curve_through([trial(rate) for rate in RATES]).points["learning_rate"]
    assert [float(f"{rate:.3g}") for rate in rates] == list(rates)
    assert len(rates) == rate_curve.POINTS


def test_a_lucky_trial_does_not_take_it_all() -> None:
    lucky = trial(1.6e-4, noise=-0.02)
    trials = [trial(rate) for rate in RATES if rate != lucky.rate] + [lucky]
    assert min(trials, key=lambda one: one.losses[-1]) is lucky
    assert 0.8 * MINIMUM < curve_through(trials).chosen < MINIMUM


def test_the_chosen_rate_varies_far_less_than_that_of_the_best_trial() -> None:
    random = np.random.default_rng(0)
    chosen, best = [], []
    for _ in range(100):
        rates = np.exp(random.uniform(math.log(8e-5), math.log(1e-3), 6))
        trials = [trial(rate, noise=random.normal(0, 0.01)) for rate in (2e-5, *rates, 4.5e-3)]
        chosen.append(math.log(curve_through(trials).chosen))
        best.append(math.log(min(trials, key=lambda one: one.losses[-1]).rate))
    assert np.std(chosen) < np.std(best) / 2
    assert np.mean(chosen) == pytest.approx(math.log(MINIMUM), abs=0.05)


def test_the_curve_bends_no_more_than_the_trials_ask_for() -> None:
    epochs, noise = (1, 2, 3, 3, 2, 1), (0.01, -0.02, 0.0, 0.015, -0.01, 0.05)
    trials = [trial(*one) for one in zip(RATES, epochs, noise, strict=True)]
    completed = [one for one in trials if one.completed]
    usual = np.mean([np.log(one.losses) for one in completed], axis=0)
    behind = [np.log(one.losses)[-1] - usual[len(one.losses) - 1] for one in trials]
    y = np.minimum(behind, rate_curve.FAR_BEHIND)
    assert max(behind) > max(y)
    # The same penalised least squares, over heights at a thousand rates.
    grid = np.linspace(math.log10(RATES[0]), math.log10(RATES[-1]), 1000)
    step, identity = grid[1] - grid[0], np.eye(len(grid))
    at = np.array([np.interp(np.log10(RATES), grid, one) for one in identity]).T
    bend = np.diff(identity, 2, axis=0) / step**2
    weights = np.array(epochs) / 3
    penalty = rate_curve.SMOOTHNESS * step * bend.T @ bend
    heights = np.linalg.solve(at.T * weights @ at + penalty, at.T @ (weights * y))
    found = curve_through(trials)
    expected = np.interp(np.log10(found.points["learning_rate"]), grid, heights)
    curve = np.log(found.points["val_loss"]) - usual[-1]
    np.testing.assert_allclose(curve, expected, atol=2e-3)
    assert math.log10(found.chosen) == pytest.approx(grid[heights.argmin()], abs=0.02)


@pytest.mark.parametrize(
    "trials",
    [
        [trial(1e-3)],
        [trial(1e-3), trial(1e-2, 1)],
        [trial(rate) for rate in RATES[:4]],
        [trial(1e-3), trial(1e-3, noise=0.1), *(trial(rate) for rate in (1e-5, 1e-4, 1e-2))],
        [trial(1e-3), diverged(1e-2), diverged(2e-2), diverged(5e-2), diverged(1e-1)],
    ],
    ids=["one", "two", "four", "four rates", "all but one diverged"],
)
def test_of_too_few_trials_the_best_one_that_was_completed_is_chosen(trials: list[Tried]) -> None:
    best = min((one for one in trials if one.completed), key=lambda one: one.losses[-1])
    found = curve_through(trials)
    assert found.chosen == best.rate
    assert len(found.points) == 1


@pytest.mark.parametrize("beyond", [1e-6, 1e-1])
def test_no_rate_is_chosen_beyond_the_trials_that_converged(beyond: float) -> None:
    rates = (1e-4, 3e-4, 1e-3, 3e-3, 6e-3)
    nearest = min(rates, key=lambda rate: abs(math.log(rate / beyond)))
    trials = [trial(rate, minimum=beyond) for rate in rates]
    assert curve_through(trials).chosen == nearest
    points = curve_through([*trials, diverged(beyond)]).points["learning_rate"]
    assert rates[0] <= points.min() <= points.max() <= rates[-1]


def test_no_rate_is_chosen_more_than_tenfold_from_the_best() -> None:
    rates = (1e-7, 1e-6, 1e-5, 1e-4, 1e-3)
    trials = [trial(rate, minimum=1e-7) for rate in rates[:-1]] + [trial(1e-3, noise=-2)]
    points = curve_through(trials).points["learning_rate"]
    assert (points.min(), points.max()) == pytest.approx((1e-4, 1e-3))


def test_rates_that_diverge_push_the_choice_away() -> None:
    trials = [trial(rate, minimum=2e-3) for rate in (3e-5, 1e-4, 3e-4, 1e-3, 2e-3)]
    safe = curve_through([*trials, diverged(4e-3), diverged(1e-2)]).chosen
    assert 5e-4 < safe < 1.9e-3 < curve_through(trials).chosen


def test_the_same_rate_twice_is_one_that_weighs_more() -> None:
    trials = [trial(rate) for rate in (*RATES, 1e-3 * (1 + 1e-9), 1e-3)]
    found = curve_through(trials)
    assert math.log(found.chosen / MINIMUM) == pytest.approx(0, abs=3 * STEP)
    assert len(found.expected) == 8


def test_the_curve_holds_its_minimum() -> None:
    found = curve_through([trial(rate) for rate in RATES])
    rates, losses = found.points["learning_rate"], found.points["val_loss"]
    assert rates.is_monotonic_increasing
    assert rates[losses.idxmin()] == found.chosen
    assert losses.min() == pytest.approx(1.0, abs=0.01)
