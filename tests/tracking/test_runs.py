import json
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread
from step_runs import opened, status_of

from pipeline.comparisons import Data
from pipeline.data import npz
from pipeline.data.splitting import split_arrays
from pipeline.tracking import client
from pipeline.tracking.runs import end_if_running, end_run, kill_running_steps


def test_a_run_is_ended_once(store: Path) -> None:
    run_id = opened().run_id
    assert status_of(run_id) == "RUNNING"
    end_if_running(run_id, "KILLED", reason="first")
    end_if_running(run_id, "FAILED", reason="second")
    run = client.get_run(run_id)
    assert (run.info.status, run.data.tags["failure_reason"]) == ("KILLED", "first")


def test_a_run_that_was_taken_for_dead_and_finishes_has_no_reason_of_failure(store: Path) -> None:
    run_id = opened().run_id
    end_if_running(run_id, "KILLED", reason="its process is gone")
    end_run(run_id, "FINISHED")
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert "failure_reason" not in run.data.tags


def test_killing_the_steps_of_a_pipeline_leaves_finished_and_foreign_ones(store: Path) -> None:
    connection, mine = client.connect(), {"pipeline_run": "mine"}
    finished, *running = [connection.create_run("0", tags=mine).info.run_id for _ in range(3)]
    end_run(finished, "FINISHED")
    foreign = connection.create_run("0", tags={"pipeline_run": "other"}).info.run_id
    kill_running_steps("mine", "0")
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


def test_metrics_are_of_a_moment_where_one_is_given(store: Path) -> None:
    run = opened()
    run.log_metrics({"seeds": 3}, epoch=2, at=1_790_000_000.5)
    (point,) = client.connect().get_metric_history(run.run_id, "seeds")
    assert (point.step, point.timestamp) == (2, 1_790_000_000_500)


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


def test_of_pairs_single_images_are_trained_with(store: Path, tiny_npz: Path) -> None:
    arrays = npz.read(npz.find(str(tiny_npz)))
    splits = split_arrays(arrays, Data(val_size=30, pairs=True))
    run = opened()
    run.log_datasets(splits, location="/data/stripes.npz")
    logged = client.get_run(run.run_id).inputs
    assert logged
    profiles = {
        one.tags[0].value: json.loads(str(one.dataset.profile)) for one in logged.dataset_inputs
    }
    assert {split: profile["shape"] for split, profile in profiles.items()} == {
        "training": [270, 8, 8, 3],
        "validation": [30, 2, 8, 8, 3],
        "test": [60, 2, 8, 8, 3],
    }
    assert profiles["training"]["classes"].keys() == {"0", "1", "2"}
    assert profiles["test"]["classes"] == {"different": 30, "same": 30}


def test_the_same_data_has_the_same_digests_and_other_data_has_others(
    store: Path, tiny_npz: Path
) -> None:
    arrays = npz.read(npz.find(str(tiny_npz)))

    def digests(seed: int, per_class: int = 80) -> set[str]:
        run = opened()
        splits = split_arrays(arrays, Data(val_size=30, split_seed=seed)).few(per_class)
        run.log_datasets(splits, location="here")
        logged = client.get_run(run.run_id).inputs
        assert logged
        return {one.dataset.digest for one in logged.dataset_inputs}

    assert len(digests(1) | digests(1)) == 3
    assert len(digests(1) | digests(2)) == 6
    assert len(digests(1) | digests(1, per_class=20)) == 4  # another part is trained on
