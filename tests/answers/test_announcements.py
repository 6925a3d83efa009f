"""What is said of rounds of seeds."""

import math

import pytest
from test_next_round import answer

from pipeline.answers.announcements import ending, seeds_added, still_undecided
from pipeline.answers.verdicts import Answer, Verdict

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
