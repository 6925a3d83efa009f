"""Learning-rate studies: range, divergence, and what is logged."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import mlflow
import pytest
from conftest import Finished
from pipeline.comparisons.variants import get_variant

from pipeline import search as search_module
from pipeline.base import InputError
from pipeline.prepare import prepared
from pipeline.search import SearchSettings


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (0.0, 0.1),
        (0.1, 0.01),
        (0.1, 0.1),
        (0.1, 0.1000001),
        (0.1, math.inf),
        (math.nan, 0.1),
        (0.1, math.nan),
        (5e-324, 0.1),
        (0.1, 1e300),
    ],
)
def test_range_that_is_empty_or_out_of_bounds_is_refused(
    store: Path, low: float, high: float
) -> None:
    with pytest.raises(InputError, match="learning_rate_min"):
        search_module.search(variant="elu", learning_rate_min=low, learning_rate_max=high)


def test_extra_trials_are_a_third_but_at_least_two() -> None:
    own: dict[str, Any] = {
        "search_epochs": 1,
        "learning_rate_min": 0.1,
        "learning_rate_max": 1.0,
        "seed": 1,
    }
    extra = {
        count: SearchSettings(variant=get_variant("elu"), n_trials=count, **own).extra_trials
        for count in (1, 6, 8, 9, 12)
    }
    assert extra == {1: 2, 6: 2, 8: 2, 9: 3, 12: 4}


def test_a_study_is_another_where_its_trials_are_judged_otherwise(
    store: Path, tiny_npz: Path
) -> None:
    data = prepared(dataset=str(tiny_npz), val_size=5000, seed=1, reuse="auto")

    def key(patience: int | None) -> str:
        return (
            SearchSettings(
                variant=dataclasses.replace(get_variant("elu"), patience=patience),
                n_trials=1,
                search_epochs=1,
                learning_rate_min=0.1,
                learning_rate_max=1.0,
                seed=1,
            )
            .step(data)
            .key
        )

    assert key(patience=20) == key(patience=5) != key(patience=None)


@pytest.mark.slow
def test_best_rate_is_the_one_with_the_lowest_validation_loss(finished_store: Finished) -> None:
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"], "tags.step = 'search' and tags.variant = 'alpha_dropout'")
    trials = client.search_runs(["0"], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    completed = [trial for trial in trials if "judged_val_loss" in trial.data.metrics]
    best = min(completed, key=lambda trial: trial.data.metrics["judged_val_loss"])
    assert run.data.params["best_learning_rate"] == best.data.params["learning_rate"]


@pytest.mark.slow
def test_study_run_holds_plots_and_table(finished_store: Finished) -> None:
    client = mlflow.MlflowClient()
    for run in client.search_runs(["0"], "tags.step = 'search'"):
        names = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        assert names == {
            "trials.csv",
            "optimization_history.png",
            "intermediate_values.png",
            "learning_rate.png",
            "best_trial",
        }
        saved = run.data.metrics["epochs_saved_by_pruning"]
        assert saved == run.data.metrics["trials"] * 2 - run.data.metrics["epochs_trained"]


@pytest.mark.slow
def test_diverging_trials_are_marked_and_an_all_diverging_study_names_the_range(
    store: Path, tiny_npz: Path
) -> None:
    with pytest.raises(InputError, match="none of 2 trials came to its end, 2 diverged"):
        search_module.search(
            variant="elu",
            dataset=str(tiny_npz),
            n_trials=2,
            search_epochs="1",
            learning_rate_min=1e5,
            learning_rate_max=1e6,
        )
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"], "tags.step = 'search'")
    trials = client.search_runs(["0"], "tags.step = 'trial'")
    assert run.info.status == "FAILED"
    assert [trial.info.status for trial in trials] == ["FAILED", "FAILED"]
    assert all("in epoch 1" in trial.data.tags["failure_reason"] for trial in trials)
