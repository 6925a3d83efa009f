"""Means, intervals and when the target was reached, against tables and examples by hand."""

import warnings

import numpy as np
import pandas as pd
import pytest
from compared_runs import COMPARED_VARIANTS, evidence_of, five_variants, make_curves, make_run

from pipeline.answers.summary import (
    disturbed,
    mean_confidence_interval,
    summarize,
    with_convergence,
)
from pipeline.base import InputError


def summary_of(rows, val_losses=None):
    return evidence_of(rows, val_losses).summary


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


# When the target was reached


def test_epochs_and_seconds_to_the_target_take_the_first_crossing_and_nan_for_never():
    runs = pd.DataFrame([make_run("elu", 1), make_run("bn", 2), make_run("bn", 1)])
    losses = {
        "elu-1": [1.9, 1.5, 1.6, 1.5],  # at, not only below
        "bn-2": [1.9, 1.8, 1.7, 1.51],
        "bn-1": [float("nan"), 1.2, 1.9],
    }
    curves = make_curves(runs, losses).sample(frac=1, random_state=0)  # in any order
    timed = with_convergence(runs, curves, "elu").set_index("run_id")
    assert (timed["target"] == 1.5).all()
    assert timed["epochs_to_target"]["elu-1"] == 2.0
    assert timed["epochs_to_target"]["bn-1"] == 2.0
    assert timed.loc["bn-2", ["epochs_to_target", "seconds_to_target"]].isna().all()
    assert timed["seconds_to_target"]["elu-1"] == 4.0
    assert timed["last_epoch"].tolist() == [4, 4, 3]


def test_between_two_epochs_the_target_is_reached_on_a_straight_line():
    runs = pd.DataFrame([make_run("elu", 1), make_run("bn", 1, median_epoch_seconds=3.0)])
    curves = make_curves(runs, {"elu-1": [1.9, 1.5], "bn-1": [1.9, 1.6, 1.2]})
    timed = with_convergence(runs, curves, "elu").set_index("run_id")
    assert timed["epochs_to_target"].to_dict() == pytest.approx({"elu-1": 2.0, "bn-1": 2.25})
    assert timed["seconds_to_target"]["bn-1"] == pytest.approx(3 * 2.25)


def test_target_is_the_worst_of_the_baselines_first_three_seeds_and_stays_when_others_come():
    losses = {1: 1.4, 2: 1.6, 3: 1.5}
    rows = [make_run("elu", seed, best_val_loss=loss) for seed, loss in losses.items()]
    later = [make_run("elu", 4, best_val_loss=1.9), make_run("bn", 1, best_val_loss=1.95)]
    for of in (rows, [*later, *rows]):
        runs = pd.DataFrame(of)
        assert (with_convergence(runs, make_curves(runs), "elu")["target"] == 1.6).all()


def test_target_is_the_lowest_of_the_curve_where_other_weights_were_kept():
    runs = pd.DataFrame([make_run("one_cycle", 1, best_val_loss=1.6)])  # that of its last epoch
    curves = make_curves(runs, {"one_cycle-1": [1.9, 1.5, 1.6]})
    timed = with_convergence(runs, curves, "one_cycle")
    assert timed[["target", "epochs_to_target"]].values.tolist() == [[1.5, 2.0]]


# The summary


def test_summary_has_a_row_per_variant_in_order_of_appearance():
    summary = summary_of(five_variants([1, 2, 3])[::-1])
    assert summary["variant"].tolist() == COMPARED_VARIANTS[::-1]
    assert summary["seeds"].tolist() == [3] * 5


def test_summary_averages_and_takes_the_median_of_seconds_per_epoch():
    rows = [
        make_run("elu", 1, best_val_accuracy=0.4, median_epoch_seconds=1.0, train_seconds=10.0),
        make_run("elu", 2, best_val_accuracy=0.5, median_epoch_seconds=2.0, train_seconds=20.0),
        make_run("elu", 3, best_val_accuracy=0.6, median_epoch_seconds=9.0, train_seconds=60.0),
    ]
    row = summary_of(rows).iloc[0]
    assert row["val_accuracy"] == pytest.approx(0.5)
    assert row["val_accuracy_half_width"] == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)
    assert row["seconds_per_epoch"] == 2.0
    assert row["total_seconds"] == 30.0
    assert np.isnan(row["mc_accuracy"])


def test_summary_counts_a_run_that_never_reached_the_target_as_later_than_all_others():
    rows = [make_run(variant, seed) for variant in ("elu", "bn", "selu") for seed in (1, 2, 3)]
    losses = {f"elu-{seed}": [1.6] * seed + [1.5] for seed in (1, 2, 3)}
    losses |= {"bn-1": [1.5], "bn-2": [1.6] * 9 + [1.5], "bn-3": [1.6] * 20}
    losses |= {"selu-1": [1.5], "selu-2": [1.6] * 20, "selu-3": [1.6] * 20}
    elu, bn, selu = summary_of(rows, losses).to_dict("records")
    assert (elu["epochs_to_target"], elu["seconds_to_target"], elu["reached_target"]) == (3, 6, 3)
    assert (bn["epochs_to_target"], bn["reached_target"]) == (10, 2)
    assert (selu["epochs_to_target"], selu["reached_target"]) == (np.inf, 1)


def test_how_far_a_first_loss_has_blown_up_hides_no_other_seed():
    highest = [1e27, 4.0, 2.5]
    runs = pd.DataFrame(
        [make_run("elu", at, highest_first_loss=of) for at, of in enumerate(highest)]
    )
    timed = with_convergence(runs, make_curves(runs), "elu")
    assert list(timed["highest_first_loss"]) == [100, 4, 2.5]
    assert summarize(timed)["highest_first_loss"][0] == pytest.approx(10)


def test_summary_without_the_baseline_has_no_target():
    summary = summary_of([make_run("selu", 1), make_run("alpha_dropout", 1)])
    assert summary[["epochs_to_target", "reached_target"]].isna().all(axis=None)


def test_networks_that_took_no_epochs_have_no_target():
    runs = pd.DataFrame([make_run("elu", 1), make_run("selu", 1)])
    timed = with_convergence(runs, make_curves(runs).iloc[:0], "elu")
    columns = ["target", "epochs_to_target", "seconds_to_target"]
    assert timed[columns].isna().all(axis=None)
    assert timed["last_epoch"].tolist() == [0, 0]


class TestRefusedRuns:
    def test_no_runs(self):
        runs = pd.DataFrame([make_run("elu", 1)])
        with pytest.raises(InputError, match=r"runs: .* received an empty table"):
            with_convergence(runs.iloc[:0], make_curves(runs), "elu")

    def test_a_column_is_missing(self):
        runs = pd.DataFrame([make_run("elu", 1)])
        with pytest.raises(InputError, match="a table without test_accuracy"):
            with_convergence(runs.drop(columns="test_accuracy"), make_curves(runs), "elu")

    def test_a_seed_twice(self):
        runs = pd.DataFrame([make_run("elu", 7), make_run("elu", 7, run_id="again")])
        with pytest.raises(InputError, match="more than one of elu with seed 7"):
            with_convergence(runs, make_curves(runs), "elu")


# Runs that other work disturbed


def curve_of(run_id: str, seconds: list[float], cpu_seconds: list[float | None]) -> pd.DataFrame:
    columns = {"epoch_seconds": seconds, "epoch_cpu_seconds": cpu_seconds}
    frame = pd.DataFrame({"run_id": run_id, "epoch": range(1, len(seconds) + 1), **columns})
    return frame.astype(dict.fromkeys(columns, float))


def test_wall_time_well_above_cpu_time_in_most_epochs_is_disturbed_and_old_runs_are_not_known() -> (
    None
):
    curves = [
        curve_of("alone", [3.0, 3.0, 3.1], [3.05, 3.0, 3.05]),
        curve_of("disturbed once", [3.0, 24.0, 3.0], [3.0, 3.1, 3.0]),
        curve_of("disturbed", [7.0, 24.0, 3.1], [3.0, 3.1, 3.0]),
        curve_of("slow by itself", [24.0, 24.0, 24.0], [24.0, 24.0, 24.0]),
        curve_of("of old", [3.0, 24.0, 24.0], [None, None, None]),
        curve_of("gone on with", [3.0, 24.0, 24.0], [None, 3.0, 3.0]),
    ]
    found = disturbed(pd.concat(curves, ignore_index=True))
    assert found.isna().to_dict() == {run_id: run_id == "of old" for run_id in found.index}
    assert set(found.index[found.fillna(False)]) == {"disturbed", "gone on with"}
