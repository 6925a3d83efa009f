"""The answers in words and the tables."""

import pytest
from compared_runs import (
    BN_CONVERGENCE,
    BN_QUALITY,
    BN_SPEED,
    compare,
    compare_accuracies,
    evidence_of,
    five_variants,
    make_run,
)

from pipeline.answers import tables, words
from pipeline.answers.fairness import LeftOut
from pipeline.comparisons import Question
from pipeline.comparisons.twenty_layers import COMPARISON

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
    assert len(answers) == len(COMPARISON.asked)
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
    found = evidence_of([make_run("elu", 1)])
    assert len(found.tests) == 0
    assert words.answers(found) == []
    assert "Tests" not in words.markdown_report(found)


def test_without_the_baseline_no_answer_names_it_and_the_table_has_a_dash():
    found = evidence_of([make_run("selu", 1), make_run("alpha_dropout", 1)])
    assert len(found.answers) == 2
    assert not any("baseline" in said.evidence for said in words.answers(found))
    assert tables.summary_table(found)[1][-1] == tables.MISSING


@pytest.mark.parametrize(
    ("margin", "shift", "said"),
    [
        (0.01, 0.0, "equal within the margin of 1.00 points, a difference of -0.00"),
        (
            0.01,
            0.004,
            "higher by 0.40 \u00b1 0.06 points, equal within the margin of 1.00 points (",
        ),
        (0.0005, 0.0, "not distinguishable, a difference of -0.00 \u00b1 0.06 points ("),
        (0.01, 0.03, "higher by 3.00 \u00b1 0.06 points ("),
        (0, 0.0, "not distinguishable, a difference of"),
    ],
)
def test_a_difference_within_the_margin_of_its_question_is_called_equal(margin, shift, said):
    asked = Question(variant="bn", reference="elu", metric="test_accuracy", margin=margin)
    noise = [0.001, -0.001, 0.0, 0.0005, -0.0005, 0.001, -0.001, 0.0, 0.0]
    rows = [make_run("elu", seed, test_accuracy=0.5) for seed in range(9)]
    rows += [make_run("bn", s, test_accuracy=0.5 + shift + noise[s]) for s in range(9)]
    _, _, answers = compare(rows, questions=[asked])
    assert said in answers[asked.text], answers[asked.text]


# Headlines


def accuracies(**by_variant):
    return [
        make_run(variant, seed, test_accuracy=value, best_val_accuracy=value)
        for variant, values in by_variant.items()
        for seed, value in enumerate(values, start=1)
    ]


def test_a_clear_lead_is_named_without_reserve():
    found = evidence_of(accuracies(elu=[0.40, 0.41, 0.42], bn=[0.501, 0.51, 0.519]))
    best, converges, trains = words.cards(found)
    assert (best.title, best.variants, best.proven) == ("Best model", ("bn",), True)
    assert best.evidence == "Ahead of every other variant beyond noise."
    assert best.figure == "test accuracy 51.0 \u00b1 2.2%, validation accuracy 51.0 \u00b1 2.2%"
    assert words.verdict(found) == (
        f"Best model: **bn**. {converges.title}: **{'**, **'.join(converges.variants)}**. "
        f"{trains.title}: **{'**, **'.join(trains.variants)}**."
    )


@pytest.mark.parametrize(
    ("values", "evidence"),
    [
        (
            {"elu": [0.47, 0.49, 0.45], "bn": [0.48, 0.47, 0.48]},
            "Not distinguishable from `elu`.",
        ),
        (
            {"elu": [0.4, 0.41, 0.42], "bn": [0.501, 0.51, 0.519], "selu": [0.46, 0.52, 0.53]},
            "Beyond noise ahead of `elu`. Not distinguishable from `selu`.",
        ),
        (
            {"elu": [0.4, 0.5], "bn": [0.4, 0.5], "selu": [0.3, 0.5], "one_cycle": [0.3, 0.4]},
            "Level with each other. Not distinguishable from `selu` and `one_cycle`.",
        ),
        (
            {"elu": [0.40, 0.42], "bn": [0.42, 0.40]},
            "Level with each other.",
        ),
        (
            {"elu": [0.4], "bn": [0.5]},
            "One pair of runs or none: nothing can be tested.",
        ),
        (
            {"elu": [0.4, 0.5]},
            "There is no other variant to compare it with.",
        ),
    ],
)
def test_a_lead_that_is_not_proven_is_one_on_average(values, evidence):
    best, *others = words.cards(evidence_of(accuracies(**values)))
    assert (best.title, best.proven) == ("Best model, on average", False)
    assert best.evidence == evidence
    assert all(card.title.endswith(", on average") for card in others)


def test_another_order_in_seconds_than_in_epochs_is_said():
    rows = [make_run("elu", seed, median_epoch_seconds=1 + seed / 100) for seed in (1, 2, 3)]
    rows += [make_run("bn", seed, median_epoch_seconds=9 + seed / 50) for seed in (1, 2, 3)]
    losses = {f"bn-{seed}": [1.8, 1.5] for seed in (1, 2, 3)}
    _, converges, trains = words.cards(evidence_of(rows, losses))
    assert converges.variants == ("bn",)
    assert converges.figure.startswith("2.0 \u00b1 0.0 epochs to the baseline's best")
    assert "In seconds: `elu`, 5.1 \u00b1 0.1 s." in converges.evidence
    assert (trains.title, trains.variants) == ("Trains fastest", ("elu",))


# Tables


def test_table_shows_percent_with_spread_and_a_dash_for_nothing():
    rows = [make_run("elu", 1, best_val_accuracy=0.40), make_run("elu", 2, best_val_accuracy=0.42)]
    header, row = tables.summary_table(evidence_of(rows))
    assert header == [
        *["Variant", "Seeds", "Learning rate", "Best epoch", "Val accuracy", "Test accuracy"],
        *["MC accuracy", "s/epoch", "Total s", "Epochs to baseline's best loss"],
    ]
    half_width = 12.706 * 100 * 0.01  # the standard error of 0.40 and 0.42 is 0.01
    assert row == [
        *["elu", "2", "0.001", "5.0", f"41.0 \u00b1 {half_width:.1f}%", "50.0 \u00b1 0.0%"],
        *["\u2013", "2.00", "12", "5.0 (2 of 2)"],
    ]


def test_table_of_tests_says_what_was_compared_with_what():
    header, *rows = tables.tests_table(evidence_of(five_variants([1, 2, 3])))
    assert header[0] == "Compared"
    assert rows[1][:2] == ["bn \u2212 elu", "best_val_accuracy"]
    assert rows[1][4:] == ["3", "0.0014", "0.0196", "yes"]
    assert rows[-1][:2] == ["one_cycle \u2212 without MC Dropout", "mc_gain"]
    of_one_seed = tables.tests_table(evidence_of(five_variants([1])))[1]
    assert of_one_seed[3:] == ["\u2013", "1", "\u2013", "\u2013", "\u2013"]


def test_markdown_report_holds_the_tables_the_answers_and_the_capped_runs():
    rows = [make_run("elu", 1), make_run("elu", 2), make_run("bn", 1, capped=True)]
    gone = LeftOut(run_id="1", name="train bn seed 3", reason="diverged", replaced=False)
    found = evidence_of([*rows, make_run("bn", 2)], left_out=[gone])
    text = words.markdown_report(found)
    assert len(found.answers) == 3
    for said in words.answers(found):
        verdict = f"{said.verdict}. " if said.verdict else ""
        assert f"**{said.question}** {verdict}{said.evidence}\n" in text
    assert text.count("\n| bn \u2212 elu |") == len(found.tests) == 4
    results = text.partition("\n\n")[2].partition("\n\n")[0].splitlines()
    assert len(results) == 2 + 2
    assert {line.count("|") for line in results} == {11}
    assert "not stopped early: `bn` 1 of 2." in text
    assert text.endswith("## Not compared\n\n- train bn seed 3: diverged\n")
    assert "nan" not in text
