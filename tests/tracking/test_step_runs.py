import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from step_runs import finish, make_step, opened_by_mlflow_run, status_of

from pipeline.data import npz, splits
from pipeline.report import run_figures
from pipeline.steps import running
from pipeline.tracking import client, step_runs


def test_a_finished_step_has_its_parameters_and_tags(store: Path) -> None:
    step = make_step()
    token = running.pipeline_run_id.set("the-pipeline-run")
    try:
        run_id = finish(step, name="train bn seed 1", tags={"variant": "bn"}, parent_run_id="up")
    finally:
        running.pipeline_run_id.reset(token)
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "train bn seed 1")
    assert run.data.params == {"variant": "bn", "epochs": "2"}
    tags = run.data.tags
    assert tags["step"] == "train"
    assert tags["step_key"] == step.key
    assert json.loads(tags["step_inputs"]) == step.inputs
    assert tags["pipeline_run"] == "the-pipeline-run"
    assert tags["mlflow.parentRunId"] == "up"
    assert tags["variant"] == "bn"
    assert tags["pid"] == str(os.getpid())
    assert "failure_reason" not in tags


def test_a_run_has_its_owner_from_the_beginning(store: Path) -> None:
    run_id = step_runs._create("train", "train bn").run_id
    assert client.get_run(run_id).data.tags.keys() >= {"host", "pid", "heartbeat"}


def test_a_step_without_a_key_or_pipeline_has_no_such_tags(store: Path) -> None:
    tags = client.get_run(finish()).data.tags
    assert not {"step_key", "step_inputs", "pipeline_run", "mlflow.parentRunId"} & set(tags)


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (OSError("disk full"), "FAILED", "OSError: disk full"),
        (SystemExit(3), "FAILED", "SystemExit: 3"),
        (ValueError(9000 * "x"), "FAILED", ("ValueError: " + 9000 * "x")[:5000]),
        (KeyboardInterrupt(), "KILLED", "interrupted"),
    ],
)
def test_a_step_that_does_not_end_well_says_why(
    store: Path, error: BaseException, status: str, reason: str
) -> None:
    opened: list[str] = []

    def end_badly() -> None:
        with running.step_run("train", {}, name="train bn") as run:
            opened.append(run.run_id)
            assert status_of(run.run_id) == "RUNNING"
            raise error

    with pytest.raises(type(error)):
        end_badly()
    ended = client.get_run(opened[0])
    assert (ended.info.status, ended.data.tags["failure_reason"]) == (status, reason)


def test_the_run_that_mlflow_run_opened_is_adopted_by_its_entry_point(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = client.connect().create_experiment("team")
    opened = opened_by_mlflow_run("train", experiment=experiment, epochs="2.0", seed="1")
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    assert client.experiment_id() == experiment
    prepared = finish(make_step(entry_point="prepare"), name="prepare")  # a step of another name
    parameters = {"epochs": 2, "seed": 1, "batch_size": 32}
    with running.step_run("train", parameters, name="train bn") as run:
        assert run.run_id == opened
    adopted = client.get_run(opened)
    assert (adopted.info.status, adopted.info.run_name) == ("FINISHED", "train bn")
    assert adopted.data.params == {"epochs": "2.0", "seed": "1", "batch_size": "32"}
    assert prepared != opened
    assert client.get_run(prepared).info.experiment_id == experiment
    assert len(client.connect().search_runs([experiment])) == 2


def test_an_adopted_run_is_ended_once(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = client.experiment_id()
    step_runs.end_adopted_run("FAILED", reason="nothing was adopted")
    opened = opened_by_mlflow_run("train", experiment=experiment)
    assert status_of(opened) == "RUNNING"
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    step_runs.end_adopted_run("KILLED", reason="first")
    step_runs.end_adopted_run("FAILED", reason="second")
    run = client.get_run(opened)
    assert (run.info.status, run.data.tags["failure_reason"]) == ("KILLED", "first")


def test_killing_the_steps_of_a_pipeline_leaves_finished_and_foreign_ones(store: Path) -> None:
    experiment = client.experiment_id()
    mine = {"pipeline_run": "mine"}
    finished = finish(tags=mine)
    connection = client.connect()
    running = [connection.create_run(experiment, tags=mine).info.run_id for _ in range(2)]
    foreign = connection.create_run(experiment, tags={"pipeline_run": "other"}).info.run_id
    step_runs.kill_running_steps("mine", experiment)
    assert [status_of(run_id) for run_id in running] == ["KILLED", "KILLED"]
    assert client.get_run(running[0]).data.tags["failure_reason"] == "interrupted"
    assert status_of(finished) == "FINISHED"
    assert status_of(foreign) == "RUNNING"


def test_metrics_that_are_not_finite_are_left_out(store: Path) -> None:
    with running.step_run("train", {}, name="train bn") as run:
        run.log_metrics({"nan": np.nan, "inf": np.inf, "minus": -np.inf})
        numbers: dict[str, Any] = {"float32": np.float32(0.5), "int64": np.int64(3), "flag": True}
        run.log_metrics(numbers)
    assert client.get_run(run.run_id).data.metrics == {"float32": 0.5, "int64": 3, "flag": 1}


def inputs_of(run_id: str) -> dict[str, Any]:
    """The data sets that a run has as inputs, by context."""
    inputs = client.get_run(run_id).inputs
    assert inputs
    return {one.tags[0].value: one.dataset for one in inputs.dataset_inputs}


def test_a_figure_is_logged_as_matplotlib_saves_it(store: Path, tmp_path: Path) -> None:
    def figure() -> Figure:
        drawn = run_figures.blank_figure(3)
        axes = drawn.subplots()
        axes.plot([1, 3, 2])
        axes.set_title("a title")
        return drawn

    with running.step_run("train", {}, name="train bn") as run:
        run.log_figure(figure(), "curves/curve.png")
    figure().savefig(tmp_path / "saved.png")
    logged = client.local_artifact(run.run_id, "curves/curve.png")
    np.testing.assert_array_equal(imread(logged), imread(tmp_path / "saved.png"))


def test_every_split_is_logged_as_an_input_of_its_own(store: Path, tiny_npz: Path) -> None:
    arrays = npz.read(npz.find(str(tiny_npz)))
    prepared = splits.split_arrays(arrays, val_size=30, seed=1)
    with running.step_run("prepare", {}, name="prepare") as run:
        run.log_datasets(prepared, location="/data/stripes.npz")
    inputs = inputs_of(run.run_id)
    assert set(inputs) == {"training", "validation", "test"}
    assert len({dataset.digest for dataset in inputs.values()}) == 3
    assert {dataset.name for dataset in inputs.values()} == {"stripes"}
    profiles = {split: json.loads(dataset.profile) for split, dataset in inputs.items()}
    assert {split: profile["images"] for split, profile in profiles.items()} == {
        "training": 270,
        "validation": 30,
        "test": 60,
    }
    assert profiles["validation"]["classes"] == {"0": 10, "1": 10, "2": 10}
    assert profiles["test"]["shape"] == [60, 8, 8, 3]
    assert json.loads(inputs["training"].source) == {"uri": "/data/stripes.npz"}
    schema = json.loads(inputs["training"].schema)["mlflow_tensorspec"]["features"]
    assert json.loads(schema)[0]["tensor-spec"] == {"dtype": "uint8", "shape": [-1, 8, 8, 3]}


def test_the_same_data_has_the_same_digests_and_other_data_has_others(
    store: Path, tiny_npz: Path
) -> None:
    arrays = npz.read(npz.find(str(tiny_npz)))

    def digests(seed: int) -> list[str]:
        prepared = splits.split_arrays(arrays, val_size=30, seed=seed)
        with running.step_run("prepare", {}, name="prepare") as run:
            run.log_datasets(prepared, location="here")
        return sorted(dataset.digest for dataset in inputs_of(run.run_id).values())

    first = digests(1)
    assert digests(1) == first
    assert not set(digests(2)) & set(first)


# --- Reading runs -------------------------------------------------------------------------------


def test_the_reason_of_a_failure_is_logged_without_passwords(store: Path) -> None:
    error = OSError("no answer from postgresql://me:secret@host/db")
    with pytest.raises(OSError, match="secret"), running.step_run("train", {}, name="x") as run:
        raise error
    reason = client.get_run(run.run_id).data.tags["failure_reason"]
    assert reason == "OSError: no answer from postgresql://me:***@host/db"
