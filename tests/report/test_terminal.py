"""The last screen of a comparison in a terminal: how much there is on it, and how wide it is."""

import json
import re

import pytest
from compared_runs import accuracies, evidence_of, five_variants, make_run

from pipeline.answers.fairness import Fact
from pipeline.answers.run_records import LeftOut
from pipeline.comparisons import Question
from pipeline.report import terminal

MOST_LINES = 28  # so that there are 30 after the last training
ENDING = "Report: file:///store/report.html"


def shown(found, columns=80, refused=""):
    champion = "Champion by validation: bn, as before."
    brief = terminal.brief(found, champion, refused)
    return terminal.screen(brief.encode(), ENDING, columns).splitlines()


def five():
    rows = five_variants([1, 2, 3])
    times = ({"train_seconds": 12 + one["seed"] / len(one["variant"])} for one in rows)
    return evidence_of([one | time for one, time in zip(rows, times, strict=True)])


def test_an_empty_line_goes_before_a_question_does():
    lines, fuller = shown(five()), shown(five(), refused="word " * 60)
    assert "" in lines
    assert "" not in fuller
    assert len(fuller) == MOST_LINES
    questions = [
        line for line in lines if re.search(r" (accuracy|epochs|s/epoch|training)  ", line)
    ]
    assert [line for line in fuller if line in questions] == questions


def test_verdict_results_answers_and_address_are_on_one_screen_of_80_columns():
    lines = shown(five())
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("Better model: one_cycle (than alpha_dropout, +2.33 points); ")
    assert "Variant        Seeds  Test accuracy  s/epoch  s/training  Epochs to target" in lines
    header = lines.index(next(line for line in lines if line.startswith("Compared ")))
    answers = lines[header + 1 : -4]
    assert len(answers) == 11  # one line per question
    assert answers[0].split()[:6] == ["bn", "over", "elu", "accuracy", "better", "+1.61"]
    assert answers[7].startswith("alpha_dropout, MC Dropout     accuracy  ")
    note = "95% interval of a mean. Intervals: 98.5% to 99.8%. Equal: within 1 point."
    assert lines[-4] == f"\N{PLUS-MINUS SIGN}: {note}"
    assert lines[-3] == "Seeds of each to decide: bn over elu, epochs: 6; and 4 more"
    trained = "15 trainings on mnist_5k, about 3 min. "
    assert lines[-2:] == [f"{trained}Champion by validation: bn, as before.", ENDING]
    assert "".join(lines).count("interval of") == 1


def test_a_wide_terminal_has_more_columns_and_no_line_is_wider():
    found = evidence_of(five_variants([1, 2, 3]))
    lines = shown(found, 160)
    header = next(line for line in lines if line.startswith("Variant "))
    assert header.endswith("Learning rate  Best epoch")
    assert any(line.endswith("Role       Runs") for line in lines)
    for columns in (60, 80, 100, 120, 160):
        assert max(map(len, shown(found, columns))) <= columns


@pytest.fixture
def many():
    """Twelve variants with long names, and a question of every metric about each."""
    names = [f"a_variant_with_quite_a_long_name_of_its_own_{place:02}" for place in range(12)]
    rows = [
        make_run(name, seed, test_accuracy=accuracy, best_val_accuracy=accuracy)
        for place, name in enumerate(names)
        for seed in (1, 2, 3)
        for accuracy in [0.4 + 0.02 * place + 0.001 * seed]
    ]
    questions = [
        Question(variant=name, reference=names[0], metric=metric)
        for metric in ("epochs_to_target", "median_epoch_seconds", "train_seconds", "test_accuracy")
        for name in names[1:]
    ]
    return evidence_of(rows, questions=questions, baseline=names[0], facts=[])


def test_of_more_questions_than_fit_the_primary_ones_are_shown_and_the_others_counted(many):
    lines = shown(many)
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= 80
    assert "and 4 more, in the report" in lines  # variants, those of the lowest accuracy
    shown_of = [place for place in range(12) if f"_own_{place:02}  " in "".join(lines)]
    assert shown_of == list(range(4, 12))
    header = lines.index(next(line for line in lines if line.startswith("Compared ")))
    counted = next(line for line in lines[header:] if line.endswith("more, in the report"))
    asked = [line for line in lines[header + 1 : lines.index(counted)] if "+" in line]
    assert asked
    assert all("accuracy" in line for line in asked)
    assert counted == f"and {len(many.answers) - len(asked)} more, in the report"


def test_of_very_many_variants_some_are_shown_and_the_others_counted():
    rows = [make_run(f"v{place}", seed) for place in range(40) for seed in (1, 2, 3)]
    lines = shown(evidence_of(rows, questions=[], baseline="v0"))
    assert len(lines) <= MOST_LINES
    assert "and 32 more, in the report" in lines


def test_what_a_reader_should_think_of_has_a_line_each():
    gone = [
        LeftOut(run_id="1", name=f"train bn seed {seed}", reason="diverged " * 6, replaced=False)
        for seed in (3, 4)
    ]
    rows = accuracies(elu=[0.5, 0.51], bn=[0.5, 0.52])
    differs = Fact("Host", "differs", "a: elu; b: bn")
    found = evidence_of(rows, left_out=gone, facts=[differs])
    lines = shown(found, refused="The models are not all registered: " + "why " * 40)
    assert any(line.startswith("Not compared: train bn seed 3: diverged ") for line in lines)
    assert any(line.endswith(" ...; and 1 more") for line in lines)
    assert any(line.startswith("No interval: fewer than 3 seeds; ") for line in lines)
    assert "Not all alike: host (differs)" in lines
    assert "The models are not all registered: why why " in "\n".join(lines)
    assert " ".join(lines).count("why") == 40  # for what there is to do


def test_a_winner_that_validation_denies_is_said_to_be_none():
    values = {1: 0.1, 2: 0.11, 3: 0.12}
    rows = [
        make_run(name, seed, test_accuracy=0.4 + better + value, best_val_accuracy=0.5 - better)
        for name, better in (("elu", 0), ("bn", 0.1))
        for seed, value in values.items()
    ]
    (line,) = (one for one in shown(evidence_of(rows), 160) if "Validation says" in one)
    assert line.startswith("Validation says otherwise: bn is better than elu on the test images")


def test_what_a_terminal_would_obey_is_not_printed():
    brief = json.loads(terminal.brief(evidence_of([make_run("elu", 1)]), "", ""))
    brief["trained"] = "\x1b[2J[bold]of[/bold] :bug:"
    lines = terminal.screen(json.dumps(brief).encode(), ENDING, 80).splitlines()
    assert lines[-2:] == ["\\x1b[2J[bold]of[/bold] :bug:", ENDING]
    assert "nan" not in "".join(lines)
