"""The answers in words and the tables."""

import pandas as pd
from compared_runs import (
    BN_CONVERGENCE,
    BN_QUALITY,
    BN_SPEED,
    compare,
    compare_accuracies,
    five_variants,
    make_curves,
    make_run,
)

from pipeline.answers import words
from pipeline.answers.statistics import QUESTIONS, paired_tests
from pipeline.answers.summary import summarize

# The answers


def test_a_clear_difference_is_answered_yes_with_the_figures():
    _, _, answers = compare_accuracies(
        {1: 0.400, 2: 0.410, 3: 0.420}, {1: 0.501, 2: 0.510, 3: 0.519}
    )
    assert answers[BN_QUALITY].startswith("Yes. Validation accuracy 51.0 \u00b1 2.2% (3 seeds)")
    assert "higher by 10.00 \u00b1 0.25 points (3 paired seeds" in answers[BN_QUALITY]
    assert "not distinguishable" not in answers[BN_QUALITY]


def test_a_clear_loss_is_answered_no():
    _, _, answers = compare_accuracies(
        {1: 0.501, 2: 0.510, 3: 0.519}, {1: 0.400, 2: 0.410, 3: 0.420}
    )
    assert answers[BN_QUALITY].startswith("No, the contrary.")
    assert "lower by 10.00" in answers[BN_QUALITY]


def test_a_difference_within_the_noise_is_not_distinguishable():
    _, tests, answers = compare_accuracies({1: 0.47, 2: 0.49, 3: 0.45}, {1: 0.48, 2: 0.47, 3: 0.48})
    assert tests.set_index("metric")["p_holm"]["best_val_accuracy"] >= 0.05
    assert answers[BN_QUALITY].startswith("Not distinguishable.")
    assert "higher" not in answers[BN_QUALITY]


def test_holm_turns_a_nominally_significant_difference_into_not_distinguishable():
    elu, bn = {1: 0.40, 2: 0.41, 3: 0.42}, {1: 0.43, 2: 0.445, 3: 0.465}
    _, tests, answers = compare_accuracies(elu, bn)
    row = tests.set_index("metric").loc["best_val_accuracy"]
    assert row["p_value"] < 0.05 <= row["p_holm"]
    assert answers[BN_QUALITY].startswith("Not distinguishable.")


def test_validation_and_test_accuracy_that_disagree_are_answered_in_part():
    _, _, answers = compare_accuracies(
        {1: 0.400, 2: 0.410, 3: 0.420}, {1: 0.501, 2: 0.510, 3: 0.519}, test_accuracy=0.41
    )
    assert answers[BN_QUALITY].startswith("In part.")


def test_one_seed_is_never_given_a_verdict():
    _, _, answers = compare(five_variants([1]))
    assert len(answers) == len(QUESTIONS)
    for answer in answers.values():
        assert "one seed: no test is possible" in answer
        assert not answer.startswith(("Yes", "No,", "In part", "Not dist"))
        assert "\u00b1" not in answer
        assert "nan" not in answer


def test_one_common_seed_of_several_is_named_as_such():
    _, _, answers = compare_accuracies({1: 0.40, 2: 0.41}, {2: 0.42, 3: 0.43})
    assert "only one pair of runs: no test is possible" in answers[BN_QUALITY]


def test_no_common_seed_is_said():
    _, _, answers = compare_accuracies({1: 0.40}, {2: 0.42})
    assert "no two runs to pair, so no test is possible" in answers[BN_QUALITY]


def test_speed_is_answered_with_ratios():
    rows = [make_run("elu", seed, train_seconds=10.0) for seed in (1, 2, 3)]
    rows += [
        make_run("bn", seed, median_epoch_seconds=seconds, train_seconds=15.0)
        for seed, seconds in {1: 2.99, 2: 3.0, 3: 3.01}.items()
    ]
    _, _, answers = compare(rows)
    assert "An epoch takes 3.00 s, in `elu` 2.00 s (1.50 times): longer" in answers[BN_SPEED]
    assert "15 \u00b1 0 s, in `elu` 10 \u00b1 0 s (1.50 times; 3 seeds" in answers[BN_SPEED]


def test_a_variant_that_never_reaches_the_baselines_loss_is_said_to():
    rows = [make_run(variant, seed) for variant in ("elu", "bn") for seed in (1, 2)]
    losses = {"bn-1": [1.9] * 20, "bn-2": [1.9] * 21}
    _, _, answers = compare(rows, losses)
    assert "`bn` never (0 of 2 seeds)" in answers[BN_CONVERGENCE]
    assert not answers[BN_CONVERGENCE].startswith("Yes")


def test_questions_about_absent_variants_are_left_out():
    _, tests, answers = compare([make_run("elu", 1), make_run("selu", 1)])
    assert set(tests["variant"]) == {"selu"}
    assert len(answers) == 3
    assert all("SELU" in question for question in answers)


def test_a_single_variant_has_no_question_to_answer():
    summary, tests, answers = compare([make_run("elu", 1)])
    assert len(tests) == 0
    assert answers == {}
    assert "Tests" not in words.markdown_report(summary, tests, [])


def test_without_the_baseline_no_answer_names_it_and_the_table_has_a_dash():
    summary, _, answers = compare([make_run("selu", 1), make_run("alpha_dropout", 1)])
    assert len(answers) == 2
    assert not any("baseline" in answer for answer in answers.values())
    assert words.format_table(summary)[1][-1] == words.MISSING


# Tables


def test_table_shows_percent_with_spread_and_a_dash_for_nothing():
    rows = [make_run("elu", 1, best_val_accuracy=0.40), make_run("elu", 2, best_val_accuracy=0.42)]
    summary, _, _ = compare(rows)
    header, row = words.format_table(summary)
    assert header == [
        *["Variant", "Seeds", "Learning rate", "Best epoch", "Val accuracy", "Test accuracy"],
        *["MC accuracy", "s/epoch", "Total s", "Epochs to baseline's best loss"],
    ]
    half_width = 12.706 * 100 * 0.01  # the standard error of 0.40 and 0.42 is 0.01
    assert row == [
        *["elu", "2", "0.001", "5.0", f"41.0 \u00b1 {half_width:.1f}%", "50.0 \u00b1 0.0%"],
        *["\u2013", "2.00", "12", "5.0 (2 of 2)"],
    ]


def test_markdown_table_is_a_header_a_rule_and_a_line_per_variant():
    summary, _, _ = compare(five_variants([1]))
    lines = words.markdown_table(summary).splitlines()
    assert len(lines) == 2 + 5
    assert {line.count("|") for line in lines} == {11}


def test_markdown_report_holds_the_answers_the_tests_and_the_capped_runs():
    rows = [make_run("elu", 1), make_run("elu", 2), make_run("bn", 1, capped=True)]
    runs = pd.DataFrame([*rows, make_run("bn", 2)])
    summary = summarize(runs, make_curves(runs))
    tests = paired_tests(runs, make_curves(runs))
    answers = words.answers(summary, tests)
    text = words.markdown_report(summary, tests, answers)
    assert all(f"**{answer.question}** {answer.answer}" in text for answer in answers)
    assert text.count("\n| bn_") == len(tests) == 4
    assert "not stopped early: `bn` 1 of 2." in text
    assert "nan" not in text
