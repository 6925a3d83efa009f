import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from step_runs import finish, make_step, opened_by_mlflow_run, status_of

from pipeline.base import DivergenceError, progress
from pipeline.base.progress import Update
from pipeline.steps import reuse, running
from pipeline.steps.reuse import (
    checkpoint_directory,
    cut_off,
    end_abandoned,
    explain_miss,
    find_finished,
    once,
    reusable,
)
from pipeline.steps.step import Step
from pipeline.tracking import client, step_runs


def test_only_the_newest_finished_run_with_the_key_is_found(store: Path) -> None:
    step, experiment = make_step(), client.experiment_id()
    assert find_finished(step, experiment) is None
    with (
        pytest.raises(OSError, match="disk full"),
        running.step_run("train", {}, name="failed", step=step),
    ):
        raise OSError("disk full")
    finish(make_step(upstream={}), name="other inputs")
    finish(None, name="without a key")
    assert find_finished(step, experiment) is None
    finish(step, name="older")
    time.sleep(0.01)
    newest = finish(step, name="newer")
    with running.step_run("train", {}, name="running", step=step):
        found = find_finished(step, experiment)
    assert found is not None
    assert found.info.run_id == newest
    other = client.connect().create_experiment("another")
    assert find_finished(step, other) is None


def test_a_miss_names_the_changed_inputs_of_the_nearest_finished_run(store: Path) -> None:
    experiment = client.experiment_id()
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

    earlier = {**make_step().inputs, "code of pipeline.data.npz": "0123", "version of numpy": "1.0"}
    client.connect().set_tag(run_id, "step_inputs", json.dumps(earlier))
    assert why() == (
        f"code of pipeline.data.npz changed; version of numpy changed from 1.0 to {np.__version__}"
    )


def test_a_miss_is_explained_even_if_the_inputs_were_too_long_to_be_recorded(store: Path) -> None:
    many = {f"run train bn seed {seed}": 32 * "a" for seed in range(200)}
    finish(make_step(upstream=many))
    reason = explain_miss(make_step(upstream={}), client.experiment_id())
    assert reason == "its inputs changed"


def test_reuse_says_once_what_it_found_and_links_the_adopted_run(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    news: list[Update] = []
    step = make_step()
    with progress.sending_to(news.append):
        assert reusable(step, name="train bn", reuse="auto") is None
        finished = finish(step, name="train bn seed 1")
        opened = opened_by_mlflow_run("train", experiment=client.experiment_id())
        monkeypatch.setenv("MLFLOW_RUN_ID", opened)
        assert reusable(step, name="train bn", reuse="never") is None
        assert "reused_run" not in client.get_run(opened).data.tags
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
    linked = client.get_run(opened)
    assert linked.info.run_name == "reused train bn seed 1"
    assert linked.data.tags["reused_run"] == finished
    assert f"/runs/{finished}" in linked.data.tags["mlflow.note.content"]
    assert "step_key" not in linked.data.tags


def test_a_step_of_another_entry_point_leaves_the_adopted_run_alone(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = make_step(entry_point="prepare")
    finished = finish(step)
    opened = opened_by_mlflow_run("train", experiment=client.experiment_id())
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    found = reusable(step, name="prepare", reuse="auto", announce=False)
    assert found is not None
    assert found.info.run_id == finished
    assert "reused_run" not in client.get_run(opened).data.tags


# --- One run at a time --------------------------------------------------------------------------

RUN_ONCE = """
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from pipeline.tracking import step_runs
from pipeline.steps.reuse import once
from step_runs import make_step

def run():
    with running.step_run("train", {}, name="train bn", step=make_step()) as run:
        Path("began").touch()
        while not Path("end").exists():
            time.sleep(0.05)
    return run.run_id

print(once(make_step(), name="train bn", reuse="auto", run=run))
"""


@pytest.fixture
def first(store: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which runs the step until there is a file named end."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN_ONCE],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    while not (store / "began").exists():
        assert process.poll() is None
        time.sleep(0.05)
    yield process
    process.kill()
    process.wait()


def test_of_two_processes_the_second_waits_and_reuses_the_run_of_the_first(
    store: Path, first: subprocess.Popen[str]
) -> None:
    said: list[str] = []

    def watch(news: Update) -> None:
        said.append(news["message"])
        if "waiting" in said[-1]:
            (store / "end").touch()

    with progress.sending_to(watch):
        run_id = once(make_step(), name="train bn", reuse="auto", run=lambda: "another run")
    assert first.communicate(timeout=60)[0].split()[-1] == run_id
    assert [run.info.run_id for run in client.finished_runs("train", client.experiment_id())] == [
        run_id
    ]
    waiting = f"train bn: waiting for process {first.pid} on {socket.gethostname()} (run {run_id})"
    assert f"{waiting}, which runs it now." in said


def test_a_hold_ends_with_its_process_and_the_run_is_marked_killed(
    first: subprocess.Popen[str],
) -> None:
    (abandoned,) = client.search_runs(client.experiment_id(), "attributes.status = 'RUNNING'")
    first.kill()
    first.wait()
    step = make_step()

    def run() -> str:
        assert status_of(abandoned.info.run_id) == "KILLED"
        found = cut_off(step)
        assert found is not None
        assert found.info.run_id == abandoned.info.run_id
        with running.step_run("train", {}, name="train bn", step=step, reopened=found) as again:
            assert status_of(again.run_id) == "RUNNING"
        return again.run_id

    assert once(step, name="train bn", reuse="auto", run=run) == abandoned.info.run_id
    finished = client.get_run(abandoned.info.run_id)
    assert finished.info.status == "FINISHED"
    assert "failure_reason" not in finished.data.tags


def test_a_step_that_another_process_finished_just_before_the_lock_is_not_run_again(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, finished = make_step(), []

    @contextmanager
    def hold(_step: Step, _name: str) -> Iterator[bool]:
        finished.append(finish(step))
        yield False

    monkeypatch.setattr(reuse, "_hold", hold)
    assert once(step, name="train bn", reuse="auto", run=lambda: "another") == finished[0]


def test_a_finished_step_is_not_run_again_unless_it_is_wanted(store: Path) -> None:
    finished = finish(make_step())

    def run() -> str:
        return "another"

    assert once(make_step(), name="train bn", reuse="auto", run=run) == finished
    assert once(make_step(), name="train bn", reuse="never", run=run) == "another"


def test_the_run_of_a_living_process_on_any_host_is_left_alone(store: Path) -> None:
    with running.step_run("train", {}, name="here") as here:
        elsewhere = client.connect().create_run(here.experiment).info.run_id
        tags = client.get_run(here.run_id).data.tags
        for name in ("step", "pid", "process_started", "heartbeat"):
            client.connect().set_tag(elsewhere, name, tags[name])
        client.connect().set_tag(elsewhere, "host", "another-host")
        foreign = client.connect().create_run(here.experiment).info.run_id
        end_abandoned(here.experiment)
        assert [status_of(run_id) for run_id in (here.run_id, elsewhere, foreign)] == [
            "RUNNING",
            "RUNNING",
            "RUNNING",
        ]


def test_the_run_of_a_shell_that_is_gone_is_ended(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = opened_by_mlflow_run("train", experiment=client.experiment_id())
    end_abandoned(client.experiment_id())
    assert status_of(opened) == "RUNNING"  # it may have been opened a moment ago
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 60)
    end_abandoned(client.experiment_id())
    assert status_of(opened) == "KILLED"


def test_entry_points_of_shells_are_those_of_mlproject() -> None:
    project = yaml.safe_load((Path(__file__).parents[2] / "MLproject").read_text("utf-8"))
    assert set(project["entry_points"]) == set(step_runs.ENTRY_POINTS)


# --- Runs that were cut off ---------------------------------------------------------------------


def fail(step: Step, error: BaseException, *, epochs: int = 0) -> str:
    """The id of a run that logged some epochs and ended with an error."""
    with suppress(type(error)), running.step_run("train", {}, name="train", step=step) as run:
        for epoch in range(1, epochs + 1):
            run.log_epoch(epoch, {"elapsed_seconds": epoch})
        run.flush()
        raise error
    assert status_of(run.run_id) in ("FAILED", "KILLED")
    return run.run_id


def test_a_run_goes_on_where_its_checkpoint_is_or_nothing_was_logged(store: Path) -> None:
    step = make_step()
    assert cut_off(step) is None
    finish(step)
    assert cut_off(step) is None
    logged = fail(step, KeyboardInterrupt(), epochs=2)
    assert cut_off(step) is None
    checkpoint_directory(logged).mkdir(parents=True)
    found = cut_off(step)
    assert found is not None
    assert found.info.run_id == logged
    time.sleep(0.01)
    empty = fail(step, OSError("disk full"))
    found = cut_off(step)
    assert found is not None
    assert found.info.run_id == empty


def test_a_diverged_run_does_not_go_on(store: Path) -> None:
    step = make_step()
    run_id = fail(step, DivergenceError("loss became nan in epoch 2"), epochs=1)
    checkpoint_directory(run_id).mkdir(parents=True)
    assert cut_off(step) is None
    tags = client.get_run(run_id).data.tags
    assert tags["diverged"] == "loss became nan in epoch 2"


def test_a_run_that_goes_on_logs_no_epoch_twice(store: Path) -> None:
    step = make_step()
    checkpoint_directory(fail(step, KeyboardInterrupt(), epochs=2)).mkdir(parents=True)
    with running.step_run("train", {}, name="train bn", reopened=cut_off(step)) as run:
        for epoch in (1, 2, 3):
            run.log_epoch(epoch, {"elapsed_seconds": epoch})
    history = client.connect().get_metric_history(run.run_id, "elapsed_seconds")
    assert [(metric.step, metric.value) for metric in history] == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_run_that_goes_on_logs_no_final_figure_twice(store: Path) -> None:
    step = make_step()
    with (
        suppress(KeyboardInterrupt),
        running.step_run("train", {}, name="train", step=step) as run,
    ):
        run.log_metrics({"test_accuracy": 0.5})
        raise KeyboardInterrupt
    with running.step_run("train", {}, name="train", reopened=cut_off(step)) as run:
        run.log_metrics({"test_accuracy": 0.5, "mc_accuracy": 0.6})
    for name, value in {"test_accuracy": 0.5, "mc_accuracy": 0.6}.items():
        history = client.connect().get_metric_history(run.run_id, name)
        assert [metric.value for metric in history] == [value]


def test_under_mlflow_run_the_new_run_points_to_the_one_that_goes_on(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = make_step()
    earlier = fail(step, KeyboardInterrupt())
    opened = opened_by_mlflow_run("train", experiment=client.experiment_id())
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    with running.step_run("train", {}, name="train bn", step=step, reopened=cut_off(step)) as run:
        assert run.run_id == earlier
    linked = client.get_run(opened)
    assert linked.data.tags["continued_run"] == earlier
    assert "was cut off and goes on" in linked.data.tags["mlflow.note.content"]
