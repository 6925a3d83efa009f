"""A comparison in words: headlines that verdicts bear out, answers, and what they hold for."""

import math
import re

import numpy as np
import pytest
from compared_runs import accuracies, answer, evidence_of, five_variants, make_run

from pipeline.answers import tables, words
from pipeline.answers.fairness import Fact
from pipeline.answers.headlines import headlines
from pipeline.answers.run_records import LeftOut
from pipeline.comparisons import Question
from pipeline.comparisons.twenty_layers import COMPARISON

ELU, BN = [0.40, 0.41, 0.42], [0.501, 0.51, 0.519]
SPEED, CONVERGENCE = "median_epoch_seconds", "epochs_to_target"


def evidence_with(*answers, **validation):
    """The evidence of a run of each variant that has come to some answers."""
    asked = [name for one in answers for name in (one.question.reference, one.question.variant)]
    rows = [make_run(name, 1) for name in dict.fromkeys(asked)]
    for row in rows:
        row["best_val_accuracy"] = validation.get(row["variant"], 0.5)
    found = evidence_of(rows)
    found.answers = list(answers)
    found.headlines = headlines(found.answers, found.timed)
    return found


# Headlines


def test_the_best_is_named_with_its_lead():
    found = evidence_of(accuracies(elu=ELU, bn=BN))
    best, converges, trains = words.cards(found)
    assert best[:3] == ("Best model", {"bn": "than `elu`, +10.00 points"}, [])
    assert "Test accuracy 51.0% (3 seeds), in `elu` 41.0% (3 seeds)." in best.why["bn"]
    assert words.verdict(found) == (
        f"Best model: **bn** (than `elu`, +10.00 points). {converges.title}. {trains.title}."
    )


def test_where_not_all_are_compared_the_winners_are_named_with_whom_they_beat():
    found = evidence_of(accuracies(elu=ELU, bn=BN, selu=BN))
    title, winners, *_ = words.cards(found)[0]
    assert title == "Better model"
    assert winners == dict.fromkeys(("bn", "selu"), "than `elu`, +10.00 points")


def test_beside_the_best_no_other_winner_is_named():
    pairs = [("bn", "elu"), ("bn", "selu"), ("selu", "elu")]
    asked = [Question(variant=one, reference=other, metric=SPEED) for one, other in pairs]
    found = evidence_with(*(answer("better", SPEED, question=one, effect=0.8) for one in asked))
    (card,) = words.cards(found)
    than = "than `elu`, 0.80 times as long; than `selu`, 0.80 times as long"
    assert card[:3] == ("Shortest epochs", {"bn": than}, [])


def test_a_winner_over_several_is_named_once():
    selu = Question(variant="selu", reference="elu", metric=SPEED)
    found = evidence_with(answer("worse", SPEED), answer("worse", SPEED, question=selu))
    (card,) = words.cards(found)
    assert card.title == "Shortest epochs"
    assert card.winners == {"elu": "than `bn`, 0.86 times as long; than `selu`, 0.86 times as long"}


@pytest.mark.parametrize(
    ("metric", "fastest", "none"),
    [
        (CONVERGENCE, "Converges fastest", "None is shown to converge faster"),
        (SPEED, "Shortest epochs", "None is shown to have shorter epochs"),
        ("train_seconds", "Shortest training", "None is shown to train in less time"),
    ],
)
def test_times_have_headlines_of_their_own(metric, fastest, none):
    (card,) = words.cards(evidence_with(answer(metric=metric)))
    assert (card.title, list(card.winners)) == (fastest, ["bn"])
    (card,) = words.cards(evidence_with(answer("equal", metric)))
    assert (card.title, card.winners) == (f"{none} (1 equal)", {})


def test_nobody_is_named_without_a_verdict_but_what_would_decide_is():
    selu = Question(variant="selu", reference="elu", metric="test_accuracy")
    given = [answer("undecided", seeds=6, minutes=14.0), answer("equal", question=selu)]
    found = evidence_with(*given)
    (card,) = words.cards(found)
    assert card == words.Card(
        "No model is shown to be better (1 undecided, 1 equal)",
        {},
        [
            "Undecided: `bn` and `elu` (about 6 seeds of each in all would probably decide it, 14 "
            "more minutes of training).",
            "Equal: `selu` and `elu`.",
        ],
    )
    assert words.verdict(found) == f"{card.title}."


def test_why_a_question_is_not_tested_is_said_in_its_headline():
    why = {"low": math.nan, "high": math.nan, "reason": "fewer than 3 seeds"}
    (card,) = words.cards(evidence_with(answer("undecided", **why)))
    assert card.evidence == ["Undecided: `bn` and `elu` (fewer than 3 seeds)."]
    (card,) = words.cards(evidence_with(answer(None)))
    assert card.title == "No model is shown to be better (1 described, not tested)"


def test_a_winner_that_validation_denies_is_said_to_be_none():
    found = evidence_with(answer(), bn=0.4)
    (card,) = words.cards(found)
    assert card == words.Card(
        "No model is shown to be better (1 denied by validation)",
        {},
        [
            "`bn` is better than `elu` on the test images (+3.98 points), but not on the "
            "validation images, which choose."
        ],
    )
    assert "**bn**" not in words.verdict(found)


def test_where_no_metric_has_a_headline_the_answers_are_the_verdict():
    question = Question(variant="bn", reference="bn", metric="mc_gain")
    found = evidence_with(answer("equal", question=question))
    assert words.verdict(found) == (
        "**Does MC Dropout make `bn` more accurate?** "
        "Equal, +3.98 points (97.9% interval 2.10 to 5.86)."
    )
    nothing = evidence_of([make_run("elu", 1)])
    assert words.verdict(nothing) == "There is no question that these runs could answer."


# Answers


def test_every_question_is_answered_with_verdict_effect_and_evidence():
    found = evidence_of(five_variants([1, 2, 3, 4]))
    said = words.answers(found)
    assert [one.question for one in said] == [one.text for one in COMPARISON.asked]
    assert said[0].verdict == "Better"
    assert said[0].effect.endswith(")")
    assert said[0].evidence.startswith("Test accuracy ")
    assert said[0].in_short == f"**{said[0].question}** Better, {said[0].effect}."


def test_one_seed_is_never_given_a_verdict():
    for said in words.answers(evidence_of(five_variants([1]))):
        assert said.verdict == "Undecided"
        assert re.search(r"No interval: fewer than 3 (seeds|pairs of runs .*)\.$", said.evidence)
        assert "interval" not in said.effect
        assert "nan" not in "".join(said)


def test_no_answer_has_half_a_width_beside_its_verdict():
    found = evidence_of(five_variants([1, 2, 3]))
    assert not any("\u00b1" in text for said in words.answers(found) for text in said)


def test_a_described_question_has_figures_and_no_verdict():
    (said,) = words.answers(evidence_with(answer(None)))
    assert said.verdict == ""
    assert said.in_short.endswith("`elu`?** +3.98 points (97.9% interval 2.10 to 5.86).")


def test_questions_about_absent_variants_are_left_out():
    said = words.answers(evidence_of([make_run("elu", 1), make_run("selu", 1)]))
    assert len(said) == 3
    assert all("SELU" in one.question for one in said)


# What it holds for


@pytest.mark.parametrize(
    ("count", "seeds"),
    [
        (1, "the first seed of `elu`"),
        (2, "each of the first two seeds of `elu`"),
        (3, "each of the first three seeds of `elu`"),
        (4, "each of the first three seeds of `elu`"),
    ],
)
def test_target_is_named_by_the_seeds_that_set_it(count, seeds):
    found = evidence_of([make_run("elu", seed) for seed in range(count)])
    assert words.target(found) == f"the target, the validation loss that {seeds} reached, 1.5"
    assert words.target(found) in words.table_note(found)


def test_without_the_baseline_there_is_no_target():
    found = evidence_of([make_run("selu", 1)])
    assert words.target(found) == ""
    assert "target" not in words.table_note(found)


def correct(found, variants):
    """What runs have right: all of a variant the same images, other variants others."""
    generator = np.random.default_rng(0)
    of = {name: generator.random(200) < 0.5 for name in variants}
    runs = found.runs[found.runs["variant"].isin(variants)]
    return {one: of[name] for one, name in zip(runs["run_id"], runs["variant"], strict=True)}


@pytest.mark.parametrize(
    ("logged", "said"),
    [
        ([], "new seeds on these test images, not"),
        (["elu", "bn", "selu"], "new seeds and, in test accuracy, new test images, not"),
        (["elu", "bn"], "new seeds and, in test accuracy of bn over elu, new test images, not"),
    ],
)
def test_scope_says_where_the_intervals_cover_new_test_images(logged, said):
    rows = accuracies(elu=ELU, bn=BN, selu=ELU)
    found = evidence_of(rows, correct=correct(evidence_of(rows), logged))
    assert f"The intervals cover {said} another search" in words.scope(found)[0]


def test_scope_says_the_error_rates_and_what_chooses_once():
    text = words.markdown_report(evidence_of(accuracies(elu=ELU, bn=BN)))
    for said in ("share one error rate of 5%, however often", "Validation chooses, the test set"):
        assert text.count(said) == 1
    assert words.scope(evidence_of([make_run("elu", 1)])) == []


def test_flags_name_what_differs():
    found = evidence_of(
        [make_run("elu", 1)], facts=[Fact("Host", "differs"), Fact("Seeds", "same")]
    )
    assert words.flags(found) == ["host (differs)"]


def test_markdown_report_holds_the_tables_the_answers_and_the_capped_runs():
    rows = [make_run("elu", 1), make_run("elu", 2), make_run("bn", 1, capped=True)]
    gone = LeftOut(run_id="1", name="train bn seed 3", reason="diverged", replaced=False)
    found = evidence_of([*rows, make_run("bn", 2)], left_out=[gone])
    text = words.markdown_report(found)
    assert len(found.answers) == 3
    for said in words.answers(found):
        assert text.count(f"\n{said.in_short} {said.evidence}\n") == 1
    primary, secondary = text.index("\n## Primary questions\n"), text.index("\n## Secondary ")
    by_place = sorted(found.answers, key=lambda one: text.index(one.question.text))
    assert [one.question.role for one in by_place] == ["primary", "secondary", "secondary"]
    assert primary < text.index(by_place[0].question.text) < secondary
    assert "bn over elu" not in text  # the answers are said once
    results = text.partition("\n\n")[2].partition("\n\n")[0].splitlines()
    assert results == tables.markdown(tables.summary_table(found)).splitlines()
    assert {line.count("|") for line in results} == {10}
    assert "not stopped early: `bn` 1 of 2." in text
    assert text.endswith("## Not compared\n\n- train bn seed 3: diverged\n")
    assert "nan" not in text


def test_markdown_report_of_a_single_variant_has_no_answers():
    text = words.markdown_report(evidence_of([make_run("elu", 1)]))
    assert " questions\n" not in text
    assert "interval" not in text.partition("Student")[2]
