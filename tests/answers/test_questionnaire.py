"""All questions with their answers: whether what is said holds, in tables, without a gap."""

import dataclasses

import pytest
from compared_runs import answer

from pipeline.answers import questionnaire
from pipeline.answers.questionnaire import Entry, Section
from pipeline.answers.sentences import Row
from pipeline.comparisons import Question

SAID = "Batch normalisation | is better."


def entry(verdict: str | None = "better", claimed: str = "better", **changes) -> Entry:
    asked = Question(
        variant="bn",
        reference="elu",
        metric="test_accuracy",
        text="Is `bn` better?",
        claimed=claimed,  # type: ignore[arg-type]
        claim=SAID if claimed else "",
    )
    found = answer(verdict, question=asked, **changes) if verdict is not None else None
    return Entry(question=asked, answer=found, minutes=2.4)


def section(*found: Entry, name: str = "bn", **facts) -> Section:
    command = f"mlflow run . -P x={name}"
    return Section(name=name, title="Is `bn` <2?", command=command, entries=found, **facts)


@pytest.mark.parametrize(
    ("verdict", "claimed", "said"),
    [
        ("better", "better", "holds"),
        ("worse", "better", "does not hold"),
        ("equal", "equal", "holds"),
        ("equal", "worse", "does not hold"),
        ("undecided", "worse", "not decided"),
        ("", "worse", "not decided"),  # described
        (None, "worse", "not measured"),
        ("better", "", ""),  # nothing is said
    ],
)
def test_a_claim_holds_where_the_verdict_is_what_it_says(verdict, claimed, said) -> None:
    assert entry(verdict, claimed).holds == said


@pytest.mark.parametrize(
    ("minutes", "took"), [(None, ""), (0.4, "less than 1"), (1.0, "1"), (2.4, "2")]
)
def test_minutes_are_whole_ones(minutes: float | None, took: str) -> None:
    assert Entry(question=entry().question, minutes=minutes).took == took


def test_an_answer_of_no_runs_says_why_and_rests_on_nothing() -> None:
    reason, nan = "no run of bn has logged it", float("nan")
    of_none = entry("undecided", effect=nan, low=nan, high=nan, reason=reason, sizes=(0, 0))
    of_none = dataclasses.replace(of_none, rows={"bn": Row({}), "elu": Row({})})
    assert (of_none.said, of_none.evidence, of_none.seeds) == (f"undecided, {reason}", "", "")
    assert entry("").said == f"described, not tested, {EFFECT}"
    assert (entry().seeds, entry(sizes=(3, 2)).seeds) == ("3", "3 and 2")


@pytest.mark.parametrize(
    ("answered", "said"),
    [
        (entry("equal"), "equal within 1 point, +3.98 points"),
        (entry("better", low=0.009), "better, perhaps by too little, +3.98 points"),
        (entry("worse", high=-0.002), "worse, perhaps by too little, +3.98 points"),
        (entry("better", low=0.01), "better, +3.98 points"),
    ],
)
def test_an_answer_says_what_its_verdict_leaves_open(answered: Entry, said: str) -> None:
    assert answered.said.startswith(f"{said} (")


def test_a_section_says_where_its_answers_come_from_as_far_as_that_is_known() -> None:
    of = section(made="2026-11-29", dataset="mnist_5k", minutes=90.0, commit=4 * "01234")
    assert of.about == ["2026-11-29", "mnist_5k", "1.5 h of training", "commit 0123401234"]
    assert section().about == []


EFFECT = "+3.98 points (97.9% interval 2.10 to 5.86)"


def test_a_part_has_every_answer_to_unfold_and_below_what_is_missing_with_its_command() -> None:
    found = [
        section(entry(), entry("worse"), entry(None), made="2026-11-29", hardware="a <6502>"),
        section(entry(None), entry(None), name="other"),
    ]
    said = SAID.replace("|", "\\|")
    parts = questionnaire.parts_of_page(found)
    assert parts["bn"].split("\n") == [
        "<details>",
        "<summary><b>Is <code>bn</code> &lt;2?</b> 3 questions; 1 of them not measured yet; "
        "of 2 common claims 1 holds, 1 does not and 0 not decided</summary>",
        "",
        "| Question | Answer | Commonly said | Holds | Minutes |",
        "| --- | --- | --- | --- | ---: |",
        f"| Is \\`bn\\` better? | better, {EFFECT} | {said} | holds | 2 |",
        f"| Is \\`bn\\` better? | worse, {EFFECT} | {said} | does not hold | 2 |",
        "",
        "Measured 2026-11-29; a &lt;6502&gt;: `mlflow run . -P x=bn`",
        "</details>",
        "",
        "Not measured yet: 1 question of `bn`: `mlflow run . -P x=bn`",
    ]
    assert parts["other"] == "Not measured yet: 2 questions of `other`: `mlflow run . -P x=other`"
    assert questionnaire.page(found).endswith(
        "\n\nNot measured yet:\n\n- 1 question of `bn`: `mlflow run . -P x=bn`\n"
        "- 2 questions of `other`: `mlflow run . -P x=other`\n"
    )


def test_where_nothing_is_commonly_said_no_column_is_for_it() -> None:
    found = [section(entry("better", ""))]
    assert "| Question | Answer | Minutes |\n| --- | --- | ---: |" in questionnaire.page(found)
    assert "Not measured" not in questionnaire.parts_of_page(found)["bn"]
    assert questionnaire.in_short(found) == "1 question."
    both = [section(entry("better", ""), entry())]
    assert f"| better, {EFFECT} | \N{EN DASH} | \N{EN DASH} | 2 |" in questionnaire.page(both)


def test_nothing_has_no_parts() -> None:
    assert questionnaire.parts_of_page([]) == {}
