"""Means, intervals, convergence and paired tests, against tables, SciPy and examples by hand."""

import warnings

import numpy as np
import pandas as pd
import pytest
from compared_runs import (
    BN_CONVERGENCE,
    COMPARED_VARIANTS,
    compare,
    compare_accuracies,
    five_variants,
    make_curves,
    make_run,
)
from scipy import stats

from pipeline.answers.statistics import holm, mean_confidence_interval, with_convergence
from pipeline.base import InputError
from pipeline.comparisons.twenty_layers import COMPARISON

# Confidence intervals


@pytest.mark.parametrize(
    ("count", "quantile"),  # The 97.5% quantile for count - 1 degrees of freedom, from a t table.
    [(2, 12.706), (3, 4.303), (5, 2.776), (11, 2.228)],
)
def test_interval_matches_the_t_table(count, quantile):
    values = np.arange(count, dtype=float)
    mean, half_width = mean_confidence_interval(values)
    assert mean == (count - 1) / 2
    variance = sum((value - mean) ** 2 for value in values) / (count - 1)
    assert half_width == pytest.approx(quantile * (variance / count) ** 0.5, rel=3e-4)


def test_interval_of_one_value_has_no_width():
    mean, half_width = mean_confidence_interval([0.5, float("nan")])
    assert mean == 0.5
    assert np.isnan(half_width)


def test_interval_of_nothing_is_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(mean_confidence_interval([])).all()
        assert np.isnan(mean_confidence_interval([float("nan")])).all()


# When a loss was reached


def test_epochs_and_seconds_to_reach_take_the_first_crossing_and_nan_for_never():
    runs = pd.DataFrame([make_run("elu", 1), make_run("elu", 2), make_run("bn", 1)])
    losses = {
        "elu-1": [1.9, 1.5, 1.6, 1.4],  # at, not only below
        "elu-2": [1.9, 1.8, 1.7, 1.51],
        "bn-1": [float("nan"), 1.2, 1.9],
    }
    curves = make_curves(runs, losses).sample(frac=1, random_state=0)  # in any order
    timed = with_convergence(runs, curves, "elu").set_index("run_id")
    assert (timed["target"] == 1.5).all()
    assert timed["epochs_to_baseline"]["elu-1"] == 2.0
    assert timed["epochs_to_baseline"]["bn-1"] == 2.0
    assert timed.loc["elu-2", ["epochs_to_baseline", "seconds_to_baseline"]].isna().all()
    assert timed["seconds_to_baseline"]["elu-1"] == 4.0
    assert timed["last_epoch"].tolist() == [4, 4, 3]


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


def test_summary_measures_convergence_against_the_best_loss_of_the_baselines_worst_seed():
    rows = [
        make_run("elu", 1, best_val_loss=1.4),
        make_run("elu", 2, best_val_loss=1.6),
        make_run("bn", 1),
    ]
    losses = {"elu-1": [1.8, 1.5, 1.4], "elu-2": [1.8, 1.7, 1.6], "bn-1": [1.51, 1.49]}
    summary, _, _ = compare(rows, losses)
    elu, bn = summary.to_dict("records")
    assert (elu["epochs_to_baseline"], elu["reached_baseline"]) == (2.5, 2)
    assert (bn["epochs_to_baseline"], bn["reached_baseline"]) == (1.0, 1)
    assert bn["seconds_to_baseline"] == 2.0


def test_summary_without_the_baseline_has_no_target():
    summary, _, _ = compare([make_run("selu", 1), make_run("alpha_dropout", 1)])
    assert summary[["epochs_to_baseline", "reached_baseline"]].isna().all(axis=None)


class TestRefusedRuns:
    def test_no_runs(self):
        runs = pd.DataFrame([make_run("elu", 1)])
        with pytest.raises(InputError, match=r"runs: .* received an empty table"):
            with_convergence(runs.iloc[:0], make_curves(runs), "elu")

    def test_no_curves(self):
        runs = pd.DataFrame([make_run("elu", 1)])
        with pytest.raises(InputError, match=r"curves: .* received an empty table"):
            with_convergence(runs, make_curves(runs).iloc[:0], "elu")

    def test_a_column_is_missing(self):
        runs = pd.DataFrame([make_run("elu", 1)])
        with pytest.raises(InputError, match="a table without test_accuracy"):
            with_convergence(runs.drop(columns="test_accuracy"), make_curves(runs), "elu")

    def test_a_seed_twice(self):
        runs = pd.DataFrame([make_run("elu", 7), make_run("elu", 7, run_id="again")])
        with pytest.raises(InputError, match="more than one of elu with seed 7"):
            with_convergence(runs, make_curves(runs), "elu")


# Paired tests


def test_holm_matches_a_hand_worked_example():
    # Sorted: 0.005 * 4 = 0.02, 0.01 * 3 = 0.03, 0.03 * 2 = 0.06, and 0.04 * 1, raised to 0.06.
    adjusted = holm([0.01, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_leaves_out_tests_that_could_not_be_made():
    adjusted = holm([0.02, float("nan"), 0.04])
    assert adjusted[[0, 2]] == pytest.approx([0.04, 0.04])
    assert np.isnan(adjusted[1])


def test_holm_stays_at_or_below_one_and_of_a_single_test_changes_nothing():
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    assert holm([0.04]).tolist() == [0.04]
    assert holm([]).size == 0


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
    assert len(answers) == len(COMPARISON.asked)


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


def test_nothing_is_tested_against_an_absent_baseline():
    _, tests, _ = compare([make_run("selu", 1), make_run("alpha_dropout", 1)])
    assert set(tests["metric"]) == {"best_val_accuracy", "test_accuracy", "median_epoch_seconds"}
