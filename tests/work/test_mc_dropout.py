"""MC Dropout on a trained run."""

import json
from pathlib import Path

import mlflow
import pytest
from conftest import Finished

from pipeline.base import InputError
from pipeline.mc_dropout import mc_dropout
from pipeline.parameters import McDropout

pytestmark = pytest.mark.slow


def _run_id(variant: str) -> str:
    query = f"tags.step = 'train' and params.variant = '{variant}' and params.seed = '2'"
    runs = mlflow.MlflowClient().search_runs(["0"], query, order_by=["attributes.start_time"])
    return runs[0].info.run_id


def test_same_samples_give_the_figures_of_the_training_run(
    finished_store: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    run_id = _run_id("alpha_dropout")
    client = mlflow.MlflowClient()
    before = client.get_run(run_id).data.metrics
    mc_dropout(McDropout(run_id=run_id, mc_samples=10))
    assert "train alpha_dropout seed 2: MC Dropout " in capsys.readouterr().out
    after = client.get_run(run_id).data.metrics
    timed = {name for name in before if "microseconds" in name}
    assert timed == {"inference_microseconds", "mc_microseconds_1", "mc_microseconds_10"}
    assert all(0 < after[name] < 1e5 for name in timed)
    # One model ran under XLA, the other without: equal to float tolerance.
    same = {name: value for name, value in before.items() if name not in timed}
    assert {name: after[name] for name in same} == pytest.approx(same, rel=1e-2, abs=1e-6)
    record = json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/mc_dropout/record.json"))
    assert [one["samples"] for one in record["by_number"]] == [1, 10]
    assert record["by_number"][1]["accuracy"] == after["mc_accuracy_10"] == after["mc_accuracy"]
    assert record["by_number"][1]["ece"] == pytest.approx(after["mc_ece"], abs=1e-6)
    assert after["mc_accuracy"] == before["mc_accuracy"]
    assert len(client.get_metric_history(run_id, "mc_accuracy")) == 2


def test_run_without_dropout_is_refused(finished_store: Finished) -> None:
    with pytest.raises(InputError, match="without dropout"):
        mc_dropout(McDropout(run_id=_run_id("elu")))


def test_unknown_run_is_refused(store: Path) -> None:
    with pytest.raises(InputError, match="Copy the id from the run's page"):
        mc_dropout(McDropout(run_id="abc"))


def test_run_that_is_no_training_is_refused(finished_store: Finished) -> None:
    run, *_ = mlflow.MlflowClient().search_runs(["0"], "tags.step = 'prepare'")
    with pytest.raises(InputError, match="a prepare run"):
        mc_dropout(McDropout(run_id=run.info.run_id))
