"""Means, intervals and convergence, against tables and hand-worked examples."""

import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
from compared_runs import COMPARED_VARIANTS, compare, five_variants, make_curves, make_run

from pipeline.answers.statistics import paired_tests
from pipeline.answers.summary import (
    check_comparable,
    mean_confidence_interval,
    summarize,
    when_reached,
)
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


def test_interval_widens_with_confidence():
    _, half_width = mean_confidence_interval([1, 2, 3], confidence=0.99)
    assert half_width == pytest.approx(9.925 / 3**0.5, rel=1e-4)


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
    reached = when_reached(curves, 1.5)
    assert reached["epoch"]["elu-1"] == 2.0
    assert reached["epoch"]["bn-1"] == 2.0
    assert reached.loc["elu-2"].isna().all()
    assert len(reached) == 3
    assert reached["elapsed_seconds"]["elu-1"] == 4.0


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


@pytest.mark.parametrize("function", [summarize, partial(paired_tests, questions=COMPARISON.asked)])
class TestRefusedRuns:
    def test_no_runs(self, function):
        runs = pd.DataFrame([make_run("elu", 1)])
        with pytest.raises(InputError, match=r"runs: .* received an empty table"):
            function(runs.iloc[:0], make_curves(runs), "elu")

    def test_no_curves(self, function):
        runs = pd.DataFrame([make_run("elu", 1)])
        with pytest.raises(InputError, match=r"curves: .* received an empty table"):
            function(runs, make_curves(runs).iloc[:0], "elu")

    def test_a_column_is_missing(self, function):
        runs = pd.DataFrame([make_run("elu", 1)])
        with pytest.raises(InputError, match="a table without test_accuracy"):
            function(runs.drop(columns="test_accuracy"), make_curves(runs), "elu")

    def test_a_seed_twice(self, function):
        runs = pd.DataFrame([make_run("elu", 7), make_run("elu", 7, run_id="again")])
        with pytest.raises(InputError, match="more than one of elu with seed 7"):
            function(runs, make_curves(runs), "elu")


# Comparable data


def test_runs_on_the_same_data_are_comparable():
    check_comparable({"elu-1": "abc", "bn-1": "abc"})
    check_comparable({})


def test_runs_on_different_data_are_refused_by_name():
    with pytest.raises(InputError) as caught:
        check_comparable({"elu-1": "abc", "bn-1": "xyz", "selu-1": "abc"})
    assert caught.value.received == "data abc: elu-1, selu-1; data xyz: bn-1"
