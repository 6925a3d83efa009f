"""Searches: what makes for another one, the best rate, divergence, and what is logged."""

import dataclasses
import io
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from conftest import Finished
from small_layers import SMALL

from pipeline.base import InputError
from pipeline.comparing import artifacts
from pipeline.comparisons import Variant
from pipeline.comparisons.twenty_layers import ALPHA_DROPOUT, ELU
from pipeline.parameters import Search as Asked
from pipeline.search import search
from pipeline.work.search import SearchStep
from pipeline.work.variant_step import LoggedData

DATA = LoggedData(
    run_id="a1", dataset="stripes", location="stripes.npz", fingerprint="f", found_again="stripes"
)


def _key(variant: Variant, **asked: object) -> str:
    given = Asked(variant=variant.name, **asked)  # type: ignore[arg-type]
    return SearchStep(variant=given.configured(variant), data=DATA, asked=given).key


def test_a_search_is_another_where_its_trials_are_judged_otherwise() -> None:
    never = dataclasses.replace(ELU, patience=None)
    assert _key(ELU) == _key(dataclasses.replace(ELU, patience=5)) != _key(never)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_trials", 3),
        ("search_epochs", 3),
        ("learning_rate_min", 0.001),
        ("learning_rate_max", 0.01),
        ("search_seed", 2),
        ("batch_size", 64),
        ("dropout_rate", 0.2),
        ("dropout_layers", "all"),
    ],
)
def test_a_search_is_another_with_other_parameters(name: str, value: object) -> None:
    assert _key(ALPHA_DROPOUT, **{name: value}) != _key(ALPHA_DROPOUT)


def test_where_the_trials_are_kept_makes_for_no_other_search() -> None:
    assert _key(ELU, storage="sqlite:///another.db") == _key(ELU)
    assert _key(ELU, checkpoints="elsewhere") == _key(ELU)


def test_a_setting_that_is_given_as_it_is_makes_for_no_other_search() -> None:
    own = {"search_epochs": 10, "batch_size": 32, "dropout_rate": 0.1, "dropout_layers": "last"}
    assert _key(ALPHA_DROPOUT, **own) == _key(ALPHA_DROPOUT)


@pytest.mark.slow
def test_the_chosen_rate_is_the_minimum_of_the_curve_that_is_logged(
    finished_store: Finished,
) -> None:
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"], "tags.step = 'search' and tags.variant = 'alpha_dropout'")
    trials = client.search_runs(["0"], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    completed = [trial for trial in trials if "best_val_loss" in trial.data.metrics]
    best = min(completed, key=lambda trial: trial.data.metrics["best_val_loss"])
    rate = float(best.data.params["learning_rate"])
    assert run.data.metrics["best_trial_learning_rate"] == rate
    table = mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/learning_rate_curve.csv")
    curve = pd.read_csv(io.StringIO(table))
    chosen = curve["learning_rate"][curve["val_loss"].idxmin()]
    assert float(run.data.params["best_learning_rate"]) == chosen
    assert run.data.metrics["best_learning_rate"] == chosen
    note = run.data.tags["mlflow.note.content"]
    assert f"Chosen: learning rate **{chosen:.3g}**" in note
    assert f"with learning rate {rate:.3g} and validation loss" in note
    searched = f"tags.step = 'train' and tags.search_run = '{run.info.run_id}'"
    for training in client.search_runs(["0"], searched):
        assert training.data.params["chosen_learning_rate"] == run.data.params["best_learning_rate"]


@pytest.mark.slow
def test_study_run_holds_plots_and_table(finished_store: Finished) -> None:
    client = mlflow.MlflowClient()
    for run in client.search_runs(["0"], "tags.step = 'search'"):
        names = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
        assert names == {"trials.csv", "learning_rate_curve.csv", "learning_rate_search.png"}
        saved = run.data.metrics["epochs_saved_by_pruning"]
        assert saved == run.data.metrics["trials"] * 2 - run.data.metrics["epochs_trained"]
        trials = artifacts.trials(
            mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/trials.csv").encode()
        )
        assert trials["state"].isin(["COMPLETE", "PRUNED", "DIVERGED"]).all()
        assert trials["epochs"].sum() == run.data.metrics["epochs_trained"]


@pytest.mark.slow
def test_diverging_trials_are_marked_and_an_all_diverging_study_names_the_range(
    store: Path, tiny_npz: Path
) -> None:
    with pytest.raises(InputError, match="none of 2 trials came to its end, 2 diverged"):
        search(
            Asked(
                variant="elu",
                comparison=SMALL,
                dataset=str(tiny_npz),
                n_trials=2,
                search_epochs=1,
                learning_rate_min=1e5,
                learning_rate_max=1e6,
            )
        )
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"], "tags.step = 'search'")
    trials = client.search_runs(["0"], "tags.step = 'trial'")
    assert run.info.status == "FAILED"
    assert [trial.info.status for trial in trials] == ["FAILED", "FAILED"]
    assert all("in epoch 1" in trial.data.tags["failure_reason"] for trial in trials)
