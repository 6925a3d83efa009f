"""What became of variants since: beyond noise and margin, on one processor, to the last digit."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from compared_runs import make_curves, make_run
from scipy import stats

from pipeline.answers.regressions import NIGHTS_SD, Compared, Shift, same_digits, shifts
from pipeline.answers.verdicts import Verdict

NOISE = np.array([0.008, -0.008, 0.002, -0.002])
LOSSES = np.array([1.5, 1.51, 1.49, 1.52])  # best ones of four seeds
SECONDS = 2 * np.array([1.02, 0.98, 1.01, 0.99])
TIME = "median_epoch_seconds"


def night(run: str = "then", **variants: dict[str, Any]) -> Compared:
    """The tables of a comparison, of variants with the columns that are given; four seeds each."""
    rows = []
    for variant, columns in variants.items():
        usual: dict[str, Any] = {"test_accuracy": 0.5 + NOISE, "best_val_loss": LOSSES}
        usual |= {"median_epoch_cpu_seconds": SECONDS, "disturbed": False}
        table = pd.DataFrame(usual | columns)
        for seed, values in enumerate(table.to_dict("records"), start=1):
            named = {str(name): value for name, value in values.items()}
            rows.append(make_run(variant, seed, **{"run_id": f"{run}-{variant}-{seed}"} | named))
    runs = pd.DataFrame(rows)
    return Compared(runs=runs, curves=make_curves(runs), baseline="elu")


def became(metric: str = "test_accuracy", *, given: Any = None, **columns: Any) -> Shift:
    """What became of `bn` in a metric, where tonight's runs have other values."""
    then = night(elu={}, bn={})
    now = night("now", bn={"test_accuracy": 0.5 + NOISE[::-1]} | columns)
    (found,) = (
        one
        for one in shifts(then, now, ["bn"], **given or {})
        if one.answer.question.metric == metric
    )
    return found


# Accuracies


@pytest.mark.parametrize(
    ("points", "verdict", "is_regression"),
    [
        (-4.2, Verdict.WORSE, True),
        (-0.9, Verdict.UNDECIDED, False),
        (0.0, Verdict.UNDECIDED, False),
        (4.2, Verdict.BETTER, False),
    ],
)
def test_worse_beyond_noise_and_margin_is_a_regression(points, verdict, is_regression):
    found = became(test_accuracy=0.5 + points / 100 + NOISE[::-1])
    assert (found.answer.verdict, found.is_regression) == (verdict, is_regression)
    assert (found.then, found.now) == pytest.approx((0.5, 0.5 + points / 100))


def test_worse_by_less_than_the_margin_is_said_to_be_and_is_none():
    then = night(bn={"test_accuracy": 0.5 + NOISE / 10})
    now = night("now", bn={"test_accuracy": 0.5 - 0.0095 + NOISE[::-1] / 10})
    found, *_ = shifts(then, now, ["bn"])
    assert (found.answer.verdict, found.is_regression) == (Verdict.WORSE, False)
    assert found.text.endswith(", less than the margin of 1 point")
    strict, *_ = shifts(then, now, ["bn"], margins={"bn": 0.005})
    assert strict.is_regression


def test_a_difference_within_the_margin_is_equal():
    then, now = (
        night(run, bn={"test_accuracy": 0.5 + NOISE[::turn] / 9})
        for run, turn in (("then", 1), ("now", -1))
    )
    found, *_ = shifts(then, now, ["bn"])
    assert found.answer.verdict is Verdict.EQUAL
    assert found.text.startswith("test accuracy 50.0% is now 50.0%, equal within 1 point (-0.")


def test_the_interval_is_students_over_all_runs_that_the_family_shares():
    found = became(test_accuracy=0.45 + NOISE[::-1])
    share = 0.05 / 3  # of accuracy, convergence and time; no other was decided before
    assert found.answer.confidence == pytest.approx(1 - share)
    # Twelve runs in three groups; scipy's knows two of them.
    spread = math.sqrt(NOISE.var(ddof=1) * 2 / 4)
    half = stats.t.ppf(1 - share / 2, 12 - 3) * spread
    assert (found.answer.low, found.answer.high) == pytest.approx((-0.05 - half, -0.05 + half))
    pooled = stats.ttest_ind(0.45 + NOISE, 0.5 + NOISE).confidence_interval(1 - share)
    assert pooled.low < found.answer.low < found.answer.high < pooled.high


def test_one_that_spreads_more_than_all_others_is_judged_by_its_own_spread():
    broken = became(test_accuracy=np.array([0.1, 0.35, 0.2, 0.25]))
    assert broken.is_regression
    wide = broken.answer.high - broken.answer.low
    assert wide > 10 * (became().answer.high - became().answer.low)


def test_fewer_than_three_seeds_are_not_compared():
    then, few = night(elu={}, bn={}), night("now", bn={"test_accuracy": 0.3 + NOISE})
    few = Compared(runs=few.runs[few.runs["seed"] < 3], curves=few.curves, baseline="elu")
    found, *_ = shifts(then, few, ["bn"])
    assert not found.is_regression
    assert found.text.endswith("is now 30.0%, not compared (fewer than 3 seeds)")


def test_other_test_images_widen_the_interval():
    drop = 0.5 - 0.03 + NOISE[::-1]
    assert became(test_accuracy=drop).is_regression
    among_few = became(test_accuracy=drop, given={"image_variance": 0.5 / 1000})
    assert among_few.answer.verdict is Verdict.UNDECIDED
    assert among_few.answer.covers_images


def test_with_more_seeds_accuracy_alone_is_judged_again_and_all_looks_share_the_error():
    then, now = night(elu={}, bn={}), night("now", bn={"test_accuracy": 0.45 + NOISE[::-1]})
    (again,) = shifts(then, now, ["bn"], looked_before=True)
    assert again.answer.question.metric == "test_accuracy"
    assert again.is_regression
    assert again.answer.confidence > 1 - 0.05 / 5  # of one look it would be 0.95


# The same to the last digit


def test_seeds_that_come_to_the_same_digits_are_counted_and_not_tested():
    then, now = night(elu={}, bn={}), night("now", bn={})
    assert same_digits(then, now, "bn") == 4
    assert [one.answer.question.metric for one in shifts(then, now, ["bn"])] == [TIME]
    now.runs.loc[2, "best_val_loss"] += 1e-7
    assert same_digits(then, now, "bn") == 0
    assert same_digits(then, night("now", elu={}), "bn") == 0  # no seed of it


def test_variants_of_only_one_of_the_two_are_left_out():
    then, now = night(elu={}), night("now", elu={}, bn={})
    assert shifts(then, now, ["bn"]) == []
    assert {one.variant for one in shifts(then, now, ["bn", "elu"])} == {"elu"}


# Times


def test_an_epoch_that_takes_longer_than_nights_differ_is_a_regression():
    found = became(TIME, median_epoch_cpu_seconds=1.5 * SECONDS[::-1])
    assert found.is_regression
    assert found.answer.effect == pytest.approx(1.5, rel=0.01)
    assert found.text.startswith("an epoch took 2 s and now takes 3 s, worse, 1.50 times (1.")


def test_a_machine_that_is_a_tenth_slower_tonight_rings_nothing():
    slower = {"median_epoch_cpu_seconds": 1.1 * SECONDS[::-1]}
    now = night("now", elu=slower, bn=slower)
    found = shifts(night(elu={}, bn={}), now, ["elu", "bn"])
    assert [one.answer.verdict for one in found] == [Verdict.UNDECIDED] * 2


def test_the_interval_of_a_time_allows_for_another_night():
    found = became(TIME, median_epoch_cpu_seconds=1.5 * SECONDS[::-1])
    share = 1 - found.answer.confidence
    variance = np.log(SECONDS).var(ddof=1)
    seeds = stats.t.ppf(1 - share / 2, 8 - 2) ** 2 * variance * 2 / 4
    nights = stats.norm.ppf(1 - share / 2) ** 2 * 2 * NIGHTS_SD**2
    low, high = np.log([found.answer.low, found.answer.high])
    assert (high - low) / 2 == pytest.approx(math.sqrt(seeds + nights))


def test_times_are_compared_on_one_processor_of_undisturbed_runs():
    slow = {"median_epoch_cpu_seconds": 1.5 * SECONDS[::-1]}
    reason = "no undisturbed runs of both on one processor"
    for other in ({"processor": "another"}, {"processor": ""}, {"disturbed": True}):
        found = became(TIME, **slow, **other)
        assert (found.is_regression, found.answer.reason) == (False, reason)
    unknown = {"processor": ""}
    (found,) = shifts(night(bn=unknown), night("now", bn=slow | unknown), ["bn"])
    assert found.answer.reason == reason
    # Three of them are where the others were.
    found = became(TIME, **slow, processor=["one", "one", "another", "one"])
    assert found.is_regression
    assert found.answer.sizes == (3, 4)


def test_where_cpu_seconds_are_not_known_the_clock_is_read():
    unknown = np.full(4, np.nan)
    found = became(TIME, median_epoch_cpu_seconds=unknown, median_epoch_seconds=3 + NOISE)
    assert found.answer.effect == pytest.approx(1.5, rel=0.01)


# Convergence


def test_the_target_is_that_of_the_good_night():
    late = became("epochs_to_target", best_val_loss=2.5 + LOSSES)
    assert math.isinf(late.now)
    assert late.then == pytest.approx(5, abs=0.3)
    assert "now takes longer than most runs" in late.text


def test_on_other_data_losses_are_not_compared():
    found = became("epochs_to_target", given={"same_data": False})
    assert found.answer.reason == "other data"
    assert became(given={"same_data": False}).answer.reason == ""
