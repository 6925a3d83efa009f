import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from step_runs import Small, SmallPrepare, finish, opened_by_mlflow_run, status_of

from pipeline import command
from pipeline.parameters import Main
from pipeline.steps import running
from pipeline.steps.step import Step, recorded_inputs
from pipeline.tracking import client
from pipeline.tracking.names import revealed
from pipeline.tracking.runs import StepRun


@dataclass(frozen=True, kw_only=True)
class After(Small):
    """The same, after others of the same entry point."""

    steps: Sequence[Step] = ()

    def after(self) -> Sequence[Step]:
        return self.steps


def test_a_finished_step_has_its_parameters_and_tags(store: Path) -> None:
    step = Small()
    token = running.pipeline_run_id.set("the-pipeline-run")
    try:
        run_id = finish(step, name="train bn seed 1", tags={"variant": "bn"})
    finally:
        running.pipeline_run_id.reset(token)
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "train bn seed 1")
    assert run.data.params == {"variant": "bn", "epochs": "2"}
    tags = run.data.tags
    assert tags["step"] == "train"
    assert tags["step_key"] == step.key
    assert recorded_inputs(tags) == step.inputs
    assert tags["pipeline_run"] == "the-pipeline-run"
    assert tags["variant"] == "bn"
    assert revealed(tags)["pid"] == str(os.getpid())
    assert "failure_reason" not in tags
    shown = {name for name in tags if not name.startswith("mlflow.")}  # by the UI
    assert shown == {"step", "step_key", "pipeline_run", "variant", "host", "processor"}


def test_what_becomes_of_a_run_that_is_cut_off_is_known_from_the_beginning(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(_run: StepRun, _tags: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(StepRun, "set_tags", cut_off)
    running.pipeline_run_id.set("main")
    with pytest.raises(KeyboardInterrupt), running.step_run("train", {}, name="train bn"):
        pass
    running.pipeline_run_id.set(None)
    (run,) = client.search_runs("0", "")
    assert run.data.tags.items() >= {"step": "train", "pipeline_run": "main"}.items()
    assert revealed(run.data.tags).keys() >= {"host", "process_table", "pid", "heartbeat"}


def test_a_step_without_a_key_or_pipeline_has_no_such_tags(store: Path) -> None:
    tags = client.get_run(finish()).data.tags
    assert not {"step_key", "step_inputs", "pipeline_run"} & set(revealed(tags))


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
    prepared = finish(SmallPrepare(), name="prepare")  # a step of another name
    parameters = {"epochs": 2, "seed": 1, "batch_size": 32}
    with running.step_run("train", parameters, name="train bn") as run:
        assert run.run_id == opened
    adopted = client.get_run(opened)
    assert (adopted.info.status, adopted.info.run_name) == ("FINISHED", "train bn")
    assert adopted.data.params == {"epochs": "2.0", "seed": "1", "batch_size": "32"}
    assert prepared != opened
    assert client.get_run(prepared).info.experiment_id == experiment
    assert len(client.connect().search_runs([experiment])) == 2


def test_a_step_that_comes_before_the_one_asked_for_is_not_that_which_mlflow_run_opened(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = opened_by_mlflow_run("train", experiment="0")
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    source = After(given={"variant": "digits"})
    step = After(given={"variant": "bn"}, steps=(source,))
    assert running.once(step, "auto").info.run_id == opened
    assert client.get_run(opened).data.metrics == {"after": 1}
    (made,) = client.search_runs("0", f"attributes.run_id != '{opened}'")
    assert made.data.tags["step_key"] == source.key

    again = opened_by_mlflow_run("train", experiment="0")
    monkeypatch.setenv("MLFLOW_RUN_ID", again)
    other = After(given={"variant": "selu"}, steps=(source,))
    assert running.once(other, "auto").info.run_id == again
    assert "reused_run" not in client.get_run(again).data.tags


def test_a_name_that_a_person_gave_to_mlflow_run_stays(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = opened_by_mlflow_run("train", experiment="0")
    client.connect().set_tag(opened, "mlflow.runName", "nightly-run-7")  # as --run-name does
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    with running.step_run("train", {}, name="train bn"):
        pass
    assert client.get_run(opened).info.run_name == "nightly-run-7"


def test_the_reason_of_a_failure_is_logged_without_passwords(store: Path) -> None:
    error = OSError("no answer from postgresql://me:secret@host/db")
    with pytest.raises(OSError, match="secret"), running.step_run("train", {}, name="x") as run:
        raise error
    reason = client.get_run(run.run_id).data.tags["failure_reason"]
    assert reason == "OSError: no answer from postgresql://me:***@host/db"


def test_a_run_that_is_deleted_while_it_is_written_to_ends_its_command_in_one_line(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deleted: list[str] = []

    def compare_all(_: Main) -> None:
        with running.step_run("main", {}, name="comparison") as run:
            deleted.append(run.run_id)
            client.connect().delete_run(run.run_id)
            run.set_note("what came of it")

    monkeypatch.setattr("sys.argv", ["main"])
    with pytest.raises(SystemExit) as exited:
        command.run(compare_all)
    assert exited.value.code == 1
    again = "Give the same command again: what is missing is made again."
    said = f"Error: The run {deleted[0]} was deleted while it was written to. {again}"
    assert " ".join(capsys.readouterr().err.split()) == said
