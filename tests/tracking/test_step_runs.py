from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from pipeline.tracking import client, step_runs


def new_run() -> step_runs.StepRun:
    return step_runs.StepRun(client.connect().create_run("0").info.run_id, "0")


def status_of(run_id: str) -> str:
    return client.get_run(run_id).info.status


def test_an_adopted_run_is_ended_once(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step_runs.end_adopted_run("FAILED", reason="nothing was adopted")
    opened = client.connect().create_run("0").info.run_id
    assert status_of(opened) == "RUNNING"
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    step_runs.end_adopted_run("KILLED", reason="first")
    step_runs.end_adopted_run("FAILED", reason="second")
    run = client.get_run(opened)
    assert (run.info.status, run.data.tags["failure_reason"]) == ("KILLED", "first")


def test_killing_the_steps_of_a_pipeline_leaves_finished_and_foreign_ones(store: Path) -> None:
    connection, mine = client.connect(), {"pipeline_run": "mine"}
    finished, *running = [connection.create_run("0", tags=mine).info.run_id for _ in range(3)]
    step_runs.end_run(finished, "FINISHED")
    foreign = connection.create_run("0", tags={"pipeline_run": "other"}).info.run_id
    step_runs.kill_running_steps("mine", "0")
    assert [status_of(run_id) for run_id in running] == ["KILLED", "KILLED"]
    assert client.get_run(running[0]).data.tags["failure_reason"] == "interrupted"
    assert status_of(finished) == "FINISHED"
    assert status_of(foreign) == "RUNNING"


def test_metrics_that_are_not_finite_are_left_out(store: Path) -> None:
    run = new_run()
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

    run = new_run()
    run.log_figure(figure(), "curves/curve.png")
    figure().savefig(tmp_path / "saved.png")
    logged = client.local_artifact(run.run_id, "curves/curve.png")
    np.testing.assert_array_equal(imread(logged), imread(tmp_path / "saved.png"))
