"""Questions: how they are asked, what they need to be answered, and what of them is refused."""

import math
from typing import Any

import pytest

from pipeline.base import InputError
from pipeline.comparisons import Question
from pipeline.comparisons.questions import METRICS, ask
from pipeline.comparisons.twenty_layers import COMPARISON


def a_question(**changes: Any) -> Question:
    reference = "bn" if changes.get("metric") == "mc_gain" else "elu"
    usual = {"variant": "bn", "reference": reference, "metric": "test_accuracy"}
    return Question(**{**usual, **changes})


@pytest.mark.parametrize("metric", METRICS)
def test_a_question_asks_in_words_with_the_role_and_margin_of_its_metric(metric: str) -> None:
    question = a_question(metric=metric)
    assert "`bn`" in question.text
    assert question.role == ("primary" if metric == "test_accuracy" else "secondary")
    assert question.margin == METRICS[metric].margin > 0
    assert a_question(metric=metric, text="Well?").text == "Well?"


def test_margin_and_role_can_be_given_and_nothing_is_a_margin_too() -> None:
    question = a_question(margin=0, role="described")
    assert (question.margin, question.role) == (0, "described")


def test_margin_of_a_ratio_is_its_distance_from_one() -> None:
    assert a_question(metric="train_seconds", margin=0.25).smallest == pytest.approx(math.log(1.25))
    assert a_question(margin=0.02).smallest == 0.02


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": -0.01}, "margin of a question about 'bn': expected a number of at least 0"),
        ({"margin": math.nan}, "margin"),
        ({"margin": math.inf}, "margin"),
        ({"margin": "1"}, "margin"),
        ({"metric": "test_acuracy"}, "metric of a question about 'bn': .*'test_accuracy'"),
        ({"metric": "best_val_accuracy"}, "metric of a question about 'bn': expected one of"),
        ({"metric": ["test_accuracy", "mc_gain"]}, "metric of a question about 'bn'"),
        ({"role": "main"}, "role of a question about 'bn': expected one of primary, secondary"),
        ({"reference": "bn"}, "reference of a question about 'bn': .* another variant"),
        ({"metric": "mc_gain", "reference": "elu"}, "the variant itself for mc_gain"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        a_question(**changes)


def test_twenty_layers_asks_four_primary_questions_about_quality_alone() -> None:
    primary = [one for one in COMPARISON.asked if one.role == "primary"]
    assert [(one.variant, one.reference) for one in primary] == [
        ("bn", "elu"),
        ("selu", "elu"),
        ("alpha_dropout", "selu"),
        ("one_cycle", "alpha_dropout"),
    ]
    assert {one.metric for one in primary} == {"test_accuracy"}


def test_questions_are_asked_in_rows_with_margins_by_metric() -> None:
    quality, speed = ask(
        ("a", "b", "test_accuracy", "Better?"),
        ("a", "b", "train_seconds", "Faster?"),
        margins={"test_accuracy": 0.002},
    )
    about: dict[str, Any] = {"variant": "a", "reference": "b"}
    assert quality == Question(**about, metric="test_accuracy", margin=0.002, text="Better?")
    assert speed == Question(**about, metric="train_seconds", text="Faster?")
    assert speed.margin == 0.1
