"""One process runs a step at a time; runs whose process is gone are ended, or gone on with."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from step_runs import Small, finish, opened_by_mlflow_run, status_of

from pipeline.base import DivergenceError, progress
from pipeline.base.progress import Update
from pipeline.steps import claims, owners, running
from pipeline.steps.resuming import checkpoints_of, cut_off, end_abandoned
from pipeline.steps.running import once
from pipeline.steps.step import Step
from pipeline.tracking import client
from pipeline.tracking.names import revealed
from pipeline.tracking.runs import StepRun
from pipeline.training.checkpoints import Checkpoint, Checkpoints

RUN_ONCE = """
import time
from pathlib import Path
from pipeline.steps.running import once
from step_runs import Small

class Long(Small):
    __module__ = Small.__module__

    def work(self, run, after):
        Path("began").touch()
        while not Path("end").exists():
            time.sleep(0.05)

print(once(Long(), reuse="auto").info.run_id)
"""


class GoesOn(Small):
    """A step that goes on in the run that was cut off."""

    resumes = True


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
        run_id = once(Small(), reuse="auto").info.run_id
    assert first.communicate(timeout=60)[0].split()[-1] == run_id
    assert [run.info.run_id for run in client.finished_runs("train", client.experiment_id())] == [
        run_id
    ]
    waiting = f"train bn: waiting for process {first.pid} on {socket.gethostname()}"
    assert f"{waiting}, which runs it now." in said


def test_a_hold_ends_with_its_process_and_the_run_is_marked_killed_and_gone_on_with(
    first: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (abandoned,) = client.search_runs(client.experiment_id(), "attributes.status = 'RUNNING'")
    first.kill()
    first.wait()
    statuses = []
    open_run = running.step_run

    def watched(*arguments: object, **named: object) -> object:
        statuses.append(status_of(abandoned.info.run_id))
        return open_run(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "step_run", watched)
    assert once(GoesOn(), reuse="auto").info.run_id == abandoned.info.run_id
    assert statuses == ["KILLED"]
    finished = client.get_run(abandoned.info.run_id)
    assert finished.info.status == "FINISHED"
    assert "failure_reason" not in finished.data.tags


def test_a_step_that_was_taken_over_is_left_to_who_took_it(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others: list[str] = []

    class TakenOver(Small):
        __module__ = Small.__module__

        def work(self, run: StepRun, after: Sequence[client.Run]) -> None:
            super().work(run, after)
            # Another machine did not hear of this process, took over, and has finished.
            tag = f"{claims.PREFIX}{self.key[:32]}.other"
            owner = {**owners.owner_tags(), "process_table": "elsewhere"}
            said = json.dumps({"number": 9, "holds": True, **owner})
            client.connect().set_experiment_tag("0", tag, said)
            others.extend((run.run_id, finish(self)))
            let_go = partial(client.connect().delete_experiment_tag, "0", tag)
            threading.Timer(0.5, let_go).start()

    found = once(TakenOver(), reuse="auto").info.run_id
    mine, finished = others
    assert found == finished
    assert status_of(mine) == "KILLED"
    assert "train bn: another process took it over" in capsys.readouterr().out


def test_the_run_of_a_living_process_on_any_host_is_left_alone(store: Path) -> None:
    with running.step_run("train", {}, name="here") as here:
        elsewhere = client.connect().create_run(here.experiment).info.run_id
        tags = revealed(client.get_run(here.run_id).data.tags)  # by the names in an older store
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


# --- Runs that were cut off ---------------------------------------------------------------------


def keep_a_checkpoint(run_id: str) -> None:
    checkpoints_of(run_id).save(Checkpoint(2, {}, {}))


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
    step = Small()
    assert cut_off(step) is None
    finish(step)
    assert cut_off(step) is None
    logged = fail(step, KeyboardInterrupt(), epochs=2)
    assert cut_off(step) is None
    keep_a_checkpoint(logged)
    found = cut_off(step)
    assert found is not None
    assert found.info.run_id == logged
    time.sleep(0.01)
    empty = fail(step, OSError("disk full"))
    found = cut_off(step)
    assert found is not None
    assert found.info.run_id == empty


def test_a_step_goes_on_from_the_folder_that_it_keeps_checkpoints_in(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Elsewhere(GoesOn):
        checkpoints = f"file://{tmp_path}/elsewhere"

    cut = fail(GoesOn(), KeyboardInterrupt(), epochs=2)
    Checkpoints(tmp_path / "elsewhere" / cut).save(Checkpoint(2, {}, {}))
    again = once(GoesOn(), reuse="never").info.run_id
    assert again != cut
    said = f"begins again, since there is nothing in {Path.cwd()}/checkpoints/{cut}."
    assert said in capsys.readouterr().out
    assert once(Elsewhere(), reuse="never").info.run_id == cut
    assert "begins again" not in capsys.readouterr().out
    assert list((tmp_path / "elsewhere").glob("*/")) == []


def test_a_diverged_run_does_not_go_on(store: Path) -> None:
    step = Small()
    run_id = fail(step, DivergenceError("loss became nan in epoch 2"), epochs=1)
    keep_a_checkpoint(run_id)
    assert cut_off(step) is None
    tags = client.get_run(run_id).data.tags
    assert tags["diverged"] == "loss became nan in epoch 2"


def test_a_run_that_goes_on_logs_no_epoch_twice(store: Path) -> None:
    step = Small()
    keep_a_checkpoint(fail(step, KeyboardInterrupt(), epochs=2))
    with running.step_run("train", {}, name="train bn", reopened=cut_off(step)) as run:
        for epoch in (1, 2, 3):
            run.log_epoch(epoch, {"elapsed_seconds": epoch})
    history = client.connect().get_metric_history(run.run_id, "elapsed_seconds")
    assert [(metric.step, metric.value) for metric in history] == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_a_run_that_goes_on_logs_no_final_figure_twice(store: Path) -> None:
    step = Small()
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
    step = Small()
    earlier = fail(step, KeyboardInterrupt())
    opened = opened_by_mlflow_run("train", experiment=client.experiment_id())
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    with running.step_run("train", {}, name="train bn", step=step, reopened=cut_off(step)) as run:
        assert run.run_id == earlier
    linked = client.get_run(opened)
    assert linked.data.tags["continued_run"] == earlier
    assert "was cut off and goes on" in linked.data.tags["mlflow.note.content"]
