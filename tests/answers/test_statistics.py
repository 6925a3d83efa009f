"""The paired tests, against SciPy's own and hand-worked examples."""

import warnings

import numpy as np
import pytest
from compared_runs import BN_CONVERGENCE, compare, compare_accuracies, five_variants, make_run
from scipy import stats

from pipeline.answers.statistics import holm
from pipeline.comparisons.twenty_layers import COMPARISON


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
