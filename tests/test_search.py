"""Learning-rate studies: range, pruning, divergence, resumption, and what is logged."""

import math
from pathlib import Path

import mlflow
import optuna
import pytest
from conftest import Finished

from pipeline import search as search_module
from pipeline.errors import InputError
from pipeline.search import check_storage, widened


def _study(*values: tuple[float, float | None]) -> optuna.Study:
    """A study whose trials had these rates and values; None: pruned."""
    study = optuna.create_study()
    distribution = optuna.distributions.FloatDistribution(1e-9, 1e9, log=True)
    for rate, value in values:
        state = optuna.trial.TrialState.PRUNED if value is None else None
        study.add_trial(
            optuna.create_trial(
                params={"learning_rate": rate},
                distributions={"learning_rate": distribution},
                value=value,
                state=state or optuna.trial.TrialState.COMPLETE,
            )
        )
    return study


@pytest.mark.parametrize(
    ("best_rate", "expected"),
    [
        (1e-3, (1e-5, 1e-1)),
        (9e-2, (1e-5, 1.0)),
        (1.1e-5, (1e-6, 1e-1)),
        (3e-2, (1e-5, 1e-1)),
    ],
)
def test_range_is_widened_only_at_an_edge(best_rate: float, expected: tuple[float, float]) -> None:
    study = _study((1e-4, 2.0), (best_rate, 1.0), (0.1, None))
    assert widened(study, (1e-5, 1e-1)) == pytest.approx(expected)


def test_all_trials_diverged_is_an_error_that_names_the_range() -> None:
    with pytest.raises(InputError, match=r"1 to 10: all 2 trials diverged"):
        widened(_study((2.0, None), (5.0, None)), (1.0, 10.0))


@pytest.mark.parametrize(
    "storage", ["sqlite:///optuna.db", "postgresql+psycopg2://user@host/optuna"]
)
def test_storage_without_password_is_accepted(storage: str) -> None:
    check_storage(storage)


@pytest.mark.parametrize("storage", ["optuna.db", "postgresql://user:hunter2@host/optuna"])
def test_malformed_storage_or_password_is_refused_without_showing_it(storage: str) -> None:
    with pytest.raises(InputError) as refused:
        check_storage(storage)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.1), (0.1, 0.01), (0.1, math.inf)])
def test_empty_or_non_positive_range_is_refused(store: Path, low: float, high: float) -> None:
    with pytest.raises(InputError, match="learning_rate_min"):
        search_module.search(variant="elu", learning_rate_min=low, learning_rate_max=high)


@pytest.mark.slow
def test_trials_are_nested_runs_with_a_curve_and_linked_both_ways(finished_store: Finished) -> None:
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"], "tags.step = 'search' and tags.variant = 'elu'")
    trials = client.search_runs(["0"], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    study = optuna.load_study(study_name=run.data.tags["study"], storage="sqlite:///optuna.db")
    assert {trial.user_attrs["mlflow_run_id"] for trial in study.trials} == {
        trial.info.run_id for trial in trials
    }
    for trial in study.trials:
        history = client.get_metric_history(trial.user_attrs["mlflow_run_id"], "val_loss")
        assert {metric.step: metric.value for metric in history} == trial.intermediate_values


@pytest.mark.slow
def test_best_rate_is_the_one_with_the_lowest_validation_loss(finished_store: Finished) -> None:
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"], "tags.step = 'search' and tags.variant = 'alpha_dropout'")
    trials = client.search_runs(["0"], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    completed = [trial for trial in trials if "best_val_loss" in trial.data.metrics]
    best = min(completed, key=lambda trial: trial.data.metrics["best_val_loss"])
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
        }
        saved = run.data.metrics["epochs_saved_by_pruning"]
        assert saved == run.data.metrics["trials"] * 2 - run.data.metrics["epochs_trained"]


@pytest.mark.slow
def test_diverging_trials_are_marked_and_an_all_diverging_study_names_the_range(
    store: Path, tiny_npz: Path
) -> None:
    with pytest.raises(InputError, match="all 2 trials diverged"):
        search_module.search(
            variant="elu",
            dataset=str(tiny_npz),
            n_trials=2,
            search_epochs=1,
            learning_rate_min=1e30,
            learning_rate_max=1e32,
        )
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"], "tags.step = 'search'")
    trials = client.search_runs(["0"], "tags.step = 'trial'")
    assert run.info.status == "FAILED"
    assert [trial.info.status for trial in trials] == ["FAILED", "FAILED"]
    assert all("in epoch 1" in trial.data.tags["failure_reason"] for trial in trials)
