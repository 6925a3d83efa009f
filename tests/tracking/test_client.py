import subprocess
import sys
import time
from functools import partialmethod
from pathlib import Path

import mlflow
import numpy as np
import pytest
from conftest import PROJECT, environment_of_a_user
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_STATE
from step_runs import ended, opened

from pipeline.base import InputError, TrackingUnavailableError
from pipeline.tracking import client, outages


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
    runs = sorted(ended() for _ in range(4))
    search = partialmethod(mlflow.MlflowClient.search_runs, max_results=2)
    monkeypatch.setattr(mlflow.MlflowClient, "search_runs", search)
    monkeypatch.setattr(client, "FEW", 1)
    assert sorted(run.info.run_id for run in client.search_runs("0", "")) == runs


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
    assert list(client.finished_runs("train", experiment)) == []
    older = ended()
    time.sleep(0.01)
    newer = ended()
    ended("search")
    ended(status="FAILED")
    found = client.finished_runs("train", experiment)
    assert [run.info.run_id for run in found] == [newer, older]
