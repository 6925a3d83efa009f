"""Which variants get another seed."""

import pytest

from pipeline.answers.rounds import next_round, undecided
from pipeline.answers.verdicts import Answer, Verdict
from pipeline.comparisons import Question

SEEDS = {"elu": 3, "bn": 3, "selu": 3}


def answer(variant: str, verdict: Verdict, metric: str = "test_accuracy") -> Answer:
    return Answer(
        question=Question(variant=variant, reference="elu", metric=metric),
        verdict=verdict,
        effect=0.01,
        low=-0.01,
        high=0.03,
        confidence=0.99,
        sizes=(3, 3),
    )


def test_first_every_variant_gets_three_seeds_less_those_it_has() -> None:
    assert next_round([], {"elu": 0, "bn": 2, "selu": 5}, 12) == {"elu": 3, "bn": 1}


def test_no_more_than_the_most_even_in_the_first_round() -> None:
    assert next_round([], {"elu": 0, "bn": 1}, 2) == {"elu": 2, "bn": 1}


@pytest.mark.parametrize("decided", [Verdict.BETTER, Verdict.WORSE, Verdict.EQUAL])
def test_then_one_seed_for_the_variants_of_undecided_questions(decided: Verdict) -> None:
    answers = [answer("bn", decided), answer("selu", Verdict.UNDECIDED)]
    assert next_round(answers, SEEDS, 12) == {"selu": 1, "elu": 1}
    assert [one.question.variant for one in undecided(answers)] == ["selu"]


def test_a_secondary_question_calls_for_no_seed() -> None:
    open_question = answer("bn", Verdict.UNDECIDED, metric="epochs_to_target")
    assert next_round([open_question], SEEDS, 12) == {}


def test_a_variant_at_its_limit_gets_none_and_its_reference_goes_on() -> None:
    seeds = {**SEEDS, "bn": 12}
    assert next_round([answer("bn", Verdict.UNDECIDED)], seeds, 12) == {"elu": 1}


def test_a_variant_that_is_not_trained_gets_none() -> None:
    assert next_round([answer("bn", Verdict.UNDECIDED)], {"elu": 3}, 12) == {"elu": 1}
