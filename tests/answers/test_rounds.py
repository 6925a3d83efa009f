"""Which variants get another seed, how many there will be, and what is said of them."""

import math
from typing import Any

import pytest

from pipeline.answers.rounds import (
    at_most,
    ending,
    expected,
    filled,
    next_round,
    seeds_added,
    still_undecided,
)
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


def timed(variant: str, reference: str, pairs: int, **changes: Any) -> Answer:
    known = {"sizes": (pairs, pairs), "seeds": None, **changes}
    return answer(variant, reference, "median_epoch_seconds", **known)


def test_of_a_question_about_times_both_get_one_until_there_are_pairs_enough() -> None:
    """Runs of a variant that another comparison has used are of another hour: in no pair."""
    found = [timed("bn", "elu", 0)]
    for of_elu in (12, 24, 36):
        assert next_round(found, {"elu": of_elu, "bn": 3}, 12) == {"bn": 1, "elu": 1}
        assert expected(found, {"elu": of_elu, "bn": 3}, 12) == {"bn": 12, "elu": 12}
    assert expected([timed("bn", "elu", 9, seeds=10)], {"elu": 21, "bn": 12}, 12) == {
        "bn": 1,
        "elu": 1,
    }
    assert next_round([timed("bn", "elu", 12, seeds=20)], {"elu": 24, "bn": 15}, 12) == {}


def test_pairs_that_are_disturbed_again_and_again_come_to_an_end() -> None:
    found, seeds = [timed("bn", "elu", 0)], {"elu": 12, "bn": 3}
    least = at_most([one.question for one in found], seeds, 12)
    trained = 0
    while added := next_round(found, seeds, 12):
        seeds = {name: count + added.get(name, 0) for name, count in seeds.items()}
        trained += sum(added.values())
    assert trained == least == 42


def test_times_of_a_variant_that_gets_no_more_take_no_seeds_of_the_other() -> None:
    assert next_round([timed("bn", "elu", 5)], {"elu": 5}, 12) == {}


def test_a_question_with_pairs_enough_takes_no_seeds_of_another_that_has_not() -> None:
    found = [timed("bn", "elu", 12), answer("selu", "elu")]
    assert next_round(found, {"elu": 5, "bn": 24, "selu": 3}, 12) == {"selu": 1}


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
    asked = [one.question for one in found]
    assert at_most(asked, seeds, 12) == 8 + 9
    none = dict.fromkeys(seeds, 0)  # those that nothing primary is about get three
    assert at_most(asked, none, 12) == 12 + 12 + 3 + 3


# What is said

UNDECIDED = answer("selu", "elu")
WHY = (
    "`selu` against `elu` is undecided, +0.30 points (-1.10 to 1.70): "
    "about 9 seeds of each in all would probably decide it"
)


def test_which_seeds_which_variants_get_and_why() -> None:
    assert seeds_added({"elu": [4], "selu": [4]}, [UNDECIDED]) == (
        f"seed 4 of elu and selu, since {WHY}"
    )
    first = {"elu": [1, 2, 3], "bn": [1, 2, 3], "selu": [1, 2], "tanh": [2, 4, 5]}
    assert seeds_added(first, []) == (
        "seeds 1 to 3 of elu and bn; seeds 1 and 2 of selu; seeds 2, 4 and 5 of tanh, since no "
        "verdict is given on fewer than 3 seeds"
    )


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (UNDECIDED, WHY),
        (answer("bn", "elu", seeds=None), "not even 100 seeds of each would probably decide it"),
        (
            answer("bn", "elu", low=math.nan, high=math.nan, seeds=None, reason="no two alike"),
            "`bn` against `elu` is undecided (no two alike)",
        ),
        (
            answer("bn", "elu", "epochs_to_target", effect=0.8, low=0.5, high=1.2),
            "`bn` against `elu` in epochs_to_target is undecided, 0.80 times as many epochs (0.50",
        ),
        (answer("bn", "bn", "mc_gain"), "`bn` in mc_gain is undecided, +0.30 points"),
    ],
)
def test_an_undecided_question_has_its_effect_and_what_would_decide_it(
    found: Answer, said: str
) -> None:
    assert said in still_undecided([found])


def test_of_many_undecided_questions_some_are_named() -> None:
    said = still_undecided([answer(f"v{place}", "elu") for place in range(8)])
    assert "`v1`" in said
    assert "`v2`" not in said
    assert said.endswith("; and 6 more")


def test_the_end_has_its_reason_and_what_it_leaves_undecided() -> None:
    decided = answer("bn", "elu", verdict=Verdict.EQUAL)
    assert ending([decided], [], "no time") == "every primary question is decided"
    assert ending([decided, UNDECIDED], [], "no time") == f"no time; {WHY}"
    assert ending([decided, UNDECIDED], [], "no time", briefly=True) == (
        "no time; 1 primary question undecided"
    )
    assert ending([decided], [], "no time", briefly=True) == "every primary question is decided"
    assert ending([UNDECIDED], ["bn"], "no time") == f"a training of bn failed; {WHY}"
    assert ending([decided], ["tanh", "bn"], "no time") == (
        "a training of tanh and bn failed; what else is asked is decided"
    )
