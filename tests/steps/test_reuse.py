"""What becomes of a step: the one decision, and the one shape in which every step runs."""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from step_runs import Small, SmallPrepare, SmallSearch, finish, opened_by_mlflow_run

from pipeline.base import progress
from pipeline.base.progress import Update
from pipeline.comparisons.twenty_layers import BN
from pipeline.steps import claims, running
from pipeline.steps.claims import Claim
from pipeline.steps.running import decide, once
from pipeline.steps.step import Step, settings_tag
from pipeline.tracking import client
from pipeline.tracking.names import HIDDEN


def found(step: Step) -> str | None:
    """The id of the finished run that is used instead of a step."""
    run = decide(step, reuse="auto", experiment=client.experiment_id()).reused
    return run.info.run_id if run else None


def test_only_the_newest_finished_run_with_the_key_is_found(store: Path) -> None:
    step = Small()
    assert found(step) is None
    with (
        pytest.raises(OSError, match="disk full"),
        running.step_run("train", {}, name="failed", step=step),
    ):
        raise OSError("disk full")
    finish(Small(reads={}), name="other inputs")
    finish(None, name="without a key")
    assert found(step) is None
    finish(step, name="older")
    time.sleep(0.01)
    newest = finish(step, name="newer")
    with running.step_run("train", {}, name="running", step=step):
        assert found(step) == newest
    other = client.connect().create_experiment("another")
    assert decide(step, reuse="auto", experiment=other).reused is None
    assert decide(step, reuse="auto", experiment=None).reason == "no finished run of it yet"


def why(step: Step) -> str:
    """Why a step is to run."""
    return decide(step, reuse="auto", experiment=client.experiment_id()).reason


def test_a_miss_is_explained_by_the_nearest_run_of_the_same_comparison(store: Path) -> None:
    finish(Small(given={"comparison": "mine", "baseline": "elu"}))
    finish(Small(given={"comparison": "other", "baseline": "bn"}))
    changed = "parameter baseline changed from elu to selu"
    assert why(Small(given={"comparison": "mine", "baseline": "selu"})) == changed


def test_a_miss_names_the_changed_inputs_of_the_nearest_finished_run(store: Path) -> None:
    assert why(Small()) == "no finished run of it yet"
    run_id = finish(Small())
    three, four = ({"variant": "bn", "epochs": epochs} for epochs in (3, 4))
    assert why(Small(given=three)) == "parameter epochs changed from 2 to 3"
    assert why(Small(given={"variant": "bn"})) == "parameter epochs changed from 2 to its default"
    assert why(Small(reads={"search": "another"})) == "search changed"
    assert why(Small(given=four, reads={"search": "b"})) == (
        "parameter epochs changed from 2 to 4; search changed"
    )
    assert why(Small(given={"variant": "elu", "epochs": 2})) == "no finished run of it yet"
    assert why(SmallSearch()) == "no finished run of it yet"

    modules = {"code of pipeline.data.npz": "0123", "code of pipeline.data.splits": "4567"}
    earlier = {**Small().inputs, **modules, "version of numpy": "1.0"}
    client.connect().set_tag(run_id, f"{HIDDEN}step_inputs", json.dumps(earlier))
    client.connect().set_tag(run_id, "step_key", "of these")
    assert why(Small()) == (
        f"version of numpy changed from 1.0 to {np.__version__}; "
        "code of pipeline.data.npz, pipeline.data.splits changed"
    )
    many = {f"code of pipeline.of_old_{number}": "0123" for number in range(30)}
    client.connect().set_tag(run_id, f"{HIDDEN}step_inputs", json.dumps({**Small().inputs, **many}))
    assert why(Small()) == "code of 30 modules changed"


def test_a_changed_setting_of_a_variant_says_from_what_to_what(store: Path) -> None:
    run_id = finish(Small(settings={"activation": "swish", "units": 50}))
    assert why(Small(settings={"units": 50})) == "its inputs changed"  # of old, untold
    for name, said in settings_tag(BN, {}).items():
        client.connect().set_tag(run_id, name, said)
    assert why(Small(settings={"activation": "gelu", "units": 50})) == (
        "variant activation changed from swish to gelu"
    )
    # One that has its default is not recorded.
    assert why(Small(settings={"units": 50})) == "variant activation changed from swish to elu"
    assert why(Small(settings={"activation": "swish", "units": 50, "patience": None})) == (
        "variant patience changed from 20 to None"
    )


def test_a_miss_is_explained_even_if_the_inputs_were_too_long_to_be_recorded(store: Path) -> None:
    many = {f"run train bn seed {seed}": 32 * "a" for seed in range(200)}
    finish(Small(reads=many))
    assert why(Small(reads={})) == "its inputs changed"


def test_reuse_says_once_what_it_found_and_links_the_adopted_run(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    news: list[Update] = []
    step = Small()
    with progress.sending_to(news.append):
        assert running._reused(step, reuse="auto", announce=True) is None
        finished = finish(step, name="train bn seed 1")
        opened = opened_by_mlflow_run("train", experiment=client.experiment_id())
        monkeypatch.setenv("MLFLOW_RUN_ID", opened)
        assert running._reused(step, reuse="never", announce=True) is None
        assert "reused_run" not in client.get_run(opened).data.tags
        used = [once(step, reuse="auto", announce=announce) for announce in (True, False)]
    assert {run.info.run_id for run in used} == {finished}
    assert [one["message"] for one in news] == [
        "train bn: to run (no finished run of it yet)",
        "train bn: to run (reuse=never)",
        "train bn: reused train bn seed 1 (same inputs)",
    ]
    linked = client.get_run(opened)
    assert linked.info.run_name == "reused train bn seed 1"
    assert linked.data.tags["reused_run"] == finished
    assert f"/runs/{finished}" in linked.data.tags["mlflow.note.content"]
    assert "step_key" not in linked.data.tags


def test_a_step_of_another_entry_point_leaves_the_adopted_run_alone(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = SmallPrepare()
    finished = finish(step)
    opened = opened_by_mlflow_run("train", experiment=client.experiment_id())
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    assert once(step, reuse="auto", announce=False).info.run_id == finished
    assert "reused_run" not in client.get_run(opened).data.tags


def test_a_step_that_another_process_finished_just_before_the_lock_is_not_run_again(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, finished = Small(), []

    hold = claims.hold

    @contextmanager
    def held(key: str, name: str) -> Iterator[Claim]:
        with hold(key, name) as claim:
            finished.append(finish(step))
            yield claim

    monkeypatch.setattr(claims, "hold", held)
    assert once(step, reuse="auto").info.run_id == finished[0]


def test_a_finished_step_is_not_run_again_unless_it_is_wanted(store: Path) -> None:
    finished = finish(Small())
    assert once(Small(), reuse="auto").info.run_id == finished
    assert once(Small(), reuse="never").info.run_id != finished


@dataclass(frozen=True, kw_only=True)
class After(Small):
    """A step that reads the run of another."""

    def after(self) -> Sequence[Step]:
        return (SmallSearch(),)


def test_what_a_step_reads_is_made_first_and_handed_to_its_work(store: Path) -> None:
    run = once(After(), reuse="never")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["after"] == 1
    once(After(), reuse="never")  # the search is finished, and reused
    assert len(list(client.finished_runs("search", client.experiment_id()))) == 1


def test_a_step_that_is_made_within_an_open_run_becomes_that(store: Path) -> None:
    step = Small()
    with running.step_run("main", {"jobs": 2}, name="a comparison") as opened:
        made = once(step, reuse="auto", within=opened)
        assert (made.info.run_id, made.info.status) == (opened.run_id, "FINISHED")
    run = client.get_run(opened.run_id)
    assert run.data.tags["step"] == "train"
    assert run.data.params == {"jobs": "2", "variant": "bn", "epochs": "2"}
    assert run.data.metrics == {"after": 0}
    assert decide(step, "auto", experiment="0").reused
    assert len(client.search_runs("0", "")) == 1


def test_an_open_run_points_to_the_finished_one_that_is_used_instead(store: Path) -> None:
    finished = finish(step := Small(), name="a comparison")
    with running.step_run("main", {}, name="a comparison") as opened:
        assert once(step, reuse="auto", within=opened).info.run_id == finished
    run = client.get_run(opened.run_id)
    assert (run.info.run_name, run.info.status) == ("reused a comparison", "FINISHED")
    assert (run.data.tags["step"], run.data.tags["reused_run"]) == ("main", finished)
    assert f"/runs/{finished}?" in run.data.tags["mlflow.note.content"]
