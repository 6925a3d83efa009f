"""The forest plot: every answer in its place, better to the right, its verdict as word and sign."""

import math

import pytest
from compared_runs import COMPARED_VARIANTS, answer, evidence_of, five_variants, make_run

from pipeline.answers import tables
from pipeline.answers.evidence import Evidence
from pipeline.answers.verdicts import Answer
from pipeline.comparisons import Question
from pipeline.report import forest
from pipeline.report.forest import Axis, Row

SPEED, CONVERGENCE = "median_epoch_seconds", "epochs_to_target"


def axes_of(*answers: Answer) -> list[Axis]:
    evidence = evidence_of([make_run(name, seed) for name in ("elu", "bn") for seed in (1, 2, 3)])
    evidence.answers = list(answers)
    return forest.axes(evidence)


def row_of(given: Answer) -> Row:
    ((row,),) = (axis.rows for axis in axes_of(given))
    return row


def test_better_is_to_the_right_of_no_effect_and_beyond_the_margin() -> None:
    (axis,) = axes_of(answer())
    (row,) = axis.rows
    assert row.interval
    assert row.effect
    assert row.margin[0] < axis.none < row.margin[1] < row.interval[0] < row.effect
    assert row.effect < row.interval[1] < 100
    assert axis.none == pytest.approx(sum(row.margin) / 2, abs=0.01)
    assert axis.ticks["0"] == axis.none
    # A point is as long anywhere, and the ends are where they belong.
    point = axis.ticks["+2"] / 2 - axis.ticks["0"] / 2
    assert row.interval[0] - axis.none == pytest.approx(2.1 * point, abs=0.05)


def test_of_ratios_less_is_to_the_right_and_half_is_as_far_as_double() -> None:
    slower = answer("worse", SPEED)
    faster = answer("better", SPEED, effect=1 / 1.16, low=1 / 1.2, high=1 / 1.12)
    (axis,) = axes_of(slower, faster)
    to_left, to_right = axis.rows
    assert to_left.effect
    assert to_right.effect
    assert to_left.effect < axis.none < to_right.effect
    assert axis.none - to_left.effect == pytest.approx(to_right.effect - axis.none, abs=0.02)
    assert axis.ticks["1"] == axis.none
    assert len(axis.ticks) <= 7


@pytest.mark.parametrize("effect", [1e-30, 1e-12, 1e6, 1e200])
def test_a_ratio_of_any_size_has_ticks_that_can_be_read(effect: float) -> None:
    low, high = sorted((effect / 100, effect * 100))
    (axis,) = axes_of(answer("worse", SPEED, effect=effect, low=low, high=high))
    assert 2 <= len(axis.ticks) <= 8
    assert axis.ticks["1"] == axis.none
    assert all(0 <= place <= 100 for place in axis.ticks.values())


def test_differences_and_ratios_have_an_axis_each_in_the_order_of_the_questions() -> None:
    mc = Question(variant="bn", reference="bn", metric="mc_gain")
    given = [answer("worse", SPEED), answer(), answer("equal", CONVERGENCE), answer(question=mc)]
    differences, ratios = axes_of(*given)
    assert [row.details["Metric"] for row in differences.rows] == ["test_accuracy", "mc_gain"]
    assert [row.details["Metric"] for row in ratios.rows] == [SPEED, CONVERGENCE]
    assert "points" in differences.unit
    assert "logarithmic" in ratios.unit


@pytest.mark.parametrize("verdict", ["better", "worse", "equal", "undecided", None])
def test_a_verdict_is_a_word_and_a_sign_of_its_own(verdict: str | None) -> None:
    row = row_of(answer(verdict))
    assert row.verdict == (verdict or "described").capitalize()
    assert list(forest.SIGNS.values()).count(row.sign) == 1


@pytest.mark.parametrize(
    ("low", "high", "endless"),
    [
        (1.4, math.inf, (True, False)),
        (0.0, 0.7, (False, True)),
        (0.0, math.inf, (True, True)),
        (0.5, 0.7, (False, False)),
    ],
)
def test_an_interval_without_an_end_goes_on_beyond_the_axis(
    low: float, high: float, endless: tuple[bool, bool]
) -> None:
    row = row_of(answer("undecided", CONVERGENCE, effect=1.0, low=low, high=high))
    assert row.endless == endless
    assert row.interval
    assert [end in (0, 100) for end in row.interval] == list(endless)


@pytest.mark.parametrize("effect", [0.0, math.inf])
def test_an_effect_beyond_every_axis_has_no_dot(effect: float) -> None:
    assert row_of(answer("undecided", CONVERGENCE, effect=effect, low=0.0)).effect is None


def test_an_answer_without_an_interval_has_a_row_and_no_place() -> None:
    nothing = {"effect": math.nan, "low": math.nan, "high": math.nan}
    row = row_of(answer("undecided", **nothing, reason="fewer than 3 seeds"))
    assert (row.interval, row.effect) == (None, None)
    assert "fewer than 3 seeds" in row.said.evidence


def whole() -> Evidence:
    return evidence_of(five_variants([1, 2, 3]))


def test_every_question_has_its_row_with_all_that_the_table_tells() -> None:
    evidence = whole()
    rows = [row for axis in forest.axes(evidence) for row in axis.rows]
    header, *expected = tables.answers_table(evidence)
    assert sorted(list(row.details.values()) for row in rows) == sorted(expected)
    assert all(list(row.details) == header for row in rows)
    assert {row.said.question for row in rows} == {one.text for one in evidence.questions}


def test_no_place_is_outside_and_what_was_not_asked_has_no_axis() -> None:
    for axis in forest.axes(whole()):
        for row in axis.rows:
            assert all(0 <= place <= 100 for place in (*row.margin, *(row.interval or ())))
    assert forest.axes(evidence_of([make_run(COMPARED_VARIANTS[0], 1)])) == []


def test_of_a_gap_less_is_to_the_right_on_an_axis_of_its_own() -> None:
    gap = {"metric": "generalization_gap", "effect": -0.02, "low": -0.03, "high": -0.01}
    accuracy, gaps = axes_of(answer(**gap), answer())
    (row,) = gaps.rows
    assert row.interval
    assert row.effect
    assert gaps.none < row.interval[0] < row.effect < row.interval[1]
    assert row.effect == pytest.approx(gaps.ticks["-2"], abs=0.02)
    assert "between training and test accuracy" in gaps.unit
    assert [one.details["Metric"] for one in accuracy.rows] == ["test_accuracy"]
