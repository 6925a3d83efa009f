import json
import subprocess
import sys
import time
from functools import partialmethod
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from conftest import PROJECT, environment_of_a_user
from matplotlib.figure import Figure
from matplotlib.image import imread
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_STATE

from pipeline.base import InputError, TrackingUnavailableError
from pipeline.comparisons import Data
from pipeline.data import npz
from pipeline.data.splits import split_arrays
from pipeline.tracking import client, outages
from pipeline.tracking.client import StepRun, end_if_running, end_run


def opened(entry_point: str = "train") -> StepRun:
    run = client.connect().create_run("0", tags={"step": entry_point})
    return StepRun(run.info.run_id, "0")


def status_of(run_id: str) -> str:
    return client.get_run(run_id).info.status


def ended(entry_point: str = "train", status: str = "FINISHED") -> str:
    run_id = opened(entry_point).run_id
    end_run(run_id, status)
    return run_id


def test_the_experiment_in_force_is_the_one_the_environment_names(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.experiment_id() == "0"
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "nightly")
    created = client.experiment_id()
    assert client.connect().get_experiment(created).name == "nightly"
    assert client.experiment_id() == created
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "0")
    assert client.experiment_id() == "0"


@pytest.mark.slow
def test_processes_that_open_a_new_store_at_the_same_moment_share_it(tmp_path: Path) -> None:
    opening = "from pipeline.tracking import client; print(client.experiment_id())"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", opening],
            cwd=tmp_path,
            env={**environment_of_a_user(), "PYTHONPATH": str(PROJECT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[0] for process in processes] == ["0\n"] * 2


def test_a_call_inside_another_waits_for_the_server_and_the_outer_one_not_again(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(outages, "LONGEST_PAUSE", 0.01)
    run_id, attempts, needed = ended(), 0, 3

    def log_artifact(_client: object, *_arguments: object) -> None:
        nonlocal attempts
        attempts += 1
        if attempts < needed:
            raise ConnectionError("refused")

    monkeypatch.setattr(mlflow.MlflowClient, "log_artifact", log_artifact)
    client.connect().log_text(run_id, "curve", "curve.txt")  # which calls `log_artifact`
    assert attempts == needed
    needed = 10**6
    monkeypatch.setenv("TRACKING_WAIT_SECONDS", "0.2")
    started = time.monotonic()
    with pytest.raises(TrackingUnavailableError, match="refused"):
        client.connect().log_text(run_id, "curve", "curve.txt")
    assert time.monotonic() - started < 0.4
    assert capsys.readouterr().out.count("waiting for it") == 2  # once in every call


def test_all_runs_are_found_page_by_page(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {ended() for _ in range(3)}
    search = partialmethod(mlflow.MlflowClient.search_runs, max_results=2)
    monkeypatch.setattr(mlflow.MlflowClient, "search_runs", search)
    assert {run.info.run_id for run in client.search_runs("0", "")} == runs


def test_histories_have_every_epochs_value(store: Path) -> None:
    run = opened()
    run.log_epoch(1, {"loss": 2.0, "val_loss": np.nan})
    run.log_epoch(2, {"loss": 1.5, "val_loss": 1.75})
    run.log_epoch(3, {"loss": 1.25, "val_loss": 1.5})
    run.flush()
    assert client.metric_histories(run.run_id, ["loss", "val_loss", "absent"]) == {
        "loss": {1: 2.0, 2: 1.5, 3: 1.25},
        "val_loss": {2: 1.75, 3: 1.5},
        "absent": {},
    }


@pytest.mark.parametrize("run_id", ["0123456789abcdef0123456789abcdef", "no id", ""])
def test_an_unknown_run_id_is_refused_with_the_store_that_was_asked(
    store: Path, run_id: str
) -> None:
    with pytest.raises(InputError) as error:
        client.get_run(run_id)
    assert error.value.subject == "run_id"
    assert error.value.received == repr(run_id)
    assert str(store / "mlflow.db") in error.value.expected


def test_another_error_than_an_unknown_id_is_not_taken_for_one(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_client: object, _run_id: str) -> None:
        raise MlflowException("No such column", error_code=INVALID_STATE)

    monkeypatch.setattr(mlflow.MlflowClient, "get_run", refuse)
    with pytest.raises(MlflowException, match="No such column"):
        client.get_run("0123456789abcdef0123456789abcdef")


def test_a_local_artifact_is_not_copied(store: Path) -> None:
    run_id = ended()
    client.connect().log_text(run_id, "curve", "plots/curve.txt")
    artifacts = Path(client.get_run(run_id).info.artifact_uri)
    assert client.local_artifact(run_id, "plots") == artifacts / "plots"
    assert client.local_artifact(run_id, "plots/curve.txt").read_text() == "curve"
    assert artifacts.is_relative_to(store)
    with pytest.raises(MlflowException, match="No such artifact"):
        client.local_artifact(run_id, "absent")


@pytest.mark.slow
def test_an_artifact_is_downloaded_once_per_process_and_deleted_at_its_end(store: Path) -> None:
    program = (
        "from pipeline.tracking import client\n"
        "run_id = client.connect().create_run('0').info.run_id\n"
        "client.connect().log_text(run_id, 'pixels', 'data/images.txt')\n"
        "client.is_local_uri = lambda *_, **__: False\n"
        "first, again = (client.local_artifact(run_id, 'data') for _ in range(2))\n"
        "assert first == again\n"
        "print((first / 'images.txt').read_text(), first)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=store,
        env={**environment_of_a_user(), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    content, directory = ran.stdout.split()
    assert content == "pixels"
    assert not Path(directory).exists()
    assert not Path(directory).is_relative_to(store)


def test_finished_runs_of_an_entry_point_come_newest_first(store: Path) -> None:
    experiment = client.experiment_id()
    assert client.finished_runs("train", experiment) == []
    older = ended()
    time.sleep(0.01)
    newer = ended()
    ended("search")
    ended(status="FAILED")
    found = client.finished_runs("train", experiment)
    assert [run.info.run_id for run in found] == [newer, older]


def test_a_run_is_ended_once(store: Path) -> None:
    run_id = opened().run_id
    assert status_of(run_id) == "RUNNING"
    end_if_running(run_id, "KILLED", reason="first")
    end_if_running(run_id, "FAILED", reason="second")
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["failure_reason"]) == ("KILLED", "first")


def test_killing_the_steps_of_a_pipeline_leaves_finished_and_foreign_ones(store: Path) -> None:
    connection, mine = client.connect(), {"pipeline_run": "mine"}
    finished, *running = [connection.create_run("0", tags=mine).info.run_id for _ in range(3)]
    client.end_run(finished, "FINISHED")
    foreign = connection.create_run("0", tags={"pipeline_run": "other"}).info.run_id
    client.kill_running_steps("mine", "0")
    assert [status_of(run_id) for run_id in running] == ["KILLED", "KILLED"]
    assert client.get_run(running[0]).data.tags["failure_reason"] == "interrupted"
    assert status_of(finished) == "FINISHED"
    assert status_of(foreign) == "RUNNING"


def test_metrics_that_are_not_finite_are_left_out(store: Path) -> None:
    run = opened()
    run.log_metrics({"nan": np.nan, "inf": np.inf, "minus": -np.inf})
    numbers: dict[str, Any] = {"float32": np.float32(0.5), "int64": np.int64(3), "flag": True}
    run.log_metrics(numbers)
    assert client.get_run(run.run_id).data.metrics == {"float32": 0.5, "int64": 3, "flag": 1}


def test_a_figure_is_logged_as_matplotlib_saves_it(store: Path, tmp_path: Path) -> None:
    def figure() -> Figure:
        drawn = Figure(figsize=(4, 3), layout="constrained")
        axes = drawn.subplots()
        axes.plot([1, 3, 2])
        axes.set_title("a title")
        return drawn

    run = opened()
    run.log_figure(figure(), "curves/curve.png")
    figure().savefig(tmp_path / "saved.png")
    logged = client.local_artifact(run.run_id, "curves/curve.png")
    np.testing.assert_array_equal(imread(logged), imread(tmp_path / "saved.png"))


def test_every_split_is_logged_as_an_input_of_its_own(store: Path, tiny_npz: Path) -> None:
    arrays = npz.read(npz.find(str(tiny_npz)))
    splits = split_arrays(arrays, Data(val_size=30, split_seed=1))
    run = opened()
    run.log_datasets(splits, location="/data/stripes.npz")
    logged = client.get_run(run.run_id).inputs
    assert logged
    inputs = {one.tags[0].value: one.dataset for one in logged.dataset_inputs}
    assert set(inputs) == {"training", "validation", "test"}
    assert len({dataset.digest for dataset in inputs.values()}) == 3
    assert {dataset.name for dataset in inputs.values()} == {"stripes"}
    profiles = {split: json.loads(str(dataset.profile)) for split, dataset in inputs.items()}
    assert {split: profile["images"] for split, profile in profiles.items()} == {
        "training": 270,
        "validation": 30,
        "test": 60,
    }
    assert profiles["validation"]["classes"] == {"0": 10, "1": 10, "2": 10}
    assert profiles["test"]["shape"] == [60, 8, 8, 3]
    assert json.loads(str(inputs["training"].source)) == {"uri": "/data/stripes.npz"}
    schema = json.loads(str(inputs["training"].schema))["mlflow_tensorspec"]["features"]
    assert json.loads(schema)[0]["tensor-spec"] == {"dtype": "uint8", "shape": [-1, 8, 8, 3]}


def test_the_same_data_has_the_same_digests_and_other_data_has_others(
    store: Path, tiny_npz: Path
) -> None:
    arrays = npz.read(npz.find(str(tiny_npz)))

    def digests(seed: int) -> set[str]:
        run = opened()
        splits = split_arrays(arrays, Data(val_size=30, split_seed=seed))
        run.log_datasets(splits, location="here")
        logged = client.get_run(run.run_id).inputs
        assert logged
        return {one.dataset.digest for one in logged.dataset_inputs}

    assert len(digests(1) | digests(1)) == 3
    assert len(digests(1) | digests(2)) == 6
