"""Which variants get another seed, and how many there will be."""

from typing import Any

from pipeline.answers.rounds import at_most, expected, filled, next_round
from pipeline.answers.verdicts import Answer, Verdict
from pipeline.comparisons import Question


def answer(
    variant: str,
    reference: str,
    metric: str = "test_accuracy",
    role: Any = "primary",
    **changes: Any,
) -> Answer:
    known = {
        "question": Question(variant=variant, reference=reference, metric=metric, role=role),
        "verdict": Verdict.UNDECIDED,
        "effect": 0.003,
        "low": -0.011,
        "high": 0.017,
        "confidence": 0.98,
        "sizes": (3, 3),
        "seeds": 9,
    }
    return Answer(**{**known, **changes})


def test_every_variant_has_three_seeds_first_whatever_is_undecided() -> None:
    found = [answer("bn", "elu")]
    assert next_round(found, {"elu": 3, "bn": 1, "selu": 0}, 12) == {"bn": 2, "selu": 3}


def test_no_variant_gets_more_than_the_most_in_the_first_round_either() -> None:
    assert next_round([], {"elu": 0, "bn": 1}, 2) == {"elu": 2, "bn": 1}


def test_of_a_question_the_variant_with_fewer_seeds_gets_one_or_both() -> None:
    found = [answer("bn", "elu")]
    assert next_round(found, {"elu": 8, "bn": 3}, 12) == {"bn": 1}
    assert next_round(found, {"elu": 3, "bn": 3}, 12) == {"bn": 1, "elu": 1}


def test_then_those_of_undecided_primary_questions_get_one_up_to_the_limit() -> None:
    found = [
        answer("bn", "elu", verdict=Verdict.BETTER),
        answer("selu", "elu"),
        answer("swish", "bn", role="secondary"),
        answer("tanh", "selu"),
    ]
    seeds = {"elu": 12, "bn": 3, "selu": 4, "swish": 3, "tanh": 3}
    assert next_round(found, seeds, 12) == {"selu": 1, "tanh": 1}
    assert next_round(found[:1], seeds, 12) == {}


def test_a_question_of_which_one_variant_gets_no_more_and_has_too_few_takes_no_seeds() -> None:
    assert next_round([answer("bn", "elu", sizes=(2, 3))], {"elu": 3}, 12) == {}
    assert next_round([answer("bn", "elu", sizes=(3, 3))], {"elu": 3}, 12) == {"elu": 1}


def test_expected_are_as_many_as_the_questions_forecast_or_as_there_may_be() -> None:
    found = [answer("bn", "elu", seeds=5), answer("selu", "elu", seeds=40)]
    seeds = {"elu": 4, "bn": 3, "selu": 3}
    assert expected(found, seeds, 12) == {"bn": 2, "elu": 8, "selu": 9}
    assert expected([answer("bn", "elu", seeds=None)], seeds, 12) == {"bn": 9, "elu": 8}
    assert expected([answer("bn", "elu", seeds=4)], seeds, 12) == {"bn": 1, "elu": 1}


def test_workers_that_would_be_idle_are_given_what_is_expected_to_be_needed() -> None:
    added, more = {"elu": 1, "bn": 1}, {"elu": 4, "bn": 2}
    assert filled(added, more, 2) == filled(added, more, 3) == added
    assert filled(added, more, 5) == {"elu": 3, "bn": 2}
    assert filled(added, more, 100) == more


def test_at_most_there_are_as_many_as_all_primary_questions_may_take() -> None:
    found = [answer("bn", "elu", verdict=Verdict.EQUAL), answer("a", "b", role="secondary")]
    seeds = {"elu": 4, "bn": 3, "a": 3, "b": 3}
    assert at_most(found, seeds, 12) == 8 + 9
    assert at_most([], seeds, 12) == 8 + 9 + 9 + 9
