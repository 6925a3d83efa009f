"""Statistics and answers, against tables, hand-worked examples and SciPy's own tests."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline import report
from pipeline.errors import InputError

COMPARED_VARIANTS = ["elu", "bn", "selu", "alpha_dropout", "one_cycle"]


def make_run(variant, seed, **changes):
    """A run and its curve; the validation loss falls by 0.1 an epoch from 2.0."""
    values = {
        "run_id": f"{variant}-{seed}",
        "variant": variant,
        "seed": seed,
        "learning_rate": 0.001,
        "best_epoch": 5,
        "best_val_loss": 1.5,
        "best_val_accuracy": 0.5,
        "test_accuracy": 0.5,
        "mc_accuracy": float("nan"),
        "mc_nll": float("nan"),
        "mc_ece": float("nan"),
        "nll": float("nan"),
        "ece": float("nan"),
        "median_epoch_seconds": 2.0,
        "train_seconds": 12.0,
        "capped": False,
    }
    return values | changes


def make_curves(runs, val_losses=None):
    """A curve of each run, `val_losses[run_id]` where given, else 2.0, 1.9 ... to its best."""
    frames = []
    for run in runs.to_dict("records"):
        falling = np.linspace(2.0, run["best_val_loss"], run["best_epoch"] + 1)[1:]
        val_loss = np.asarray((val_losses or {}).get(run["run_id"], falling), dtype=float)
        epoch = np.arange(1, len(val_loss) + 1)
        seconds = run["median_epoch_seconds"] * epoch
        frames.append(
            pd.DataFrame(
                {
                    "run_id": run["run_id"],
                    "variant": run["variant"],
                    "seed": run["seed"],
                    "epoch": epoch,
                    "val_loss": val_loss,
                    "elapsed_seconds": seconds,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def compare(rows, val_losses=None):
    runs = pd.DataFrame(rows)
    curves = make_curves(runs, val_losses)
    summary = report.summarize(runs, curves)
    tests = report.paired_tests(runs, curves)
    return summary, tests, {a.question: a.answer for a in report.answers(summary, tests)}


def compare_accuracies(elu, bn, **changes):
    rows = [make_run("elu", seed, best_val_accuracy=a, test_accuracy=a) for seed, a in elu.items()]
    rows += [
        make_run("bn", seed, **{"best_val_accuracy": a, "test_accuracy": a} | changes)
        for seed, a in bn.items()
    ]
    return compare(rows)


def five_variants(seeds):
    rows = []
    generator = np.random.default_rng(0)
    for place, variant in enumerate(COMPARED_VARIANTS):
        for seed in seeds:
            accuracy = 0.45 + 0.02 * place + generator.normal(0, 0.002)
            dropout = {"mc_accuracy": accuracy + generator.normal(0, 0.001)} if place > 2 else {}
            noise = {
                "best_val_loss": 1.5 - 0.05 * place + generator.normal(0, 0.01),
                "median_epoch_seconds": 2.0 + generator.normal(0, 0.05),
                "best_val_accuracy": accuracy,
                "test_accuracy": accuracy,
            }
            rows.append(make_run(variant, seed, **noise, **dropout))
    return rows


BN_CONVERGENCE = "Does batch normalisation converge faster than the baseline?"
BN_QUALITY = "Does batch normalisation give a better model than the baseline?"
BN_SPEED = "How does batch normalisation affect training speed?"


# Confidence intervals


@pytest.mark.parametrize(
    ("count", "quantile"),  # The 97.5% quantile for count - 1 degrees of freedom, from a t table.
    [(2, 12.706), (3, 4.303), (5, 2.776), (11, 2.228)],
)
def test_interval_matches_the_t_table(count, quantile):
    values = np.arange(count, dtype=float)
    mean, half_width = report.mean_confidence_interval(values)
    assert mean == (count - 1) / 2
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    assert half_width == pytest.approx(quantile * (variance / count) ** 0.5, rel=3e-4)


def test_interval_widens_with_confidence():
    _, half_width = report.mean_confidence_interval([1, 2, 3], confidence=0.99)
    assert half_width == pytest.approx(9.925 / 3**0.5, rel=1e-4)


def test_interval_of_one_value_has_no_width():
    mean, half_width = report.mean_confidence_interval([0.5, float("nan")])
    assert mean == 0.5
    assert np.isnan(half_width)


def test_interval_of_nothing_is_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(report.mean_confidence_interval([])).all()
        assert np.isnan(report.mean_confidence_interval([float("nan")])).all()


# When a loss was reached


def test_epochs_and_seconds_to_reach_take_the_first_crossing_and_nan_for_never():
    runs = pd.DataFrame([make_run("elu", 1), make_run("elu", 2), make_run("bn", 1)])
    losses = {
        "elu-1": [1.9, 1.5, 1.6, 1.4],  # at, not only below
        "elu-2": [1.9, 1.8, 1.7, 1.51],
        "bn-1": [float("nan"), 1.2, 1.9],
    }
    curves = make_curves(runs, losses).sample(frac=1, random_state=0)  # in any order
    epochs = report.epochs_to_reach(curves, 1.5)
    assert epochs["elu-1"] == 2.0
    assert epochs["bn-1"] == 2.0
    assert np.isnan(epochs["elu-2"])
    assert len(epochs) == 3
    assert report.seconds_to_reach(curves, 1.5)["elu-1"] == 4.0


# The summary


def test_summary_has_a_row_per_variant_in_order_of_appearance():
    summary, _, _ = compare(five_variants([1, 2, 3])[::-1])
    assert summary["variant"].tolist() == COMPARED_VARIANTS[::-1]
    assert summary["seeds"].tolist() == [3] * 5


def test_summary_averages_and_takes_the_median_of_seconds_per_epoch():
    rows = [
        make_run("elu", 1, best_val_accuracy=0.4, median_epoch_seconds=1.0, train_seconds=10.0),
        make_run("elu", 2, best_val_accuracy=0.5, median_epoch_seconds=2.0, train_seconds=20.0),
        make_run("elu", 3, best_val_accuracy=0.6, median_epoch_seconds=9.0, train_seconds=60.0),
    ]
    row = compare(rows)[0].iloc[0]
    assert row["val_accuracy"] == pytest.approx(0.5)
    assert row["val_accuracy_half_width"] == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)
    assert row["seconds_per_epoch"] == 2.0
    assert row["total_seconds"] == 30.0
    assert np.isnan(row["mc_accuracy"])


def test_summary_measures_convergence_against_the_mean_of_the_baselines_best_losses():
    rows = [
        make_run("elu", 1, best_val_loss=1.4),
        make_run("elu", 2, best_val_loss=1.6),
        make_run("bn", 1),
    ]
    losses = {"elu-1": [1.8, 1.5, 1.4], "elu-2": [1.8, 1.7, 1.6], "bn-1": [1.51, 1.49]}
    summary, _, _ = compare(rows, losses)
    elu, bn = summary.to_dict("records")
    assert (elu["epochs_to_baseline"], elu["reached_baseline"]) == (2.0, 1)
    assert (bn["epochs_to_baseline"], bn["reached_baseline"]) == (2.0, 1)
    assert bn["seconds_to_baseline"] == 4.0


def test_summary_without_the_baseline_has_no_target():
    summary, tests, answers = compare([make_run("selu", 1), make_run("alpha_dropout", 1)])
    assert summary[["epochs_to_baseline", "reached_baseline"]].isna().all(axis=None)
    assert "epochs_to_baseline" not in set(tests["metric"])
    assert report.format_table(summary)[1][-1] == report.MISSING
    assert not any("baseline" in answer for answer in answers.values())


@pytest.mark.parametrize("function", [report.summarize, report.paired_tests])
class TestRefusedRuns:
    def test_no_runs(self, function):
        runs = pd.DataFrame([make_run("elu", 1)])
        with pytest.raises(InputError, match=r"runs: .* received an empty table"):
            function(runs.iloc[:0], make_curves(runs))

    def test_no_curves(self, function):
        runs = pd.DataFrame([make_run("elu", 1)])
        with pytest.raises(InputError, match=r"curves: .* received an empty table"):
            function(runs, make_curves(runs).iloc[:0])

    def test_a_column_is_missing(self, function):
        runs = pd.DataFrame([make_run("elu", 1)])
        with pytest.raises(InputError, match="a table without test_accuracy"):
            function(runs.drop(columns="test_accuracy"), make_curves(runs))

    def test_a_seed_twice(self, function):
        runs = pd.DataFrame([make_run("elu", 7), make_run("elu", 7, run_id="again")])
        with pytest.raises(InputError, match="more than one of elu with seed 7"):
            function(runs, make_curves(runs))


# The tests


def test_holm_matches_a_hand_worked_example():
    # Sorted: 0.005 * 4 = 0.02, 0.01 * 3 = 0.03, 0.03 * 2 = 0.06, and 0.04 * 1, raised to 0.06.
    adjusted = report.holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_tests_that_could_not_be_made():
    adjusted = report.holm([0.02, float("nan"), 0.04])
    assert adjusted[[0, 2]] == pytest.approx([0.04, 0.04])
    assert np.isnan(adjusted[1])


def test_holm_stays_at_or_below_one_and_of_a_single_test_changes_nothing():
    assert report.holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    assert report.holm([0.04]).tolist() == [0.04]
    assert report.holm([]).size == 0


def test_paired_tests_agree_with_scipy_on_the_seeds_both_have():
    elu = {1: 0.46, 2: 0.47, 3: 0.455, 9: 0.1}
    bn = {3: 0.50, 8: 0.9, 2: 0.52, 1: 0.49}
    _, tests, _ = compare_accuracies(elu, bn)
    row = tests.set_index("metric").loc["best_val_accuracy"]
    expected = stats.ttest_rel([0.49, 0.52, 0.50], [0.46, 0.47, 0.455])
    interval = expected.confidence_interval(0.95)
    assert row["n_pairs"] == 3
    assert row["p_value"] == pytest.approx(expected.pvalue)
    assert row["difference"] == pytest.approx((0.03 + 0.05 + 0.045) / 3)
    assert row["half_width"] == pytest.approx((interval.high - interval.low) / 2)


def test_paired_tests_cover_every_planned_comparison_in_one_family():
    _, tests, answers = compare(five_variants([1, 2, 3, 4]))
    assert len(tests) == 4 * 4 + 2
    assert tests.columns.tolist() == [
        *["question", "metric", "variant", "reference", "difference", "half_width"],
        *["n_pairs", "p_value", "p_holm", "distinguishable"],
    ]
    smallest = tests["p_value"].idxmin()
    assert tests["p_holm"][smallest] == pytest.approx(18 * tests["p_value"][smallest])
    assert (tests["p_holm"] >= tests["p_value"]).all()
    assert len(answers) == len(report.QUESTIONS)


def test_paired_test_of_one_seed_has_no_p_value():
    _, tests, _ = compare_accuracies({1: 0.4}, {1: 0.5})
    assert tests["p_value"].isna().all()
    assert tests["p_holm"].isna().all()
    assert not tests["distinguishable"].any()


@pytest.mark.parametrize(
    ("shift", "p_value"),
    [(0.0, 1.0), (0.02, 0.25)],  # all three signs agree by chance in 2 of 2 ** 3 cases
)
def test_paired_test_of_equal_differences_neither_warns_nor_claims(shift, p_value):
    elu = {1: 0.41, 2: 0.47, 3: 0.53}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, tests, _ = compare_accuracies(elu, {seed: a + shift for seed, a in elu.items()})
    row = tests.set_index("metric").loc["best_val_accuracy"]
    assert row["p_value"] == p_value
    assert not row["distinguishable"]


def test_mc_gain_compares_a_variant_with_itself():
    rows = [
        make_run("alpha_dropout", seed, test_accuracy=0.50, mc_accuracy=0.50 + gain)
        for seed, gain in {1: 0.01, 2: 0.02, 3: 0.03}.items()
    ]
    _, tests, _ = compare(rows)
    row = tests.iloc[0]
    assert tests["metric"].tolist() == ["mc_gain"]
    assert (row["variant"], row["reference"]) == ("alpha_dropout", "alpha_dropout")
    assert row["difference"] == pytest.approx(0.02)
    assert row["p_value"] == pytest.approx(stats.ttest_1samp([0.01, 0.02, 0.03], 0).pvalue)


@pytest.mark.parametrize(("first", "second", "sign"), [("elu", "bn", 1), ("bn", "elu", -1)])
def test_convergence_counts_a_run_that_never_got_there_with_its_last_epoch(first, second, sign):
    rows = [make_run(variant, seed) for variant in ("elu", "bn") for seed in (1, 2, 3, 4)]
    losses = {
        f"{first}-1": [1.6, 1.5],  # reached in epoch 2 against 1: 1 later
        f"{first}-2": [1.6] * 7,  # never in 7 epochs, against 3: 4 later
        f"{first}-3": [1.6] * 2,  # never in 2 epochs, against 3: 0, not 1 sooner
        f"{first}-4": [1.6] * 9,  # neither: no pair
        f"{second}-1": [1.5],
        f"{second}-2": [1.6, 1.6, 1.5],
        f"{second}-3": [1.6, 1.6, 1.5],
        f"{second}-4": [1.6] * 3,
    }
    _, tests, answers = compare(rows, losses)
    row = tests.set_index("metric").loc["epochs_to_baseline"]
    assert row["n_pairs"] == 3
    assert row["difference"] == pytest.approx(-sign * (1 + 4 + 0) / 3)
    assert f"`{second}` after 2.3" in answers[BN_CONVERGENCE]
    assert "(1 of 4 seeds)" in answers[BN_CONVERGENCE]
    assert "tested with its last epoch" in answers[BN_CONVERGENCE]


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
    assert len(answers) == len(report.QUESTIONS)
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
    assert "Tests" not in report.markdown_report(summary, tests, [])


def test_every_planned_question_has_its_own_id():
    ids = [question.id for question in report.QUESTIONS]
    assert len(set(ids)) == len(ids)


# Comparable data


def test_runs_on_the_same_data_are_comparable():
    report.check_comparable({"elu-1": "abc", "bn-1": "abc"})
    report.check_comparable({})


def test_runs_on_different_data_are_refused_by_name():
    with pytest.raises(InputError) as caught:
        report.check_comparable({"elu-1": "abc", "bn-1": "xyz", "selu-1": "abc"})
    assert caught.value.received == "data abc: elu-1, selu-1; data xyz: bn-1"


# Tables


def test_table_shows_percent_with_spread_and_a_dash_for_nothing():
    rows = [make_run("elu", 1, best_val_accuracy=0.40), make_run("elu", 2, best_val_accuracy=0.42)]
    summary, _, _ = compare(rows)
    header, row = report.format_table(summary)
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
    lines = report.markdown_table(summary).splitlines()
    assert len(lines) == 2 + 5
    assert {line.count("|") for line in lines} == {11}


def test_markdown_report_holds_the_answers_the_tests_and_the_capped_runs():
    rows = [make_run("elu", 1), make_run("elu", 2), make_run("bn", 1, capped=True)]
    runs = pd.DataFrame([*rows, make_run("bn", 2)])
    summary = report.summarize(runs, make_curves(runs))
    tests = report.paired_tests(runs, make_curves(runs))
    answers = report.answers(summary, tests)
    text = report.markdown_report(summary, tests, answers)
    assert all(f"**{answer.question}** {answer.answer}" in text for answer in answers)
    assert text.count("\n| bn_") == len(tests) == 4
    assert "not stopped early: `bn` 1 of 2." in text
    assert "nan" not in text
