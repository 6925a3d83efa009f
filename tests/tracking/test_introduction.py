"""What the experiment is called and is for, when the first run in it is opened."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PROJECT
from step_runs import ended, finish, opened_by_mlflow_run

from pipeline.tracking import client, experiments, introduction


def named() -> str:
    return client.connect().get_experiment("0").name


def kind() -> str | None:
    return client.connect().get_experiment("0").tags.get("mlflow.experimentKind")


def test_the_first_run_gives_a_new_store_of_ours_a_name_and_runs_stay_together(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (named(), kind()) == ("Default", None)
    assert experiments.experiment_id() == "0"
    assert named() == "Default"  # who only reads changes nothing
    finish()
    assert (named(), kind()) == ("twenty-layers", "custom_model_development")
    monkeypatch.setenv("MLFLOW_RUN_ID", opened_by_mlflow_run("train", experiment="0"))
    finish()
    experiments._experiment_id.cache_clear()
    assert experiments.find_experiment() == experiments.experiment_id() == "0"
    assert [one.name for one in client.connect().search_experiments()] == ["twenty-layers"]


def test_a_store_of_an_earlier_version_is_named_too(store: Path) -> None:
    ended("main"), ended("trial"), opened_by_mlflow_run("main", experiment="0")
    finish()
    assert named() == "twenty-layers"


@pytest.mark.parametrize("shared", ["another run", "another experiment", "the name", "the store"])
def test_what_others_may_know_by_its_name_keeps_it(
    store: Path, monkeypatch: pytest.MonkeyPatch, shared: str
) -> None:
    if shared == "another run":
        client.connect().create_run("0")
    elif shared == "another experiment":
        other = client.connect().create_experiment("theirs")
        client.connect().delete_experiment(other)
    elif shared == "the name":
        monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "Default")
    else:
        monkeypatch.setattr(introduction, "database", lambda _: None)  # a server, or PostgreSQL
    finish()
    assert (named(), kind()) == ("Default", "custom_model_development")


def test_a_kind_that_the_experiment_has_stays(store: Path) -> None:
    client.connect().set_experiment_tag("0", "mlflow.experimentKind", "regression")
    finish()
    assert kind() == "regression"


def test_two_processes_at_once_use_one_experiment(tmp_path: Path) -> None:
    open_a_run = (
        "from step_runs import finish; from pipeline.tracking import client\n"
        "finish(); print(*(one.name for one in client.connect().search_experiments()))"
    )
    inherited = {name: value for name, value in os.environ.items() if "MLFLOW" not in name}
    environment = inherited | {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}"}
    command = [sys.executable, "-c", open_a_run]
    both = [
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[0] for process in both] == 2 * ["twenty-layers\n"]
