"""A night as a whole: quiet, with an alarm, accepted, left to another one; as a user runs it."""

import os
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import mlflow
import pytest
from conftest import Finished, run_in
from receivers import Receiver, receiver
from step_runs import opened_by_mlflow_run

from pipeline.answers.night import Finding
from pipeline.base import InputError, StepsFailedError
from pipeline.comparing.comparison import DecidedSteps
from pipeline.comparing.crew import Crew
from pipeline.nightly import nightly
from pipeline.nights import hook, night, trend
from pipeline.nights.record import FILE, Night, parsed
from pipeline.parameters import Nightly
from pipeline.steps import claims
from pipeline.tracking import client
from pipeline.work import graph
from pipeline.work.variant_step import VariantStep

pytestmark = pytest.mark.slow


def parameters(finished: Finished) -> dict[str, Any]:
    return {name: of for name, _, of in (one.partition("=") for one in finished.arguments) if of}


@pytest.fixture
def hooked(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """What is posted by the nights of this test."""
    with receiver() as received:
        monkeypatch.setenv(hook.VARIABLE, received.address)
        hook.take()
        yield received
    hook.take()


@pytest.fixture
def replay_finds(monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    """What comes of the replay, which is tested by itself, since it takes a night's time."""
    finds = [Finding(text="Nothing was trained again.")]
    monkeypatch.setattr(night, "replay", lambda *_: finds[0])
    return finds


def nights() -> list[client.Run]:
    return client.search_runs("0", "tags.step = 'nightly'")


def record_of(run: client.Run) -> Night:
    return parsed(client.local_artifact(run.info.run_id, FILE).read_text("utf-8"))


def test_a_quiet_night_through_mlflow_run(finished_store: Finished) -> None:
    given = [text for text in finished_store.arguments[3:] if text != "mlflow"]
    done = run_in(finished_store.directory, "mlflow", "run", ".", "-e", "nightly", *given)
    assert done.returncode == 0, done.stdout
    last = [line for line in done.stdout.splitlines() if "mlflow.projects" not in line][-12:]
    assert any(line.endswith(": quiet") for line in last)
    assert "was trained again: all" in " ".join(last)
    (run,) = nights()
    assert run.info.status == "FINISHED"
    tags = run.data.tags
    assert (tags["alarm"], tags["replay"], tags["night"]) == ("no", "equal", "1")
    logged = {file.path for file in client.connect().list_artifacts(run.info.run_id)}
    assert logged == {"night.json", "report.html"}
    trained = record_of(run).trained
    assert {name: len(of.run_ids) for name, of in trained.items()} == {"elu": 2, "alpha_dropout": 2}
    assert all("code of pipeline.training.fit" in of.inputs for of in trained.values())
    assert set(trend.table("0", tags)["variant"]) == {"elu", "alpha_dropout"}


def test_an_alarm_rings_until_it_is_accepted(
    finished_store: Finished, replay_finds: list[Finding], hooked: Receiver
) -> None:
    asked = Nightly(**parameters(finished_store))
    assert nightly(asked) == 0
    assert hooked.bodies == []

    replay_finds[:] = [Finding(text="It came to other digits.", is_alarm=True, cause="Memory.")]
    assert nightly(asked) == 3
    (body,) = hooked.bodies
    assert "It came to other digits." in body["text"]
    assert (body["alarms"][0]["since"], body["alarms"][0]["cause"]) == ("", "Memory.")
    (rang, _) = nights()
    assert (rang.data.tags["alarm"], rang.info.status) == ("yes", "FINISHED")
    assert record_of(rang).alarms == ["It came to other digits."]

    assert nightly(asked) == 3  # until somebody does something
    date = str(rang.info.run_name).split()[-1]
    assert hooked.bodies[1]["alarms"][0]["since"] == date

    client.connect().set_tag(nights()[0].info.run_id, "accepted", "yes")
    assert nightly(asked) == 3
    assert hooked.bodies[2]["alarms"][0]["since"] == ""  # from the accepted one on, it is new
    assert trend.table("0", rang.data.tags)["alarm"].tolist() == 2 * [False] + 6 * [True]


def test_a_night_prepares_its_data_once(
    finished_store: Finished, replay_finds: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Mock(wraps=graph.prepared)
    monkeypatch.setattr(graph, "prepared", spy)
    assert nightly(Nightly(**parameters(finished_store))) == 0
    assert spy.call_count == 1  # with reuse=never, each time makes another run


def test_a_second_night_leaves_and_says_who_holds_it(
    finished_store: Finished, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = Nightly(**parameters(finished_store))
    opened = opened_by_mlflow_run("nightly", experiment="0")
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    with claims.hold(night.key("twenty_layers", asked.dataset), "night"):
        assert nightly(asked) == 0
    said = capfd.readouterr().out
    assert f"is running (process {os.getpid()} on " in " ".join(said.split())
    assert nights() == []  # it is none that later ones are judged by
    run = client.get_run(opened)
    assert run.info.run_name == "left to another night"
    assert "is running" in run.data.tags["mlflow.note.content"]


@pytest.mark.parametrize("given", [{}, {"dataset": "auto"}])
def test_a_night_must_not_fall_back_to_digits(store: Any, given: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="auto may fall back to digits; received 'auto'"):
        nightly(Nightly(**given))
    assert mlflow.MlflowClient().search_runs(["0"]) == []


def test_a_plan_runs_no_night(finished_store: Finished, capfd: pytest.CaptureFixture[str]) -> None:
    assert nightly(Nightly(**{**parameters(finished_store), "plan": "only"})) == 0
    assert "Nothing to run: all 6 steps are finished." in capfd.readouterr().out
    assert nights() == []


def test_where_a_step_fails_the_others_are_judged_and_the_night_fails(
    finished_store: Finished, replay_finds: list[Finding], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_crew: Crew, steps: DecidedSteps) -> tuple[dict, dict[VariantStep, str]]:
        failed = [one for one in steps.to_run if one.name == "train elu seed 3"]
        return {}, dict.fromkeys(failed, "DivergenceError: loss is nan")

    monkeypatch.setattr(Crew, "run", failing)
    with pytest.raises(StepsFailedError, match="train elu seed 3"):
        nightly(Nightly(**{**parameters(finished_store), "seeds": "1,2,3"}))
    (run,) = nights()
    assert (run.info.status, run.data.tags["alarm"]) == ("FAILED", "no")
    assert "loss is nan" in run.data.tags["failure_reason"]
    trained = record_of(run).trained
    assert {name: len(of.run_ids) for name, of in trained.items()} == {"elu": 2, "alpha_dropout": 2}
