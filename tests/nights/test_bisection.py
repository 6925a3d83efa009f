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

from pipeline.nights.causes import trained_of
from pipeline.nights.record import Night
from pipeline.nights.regressions import regressions
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


def a_night(clone: Path, commit: str, asked: Mapping[str, str]) -> Night:
    """What is left of a comparison with the code of the clone."""
    given = [f"--{name.replace('_', '-')}={text}" for name, text in asked.items()]
    run(clone, "-m", "pipeline.main", *given)
    compared = next(client.newest_first("0", "tags.step = 'compare'"))
    seeds = (("seeds", seed) for seed in (1, 2, 3))
    newest = {}
    for one in client.finished_runs("train", "0"):
        newest.setdefault(one.data.params["seed"], one)
    del seeds
    return Night(
        run_id="",
        began=0,
        comparison="small_layers",
        dataset="stripes",
        compared=compared.info.run_id,
        commit=commit,
        trained={"elu": trained_of(list(newest.values()))},
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
    assert found.regressed == ["elu"], found
    print(found)
    for name, night in {"good": good, "bad": bad}.items():
        Path(f"{name}.json").write_text(night.text())
    Path("bisect_script.py").write_text(BISECT)
    run(clone, "bisect_script.py", json.dumps(asked))
    print(json.loads(Path("texts.json").read_text()))
    assert 0
