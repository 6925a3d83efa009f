"""What is said to have changed since the comparison before."""

import dataclasses
from typing import Any

import pandas as pd
from compared_runs import accuracies, answer, evidence_of

from pipeline.answers.changes import BEYOND, WITHIN, Change, changes
from pipeline.answers.evidence import Before, Evidence

ENDED = 1_795_870_000_000  # 2026-11-28 12:46:40 UTC


def now(**changed: Any) -> Evidence:
    return evidence_of(accuracies(elu=[0.5, 0.51, 0.49], bn=[0.55, 0.56, 0.54]), **changed)


def before(evidence: Evidence, **changed: Any) -> Before:
    """What a comparison of the same runs, or one that was changed in something, left."""
    left = Before(
        run_id="before",
        ended=ENDED,
        runs=evidence.runs,
        summary=evidence.summary,
        answers=evidence.answers,
        champion="version 1 (`bn`)",
    )
    return dataclasses.replace(left, **changed)


def since(evidence: Evidence, **changed: Any) -> str:
    """The sentence where the comparison before was another one."""
    evidence.before = before(evidence, **changed)
    sentence = changes(evidence).sentence
    return sentence.replace("the comparison of 2026-11-28 12:46 UTC", "then")


def test_the_first_comparison_says_so() -> None:
    found = changes(now())
    assert found.sentence == "This is the first comparison of its name on this data."
    assert found.rows == ()


def test_nothing_is_said_where_nothing_has_changed() -> None:
    evidence = now(champion="version 1 (`bn`)")
    assert since(evidence) == "Nothing has changed since then."
    assert changes(evidence).rows == []


def test_verdicts_that_turned_are_named_with_what_they_were() -> None:
    evidence = now()
    asked = evidence.answers[0].question
    was = answer("undecided", question=asked, effect=0.04, low=-0.01, high=0.09)
    assert since(evidence, answers=[was, *evidence.answers[1:]]) == (
        "What changed since then. Verdicts: bn over elu, test accuracy from undecided to better."
    )
    assert changes(evidence).rows == [
        Change(
            "bn over elu, test accuracy", "undecided, +4.00 points", "better, +5.00 points", WITHIN
        )
    ]


def test_effects_and_accuracies_that_left_their_intervals_are_named() -> None:
    evidence = now()
    asked = evidence.answers[0].question
    was = answer("better", question=asked, effect=0.03, low=0.02, high=0.04)
    summary = evidence.summary.assign(test_accuracy=[0.495, 0.52], test_accuracy_half_width=0.01)
    assert since(evidence, answers=[was, *evidence.answers[1:]], summary=summary) == (
        "What changed since then. Beyond the interval before: bn over elu, test accuracy; bn, test "
        "accuracy."
    )
    assert [(one.what, one.how) for one in changes(evidence).rows] == [
        ("bn over elu, test accuracy", BEYOND),
        ("elu, test accuracy", WITHIN),
        ("bn, test accuracy", BEYOND),
    ]


def test_what_moved_within_its_interval_is_in_the_table_alone() -> None:
    evidence = now()
    summary = evidence.summary.assign(test_accuracy=[0.495, 0.55])
    said = "Since then, figures have moved within their intervals."
    assert since(evidence, summary=summary) == said
    (row,) = changes(evidence).rows
    assert (row.what, row.before[:4], row.now[:4]) == ("elu, test accuracy", "49.5", "50.0")


def test_seeds_that_came_went_or_were_trained_anew_are_counted_by_variant() -> None:
    evidence = now()
    runs = evidence.runs[["run_id", "variant", "seed"]]
    fewer = runs[runs["seed"] == 1]
    assert since(evidence, runs=fewer).endswith(" then. Added: seeds 2 and 3 of elu and bn.")
    more = pd.concat([runs, pd.DataFrame([{"run_id": "x", "variant": "bn", "seed": 7}])])
    assert since(evidence, runs=more).endswith(" then. No longer compared: seed 7 of bn.")
    other = runs.assign(run_id=runs["run_id"].replace("elu-2", "another"))
    assert since(evidence, runs=other).endswith(" then. Trained anew: seed 2 of elu.")


def test_variants_and_questions_that_came_or_went_are_named() -> None:
    evidence = now()
    of_elu = [frame[frame["variant"] == "elu"] for frame in (evidence.runs, evidence.summary)]
    said = since(evidence, runs=of_elu[0], summary=of_elu[1], answers=[])
    assert said.endswith(" then. New variants: bn.")
    new = {one.what: one.how for one in changes(evidence).rows}
    assert new["bn, test accuracy"] == "new"
    assert new["bn over elu, test accuracy"] == "a new question"
    gone = evidence_of(accuracies(elu=[0.5, 0.51, 0.49]))
    gone.before = before(evidence)
    assert "Variants no longer compared: bn." in changes(gone).sentence
    assert {one.how for one in changes(gone).rows} == {"no longer asked", "no longer compared"}


def test_another_margin_is_told() -> None:
    evidence = now()
    first = evidence.answers[0]
    other = dataclasses.replace(first.question, margin=0.09)
    was = dataclasses.replace(first, question=other, verdict=None)
    since(evidence, answers=[was, *evidence.answers[1:]])
    assert changes(evidence).rows[0].how == "the margin was 9 points"


def test_another_champion_is_named_where_both_are_known() -> None:
    evidence = now(champion="version 2 (`selu`)")
    said = "Champion: version 2 (`selu`), before version 1 (`bn`)."
    assert since(evidence).endswith(f" then. {said}")
    assert since(evidence, champion="") == "Nothing has changed since then."
