"""Verdicts: what follows from an interval, and how questions share an error rate."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pipeline.answers import verdicts
from pipeline.answers.verdicts import Answer, Verdict, answers
from pipeline.comparisons import Question

NOISE = np.array([0.001, -0.001, 0.0005, -0.0005, 0.0])
POINT = 0.01


def accuracies(**by_variant: Any) -> dict[str, dict[str, np.ndarray]]:
    return {
        name: {"test_accuracy": np.array(of), "train_seconds": np.full(len(of), 90.0)}
        for name, of in by_variant.items()
    }


def ask(variant: str = "bn", **question: Any) -> Question:
    return Question(
        **{"variant": variant, "reference": "elu", "metric": "test_accuracy"} | question
    )


def judged(shift: float, *, noise: np.ndarray = NOISE, **question: Any) -> Answer:
    runs = accuracies(elu=0.5 + noise, bn=0.5 + shift + noise[::-1])
    (answer,) = answers([ask(**question)], runs)
    return answer


@pytest.mark.parametrize(
    ("shift", "margin", "expected"),
    [
        (0.03, 0, Verdict.BETTER),
        (-0.03, 0, Verdict.WORSE),
        (0.0, 0, Verdict.UNDECIDED),
        (0.0, POINT, Verdict.EQUAL),
        (0.006, POINT, Verdict.EQUAL),  # beyond noise, but too small to matter
        (0.0, 0.0005, Verdict.UNDECIDED),
        (0.0099, POINT, Verdict.BETTER),  # part of the interval is beyond the margin
        (-0.03, POINT, Verdict.WORSE),
    ],
)
def test_verdict_follows_from_the_interval_and_the_margin(shift, margin, expected):
    answer = judged(shift, margin=margin)
    assert answer.verdict is expected
    assert answer.effect == pytest.approx(shift)


@settings(deadline=None)  # a busy machine is slow
@given(
    shift=st.floats(-0.05, 0.05),
    spread=st.floats(0.0001, 0.02),
    seeds=st.integers(3, 12),
    margin=st.sampled_from([0, 0.005, 0.02]),
)
def test_a_verdict_never_contradicts_the_interval_beside_it(shift, spread, seeds, margin):
    noise = spread * np.random.default_rng(seeds).normal(size=seeds)
    answer = judged(shift, noise=noise, margin=margin)
    low, high = answer.low, answer.high
    assert low <= answer.effect <= high
    assert (answer.verdict is Verdict.EQUAL) <= (-margin < low and high < margin)
    assert (answer.verdict is Verdict.BETTER) <= (low > 0)
    assert (answer.verdict is Verdict.WORSE) <= (high < 0)
    assert (answer.verdict is Verdict.UNDECIDED) <= (low <= 0 <= high)


def test_a_metric_of_which_less_is_better_turns_the_verdict_round_and_shows_ratios():
    columns = {"processor": "EPYC", "disturbed": False, "started": 0, "train_seconds": 60.0}
    runs = {
        name: {
            "median_epoch_seconds": seconds,
            **{column: np.full(5, value) for column, value in columns.items()},
        }
        for name, seconds in {"elu": 2 + NOISE, "bn": 1 + NOISE[::-1]}.items()
    }
    (answer,) = answers([ask(metric="median_epoch_seconds")], runs)
    assert answer.verdict is Verdict.BETTER
    assert (answer.winner, answer.loser) == ("bn", "elu")
    assert answer.low < answer.effect < answer.high < 1
    assert answer.effect == pytest.approx(0.5, rel=0.001)


def test_a_winner_is_named_by_better_and_by_worse_alone():
    found = [judged(shift, margin=POINT) for shift in (0.03, -0.03, 0.0)]
    assert [one.winner for one in found] == ["bn", "elu", None]
    assert [one.loser for one in found] == ["elu", "bn", None]


def test_a_described_question_has_an_interval_of_95_per_cent_and_no_verdict():
    answer = judged(0.03, role="described")
    assert (answer.verdict, answer.winner) == (None, None)
    assert answer.confidence == 0.95
    noise = stats.ttest_ind(0.53 + NOISE[::-1], 0.5 + NOISE, equal_var=False)
    interval = noise.confidence_interval(0.95)
    assert (answer.low, answer.high) == pytest.approx((interval.low, interval.high), rel=0.01)


def test_two_seeds_are_too_few_and_agreeing_ones_have_no_interval():
    few = judged(0.03, noise=NOISE[:2])
    assert (few.verdict, few.reason) == (Verdict.UNDECIDED, "fewer than 3 seeds")
    same = judged(0.03, noise=np.zeros(4))
    assert (same.verdict, same.reason) == (Verdict.UNDECIDED, "the seeds do not differ at all")
    assert np.isnan([few.low, few.high, same.low, same.high]).all()
    assert (few.seeds, few.minutes) == (None, None)


def test_a_question_about_a_variant_without_runs_is_not_answered():
    assert answers([ask("selu")], accuracies(elu=0.5 + NOISE)) == []


# Error rates


def family(**shifts: float) -> list[Answer]:
    runs = accuracies(elu=0.5 + NOISE, **{name: 0.5 + by + NOISE for name, by in shifts.items()})
    return answers([ask(name, margin=0) for name in shifts], runs)


def test_questions_that_are_decided_leave_their_share_to_the_others():
    alone, one_of_two, last = family(a=0.0), family(a=0.0, b=0.0), family(a=0.0, b=0.05)
    look = verdicts._SHARES["primary"].beyond
    assert alone[0].confidence == pytest.approx(1 - look * 0.05)
    assert one_of_two[0].confidence == pytest.approx(1 - look * 0.025)
    assert [one.confidence for one in last] == pytest.approx([1 - look * 0.05, 1 - look * 0.025])


def test_beyond_twelve_seeds_a_look_spends_less_and_less():
    noise = np.tile(NOISE, 10)
    many, few = judged(0.0, noise=noise[:48], margin=0), judged(0.0, noise=noise[:12], margin=0)
    assert 1 - many.confidence == pytest.approx((1 - few.confidence) / 4)


def test_secondary_questions_share_a_rate_of_their_own():
    runs = accuracies(elu=0.5 + NOISE, bn=0.5 + NOISE, selu=0.5 + NOISE)
    primary = [ask(margin=0)]
    secondary = [ask("selu", role="secondary", margin=0)]
    both = answers([*primary, *secondary], runs)
    assert both == [*answers(primary, runs), *answers(secondary, runs)]
    assert both[1].confidence == 0.95


def test_images_widen_the_interval_and_are_said():
    runs = accuracies(elu=0.5 + NOISE, bn=0.503 + NOISE)
    (without,) = answers([ask(margin=POINT)], runs)
    (covering,) = answers([ask(margin=POINT)], runs, {ask().id: 0.005**2})
    assert (without.covers_images, covering.covers_images) == (False, True)
    assert (without.verdict, covering.verdict) == (Verdict.EQUAL, Verdict.UNDECIDED)


# What would decide it


def test_undecided_tells_how_many_seeds_would_decide_it_and_how_long_they_take():
    noise = np.array([0.01, -0.01, 0.005, -0.005])
    answer = judged(0.012, noise=noise, margin=0)
    assert answer.verdict is Verdict.UNDECIDED
    assert answer.seeds is not None
    assert 4 < answer.seeds < 40
    assert answer.minutes == pytest.approx(2 * (answer.seeds - 4) * 90 / 60)
    enough = judged(0.012, noise=np.resize(noise, answer.seeds), margin=0)
    assert enough.verdict is Verdict.BETTER


def test_no_number_of_seeds_that_is_thought_of_decides_what_is_nothing():
    answer = judged(0.00001, noise=10 * NOISE, margin=0)
    assert (answer.seeds, answer.minutes) == (None, None)


def test_equality_is_forecast_where_the_effect_is_small():
    answer = judged(0.001, noise=9 * NOISE, margin=POINT)
    assert answer.verdict is Verdict.UNDECIDED
    assert answer.seeds is not None
    enough = judged(0.001, noise=np.resize(9 * NOISE, answer.seeds), margin=POINT)
    assert enough.verdict is Verdict.EQUAL


def test_what_is_decided_needs_no_more_seeds():
    assert judged(0.03).seeds is None
    assert not math.isnan(judged(0.03).low)
