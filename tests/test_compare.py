"""The comparison of finished training runs."""

import io
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from conftest import Finished

from pipeline.compare import compare
from pipeline.errors import InputError
from pipeline.train import train

pytestmark = pytest.mark.slow


def _artifact(run_id: str, name: str) -> str:
    return mlflow.artifacts.load_text(f"runs:/{run_id}/{name}")


def test_table_has_the_means_of_the_runs(finished_store: Finished) -> None:
    (run,) = mlflow.MlflowClient().search_runs(["0"], "tags.step = 'compare'")[-1:]
    summary = pd.read_csv(io.StringIO(_artifact(run.info.run_id, "summary.csv")))
    assert list(summary["variant"]) == ["elu", "alpha_dropout"]
    for row in summary.itertuples():
        query = f"tags.step = 'train' and params.variant = '{row.variant}'"
        runs = mlflow.MlflowClient().search_runs(
            ["0"], f"{query} and params.mc_samples = '10'", order_by=["attributes.start_time"]
        )[:2]
        accuracies = [one.data.metrics["test_accuracy"] for one in runs]
        assert row.test_accuracy == pytest.approx(sum(accuracies) / 2)
        assert row.seeds == 2


def test_overlaid_curves_are_logged(finished_store: Finished) -> None:
    (run,) = mlflow.MlflowClient().search_runs(["0"], "tags.step = 'compare'")[-1:]
    names = {item.path for item in mlflow.artifacts.list_artifacts(run_id=run.info.run_id)}
    assert {"curves_by_epoch.png", "curves_by_seconds.png", "epoch_seconds.png"} <= names
    curves = pd.read_csv(io.StringIO(_artifact(run.info.run_id, "curves.csv")))
    assert set(curves.groupby("run_id")["epoch"].min()) == {1}


def test_nothing_to_compare_is_refused(store: Path) -> None:
    with pytest.raises(InputError, match="none"):
        compare()


def test_runs_on_different_data_are_refused_and_named(
    finished_store: Finished, tiny_npz: Path
) -> None:
    other = train(
        variant="elu",
        learning_rate="0.001",
        epochs="1",
        seed=7,
        dataset=str(tiny_npz),
        split_seed=2,
    )
    query = "tags.step = 'train' and params.seed = '1' and params.variant = 'elu'"
    (one, *_) = mlflow.MlflowClient().search_runs(["0"], query)
    with pytest.raises(InputError) as refused:
        compare(runs=f"{one.info.run_id},{other}")
    assert "train elu seed 7" in str(refused.value)
    assert "train elu seed 1" in str(refused.value)
