import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from step_runs import finish, make_step, opened_by_mlflow_run

from pipeline import progress, tracking
from pipeline.progress import Update
from pipeline.reuse import explain_miss, find_finished, reusable


def test_only_the_newest_finished_run_with_the_key_is_found(store: Path) -> None:
    step, experiment = make_step(), tracking.experiment_id()
    assert find_finished(step, experiment) is None
    with (
        pytest.raises(OSError, match="disk full"),
        tracking.step_run("train", {}, name="failed", step=step),
    ):
        raise OSError("disk full")
    finish(make_step(upstream={}), name="other inputs")
    finish(None, name="without a key")
    assert find_finished(step, experiment) is None
    finish(step, name="older")
    time.sleep(0.01)
    newest = finish(step, name="newer")
    with tracking.step_run("train", {}, name="running", step=step):
        found = find_finished(step, experiment)
    assert found is not None
    assert found.info.run_id == newest
    other = tracking.client().create_experiment("another")
    assert find_finished(step, other) is None


def test_a_miss_names_the_changed_inputs_of_the_nearest_finished_run(store: Path) -> None:
    experiment = tracking.experiment_id()
    assert explain_miss(make_step(), experiment) == "no finished run of it yet"
    run_id = finish(make_step())

    def why(**changes: Any) -> str:
        return explain_miss(make_step(**changes), experiment)

    assert why(parameters={"variant": "bn", "epochs": 3}) == "parameter epochs changed from 2 to 3"
    assert why(upstream={"search": "another"}) == "search changed"
    assert why(parameters={"variant": "bn", "epochs": 4}, upstream={"search": "b"}) == (
        "parameter epochs changed from 2 to 4; search changed"
    )
    assert why(parameters={"variant": "elu", "epochs": 2}) == "no finished run of it yet"
    assert why(entry_point="search") == "no finished run of it yet"

    earlier = {**make_step().inputs, "code of pipeline.npz": "0123", "version of numpy": "1.0"}
    tracking.client().set_tag(run_id, "step_inputs", json.dumps(earlier))
    assert why() == (
        f"code of pipeline.npz changed; version of numpy changed from 1.0 to {np.__version__}"
    )


def test_a_miss_is_explained_even_if_the_inputs_were_too_long_to_be_recorded(store: Path) -> None:
    many = {f"run train bn seed {seed}": 32 * "a" for seed in range(200)}
    finish(make_step(upstream=many))
    reason = explain_miss(make_step(upstream={}), tracking.experiment_id())
    assert reason == "its inputs changed"


def test_reuse_says_once_what_it_found_and_links_the_adopted_run(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    news: list[Update] = []
    step = make_step()
    with progress.sending_to(news.append):
        assert reusable(step, name="train bn", reuse="auto") is None
        finished = finish(step, name="train bn seed 1")
        opened = opened_by_mlflow_run("train", experiment=tracking.experiment_id())
        monkeypatch.setenv("MLFLOW_RUN_ID", opened)
        assert reusable(step, name="train bn", reuse="never") is None
        assert "reused_run" not in tracking.get_run(opened).data.tags
        found = reusable(step, name="train bn", reuse="auto")
        silent = reusable(step, name="train bn", reuse="auto", announce=False)
    assert found is not None
    assert silent is not None
    assert found.info.run_id == silent.info.run_id == finished
    assert [one["message"] for one in news] == [
        "train bn: to run (no finished run of it yet)",
        "train bn: to run (reuse=never)",
        f"train bn: reused train bn seed 1 (same inputs, {finished})",
    ]
    linked = tracking.get_run(opened)
    assert linked.info.run_name == "reused train bn seed 1"
    assert linked.data.tags["reused_run"] == finished
    assert f"/runs/{finished}" in linked.data.tags["mlflow.note.content"]
    assert "step_key" not in linked.data.tags


def test_a_step_of_another_entry_point_leaves_the_adopted_run_alone(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = make_step(entry_point="prepare")
    finished = finish(step)
    opened = opened_by_mlflow_run("train", experiment=tracking.experiment_id())
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    found = reusable(step, name="prepare", reuse="auto", announce=False)
    assert found is not None
    assert found.info.run_id == finished
    assert "reused_run" not in tracking.get_run(opened).data.tags
