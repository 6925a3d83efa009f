"""What is commonly said beside what was measured: whether it holds, in a table, without a gap."""

import pytest
from compared_runs import answer

from pipeline.answers import claims
from pipeline.answers.claims import Claim, Claims
from pipeline.comparisons import Question

SAID = "Batch normalisation | is better."


def claim(verdict: str | None = "better", claimed: str = "better", **changes) -> Claim:
    asked = Question(
        variant="bn",
        reference="elu",
        metric="test_accuracy",
        text="Is `bn` better?",
        claimed=claimed,  # type: ignore[arg-type]
        claim=SAID,
    )
    found = answer(verdict, question=asked, **changes) if verdict is not None else None
    return Claim(question=asked, answer=found, minutes=2.4)


def of(*found: Claim, name: str = "bn") -> Claims:
    return Claims(name=name, title="Is it?", command=f"mlflow run . -P x={name}", claims=found)


@pytest.mark.parametrize(
    ("verdict", "claimed", "said"),
    [
        ("better", "better", "holds"),
        ("worse", "better", "does not hold"),
        ("equal", "equal", "holds"),
        ("equal", "worse", "does not hold"),
        ("undecided", "worse", "not decided"),
        ("", "worse", "not decided"),  # described
        (None, "worse", "not decided"),
    ],
)
def test_a_claim_holds_where_the_verdict_is_what_it_says(verdict, claimed, said) -> None:
    assert claim(verdict, claimed).holds == said


def test_the_table_has_every_answer_and_below_what_is_missing_with_its_command() -> None:
    found = [of(claim(), claim("worse")), of(claim(None), claim(None), name="other")]
    header, _, first, second, *rest = claims.table(found).split("\n")
    assert header == "| Question | Answer | Commonly said | Holds | Minutes |"
    effect = "+3.98 points (97.9% interval 2.10 to 5.86)"
    said = SAID.replace("|", "\\|")
    assert first == f"| Is \\`bn\\` better? | better, {effect} | {said} | holds | 2 |"
    assert "| does not hold |" in second
    assert rest[-1] == "- 2 questions of `other`: `mlflow run . -P x=other`"
    assert claims.in_short(found) == "Of 4 claims: holds 1, does not hold 1, not decided 2."


def test_nothing_is_a_table_of_nothing() -> None:
    assert claims.table([]) == ""
    assert claims.table([of(claim(None))]).startswith("\nNot measured yet:")
