"""A cause taken back: in a clone of this project with one changed module, and with other data."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PROJECT, environment_of_a_user
from small_layers import SMALL

from pipeline.base import InputError
from pipeline.comparing.replicates import newest_of_each_seed
from pipeline.nights import old_code
from pipeline.nights.causes import trained_of
from pipeline.nights.record import Night
from pipeline.nights.regressions import regressions
from pipeline.steps.step import code_hash
from pipeline.tracking import client

ASKED = {"comparison": SMALL, "variants": "elu", "seeds": "1,2,3", "learning_rate": "0.002"}
ASKED |= {"epochs": "6", "patience": "6", "jobs": "1", "mc_samples": "2"}
# What `nightly` does with a night in its hands.
BISECT = """
import json, sys
from pathlib import Path
from pipeline import command
from pipeline.base import progress
from pipeline.comparing.comparison import wanted
from pipeline.nights.bisection import Tonight, bisected
from pipeline.nights.record import parsed
from pipeline.parameters import Main
from pipeline.steps.running import step_run

def found(asked):
    good, bad = (parsed(Path(f"{name}.json").read_text()) for name in ("good", "bad"))
    with step_run("nightly", {}, name="night") as run, progress.display():
        tonight = Tonight(
            of=wanted(asked), run=run, good=good, trained=bad.trained, compared=bad.compared
        )
        return [one.text for one in bisected(tonight, ["elu"])]

if __name__ == "__main__":
    texts = found(Main(**json.loads(sys.argv[1])))
    Path("texts.json").write_text(json.dumps(texts))
"""


def git(clone: Path, *arguments: str) -> str:
    command = ("git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments)
    return subprocess.run(command, cwd=clone, check=True, capture_output=True, text=True).stdout


def committed(clone: Path) -> str:
    git(clone, "add", "-A")
    git(clone, "commit", "-qm", "a version")
    return git(clone, "rev-parse", "HEAD").strip()


def run(clone: Path, *arguments: str) -> None:
    """Run this environment's Python with the clone's code, on this test's store."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env={
            **environment_of_a_user(),
            "MLFLOW_TRACKING_URI": client.tracking_uri(),
            "PYTHONPATH": str(clone),
            "PYTHONSAFEPATH": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def trainings() -> dict[int, client.Run]:
    """The newest finished training of every seed."""
    runs = client.finished_runs("train", "0")
    return newest_of_each_seed(runs)


def a_night(clone: Path, commit: str, asked: Mapping[str, str]) -> Night:
    """What is left of a comparison with the code of the clone."""
    given = [f"--{name.replace('_', '-')}={text}" for name, text in asked.items()]
    run(clone, "-m", "pipeline.main", *given)
    return Night(
        run_id="",
        began=0,
        comparison="small_layers",
        dataset="stripes",
        compared=next(client.newest_first("0", "tags.step = 'compare'")).info.run_id,
        commit=commit,
        trained={"elu": trained_of([*trainings().values()])},
    )


def relabelled(dataset: Path, path: Path) -> Path:
    """The same images, two of which have another label."""
    arrays: dict[str, Any] = dict(np.load(dataset))
    arrays["y_train"][:2] = (arrays["y_train"][:2] + 1) % 3
    np.savez(path, allow_pickle=False, **arrays)
    return path


@pytest.mark.faults
def test_the_code_is_told_from_the_data(store: Path, tiny_npz: Path) -> None:
    clone = store / "clone"
    shutil.copytree(PROJECT / "pipeline", clone / "pipeline")
    git(store, "init", "-q", str(clone))
    good = a_night(clone, committed(clone), ASKED | {"dataset": str(tiny_npz)})
    trainer = clone / "pipeline" / "training" / "trainer.py"
    text = trainer.read_text("utf-8")
    changed = text.replace("assign(learning_rate)", "assign(learning_rate / 300)")
    assert changed != text
    trainer.write_text(changed, "utf-8")
    asked = ASKED | {"dataset": str(relabelled(tiny_npz, store / "stripes.npz"))}
    bad = a_night(clone, committed(clone), asked)
    found = regressions(good, bad.compared, bad.trained, commit=bad.commit)
    assert found.regressed == ("elu",)
    assert found.findings[0].cause == (
        "What differs since: the code of training.trainer "
        f"(commit {good.commit[:7]} to {bad.commit[:7]}) and the data (of 360 images 2 relabelled)."
    )
    for name, night in {"good": good, "bad": bad}.items():
        Path(f"{name}.json").write_text(night.text(), "utf-8")
    Path("bisect_them.py").write_text(BISECT, "utf-8")
    before = {one.info.run_id for one in client.finished_runs("train", "0")}
    run(clone, "bisect_them.py", json.dumps(asked))
    with_code, with_data = json.loads(Path("texts.json").read_text("utf-8"))
    assert with_code.startswith(f"elu with the code of {good.commit[:7]}: test accuracy ")
    assert with_code.endswith(": as then, so the code is the cause.")
    assert with_data.startswith("elu with the old data: test accuracy ")
    assert with_data.endswith(": not as then, so the data alone is not the cause.")
    # They are under the night, and no comparison counts them.
    assert {one.info.run_id for one in client.finished_runs("train", "0")} == before
    (night_run,) = client.finished_runs("nightly", "0")
    made = [*client.finished_runs("bisect", "0")]
    assert len(made) == 6
    assert {one.data.tags["mlflow.parentRunId"] for one in made} == {night_run.info.run_id}
    keys = {of.replicates_key for night in (good, bad) for of in night.trained.values()}
    assert not keys & {one.data.tags["replicates_key"] for one in made}


# What cannot be taken back


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with this package."""
    clone = tmp_path_factory.mktemp("repository")
    shutil.copytree(PROJECT / "pipeline", clone / "pipeline")
    git(clone, "init", "-q")
    committed(clone)
    return clone


@pytest.fixture
def of_repository(repository: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The commit of a repository that this process's code is said to be from."""
    monkeypatch.setattr(old_code, "PACKAGE", repository / "pipeline")
    return git(repository, "rev-parse", "HEAD").strip()


def test_the_code_of_a_commit_is_what_was_recorded(of_repository: str) -> None:
    inputs = {"code of pipeline.data.splits": code_hash("pipeline.data.splits"), "search": "key"}
    with old_code.code_of(of_repository, inputs) as directory:
        assert (directory / "pipeline" / "train.py").is_file()
        assert not (directory / ".git").exists()
    assert not directory.exists()
    inputs |= {"code of pipeline.data.npz": "another"}  # of a tree that was not committed
    with (
        pytest.raises(InputError, match="which has other code"),
        old_code.code_of(of_repository, inputs),
    ):
        pass


@pytest.mark.parametrize(
    ("commit", "received"),
    [("", "none"), ("a" * 40, "aaaaaaaa.*not a"), ("--output=/tmp/x", "none"), ("HEAD", "none")],
)
def test_what_is_no_commit_of_the_repository_is_refused(
    of_repository: str, commit: str, received: str
) -> None:
    with pytest.raises(InputError, match=received), old_code.code_of(commit, {}):
        pass


def test_what_old_code_trained_to_start_from_counts_as_no_training_either(store: Path) -> None:
    def run(step: str, start_time: int, **tags: str) -> client.Run:
        created = client.connect().create_run("0", start_time, tags={"step": step, **tags})
        return client.get_run(created.info.run_id)

    before, first, source = (run("train", time).info.run_id for time in (1, 5, 6))
    search = run("search", 7, source_run=first).info.run_id
    opened = run("train", 4, source_run=source, search_run=search)
    assert {*old_code._trained_for(opened)} == {opened.info.run_id, source, first}
    opened = run("train", 4, source_run=before)
    assert [*old_code._trained_for(opened)] == [opened.info.run_id]


def test_without_git_or_a_repository_there_is_nothing_to_take_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(old_code, "PACKAGE", tmp_path / "pipeline")
    with pytest.raises(InputError, match="not a git repository"), old_code.code_of("a" * 40, {}):
        pass
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="No such file"), old_code.code_of("a" * 40, {}):
        pass
