"""Trainings with the code of a commit: as that version trains, with the packages of this one."""

import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENTRY_POINT

from pipeline.base import InputError, StepsFailedError
from pipeline.steps.step import PACKAGE
from pipeline.tracking import client
from pipeline.work.source import SOURCE_RUN

BISECT = "bisect"  # a tag: what was taken back; and the step of such a run, so that it is taken for
# no training of a comparison
SUBJECT = "code to take back"
ACTION = "Run nights from a clean tree, in a clone that has the commits of earlier ones."
OTHERS = ("reused_run", "continued_run")  # tags of a run that was opened for what another one has
_HASHES = (
    "import json, sys; from pipeline.steps.step import code_hash; "
    "print(json.dumps({name: code_hash(name) for name in sys.argv[1:]}))"
)


@contextmanager
def code_of(commit: str, inputs: Mapping[str, str]) -> Iterator[Path]:
    """A temporary folder with this package as it is in a commit.

    Raises:
        InputError: if git does not have it, or its code is not that of some inputs.
    """
    recorded = {
        name.removeprefix("code of "): of
        for name, of in inputs.items()
        if name.startswith("code of ")
    }
    with tempfile.TemporaryDirectory(prefix="twenty-layers-") as name:
        directory = Path(name)
        _extract(commit, directory)
        hashes = [sys.executable, "-c", _HASHES, *recorded]
        told = subprocess.run(hashes, env=_environment(directory), capture_output=True)
        if told.returncode or json.loads(told.stdout) != recorded:
            expected = "the code that the good night trained with"
            received = f"commit {commit}, which has other code"
            raise InputError(SUBJECT, expected=expected, received=received, action=ACTION)
        yield directory


def _extract(commit: str, directory: Path) -> None:
    """Not as a worktree: this leaves nothing in the repository when the process is killed."""
    received = "none"
    if re.fullmatch("[0-9a-f]{7,64}", commit):
        command = ["git", "archive", "--format=tar", commit, PACKAGE.name]
        try:
            packed = subprocess.run(command, cwd=PACKAGE.parent, capture_output=True)
        except OSError as error:
            received = f"{commit} ({error})"
        else:
            if packed.returncode == 0:
                with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
                    archive.extractall(directory, filter="data")
                return
            said = packed.stderr.decode(errors="replace").strip().splitlines()
            received = f"{commit} ({said[0] if said else 'git failed'})"
    raise InputError(SUBJECT, expected="a commit that git has", received=received, action=ACTION)


def _environment(directory: Path) -> dict[str, str]:
    """That of this process, with the code of a folder instead of its own."""
    return {**os.environ, "PYTHONPATH": str(directory), "PYTHONSAFEPATH": "1"}


def trained(
    directory: Path,
    trainings: Mapping[str, Mapping[str, str]],
    tags: Mapping[str, str],
    jobs: int,
) -> list[client.Run]:
    """The runs of trainings with the code in a folder, each in a process of its own.

    Finished ones with the same inputs are reused. Secrets reach them by the environment alone.

    Args:
        trainings: what the entry point `train` is given, by what the runs are called.
        tags: of the runs that are made; `BISECT` among them.
        jobs: how many train at once.

    Raises:
        StepsFailedError: if one failed.
    """
    runs: list[client.Run] = []
    failures: dict[str, str] = {}
    names = [*trainings]
    for start in range(0, len(names), jobs):
        with ExitStack() as stack:
            begun = {
                name: stack.enter_context(_training(directory, name, trainings[name], tags))
                for name in names[start : start + jobs]
            }
            for name, (run_id, process) in begun.items():
                code, run = process.wait(), client.get_run(run_id)
                if code:
                    reason = run.data.tags.get("failure_reason", f"exit code {code}")
                    failures[name] = reason
                else:
                    runs.append(_made(run))
    if failures:
        raise StepsFailedError(failures)
    return runs


@contextmanager
def _training(
    directory: Path, name: str, given: Mapping[str, str], tags: Mapping[str, str]
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A run that is opened for a training, as `mlflow run` does, and the process that it is for."""
    tags = {MLFLOW_PROJECT_ENTRY_POINT: "train", **tags}
    created = client.connect().create_run(client.experiment_id(), run_name=name, tags=tags)
    opened = created.info.run_id
    arguments = [f"--{name.replace('_', '-')}={text}" for name, text in given.items()]
    adopted = {"MLFLOW_RUN_ID": opened, "MLFLOW_TRACKING_URI": client.tracking_uri()}
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.train", *arguments],
        env={**_environment(directory), **adopted},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield opened, process
    finally:  # where this process is interrupted, too
        process.terminate()
        process.wait()
        for run_id in _trained_for(client.get_run(opened)):
            client.connect().set_tag(run_id, "step", BISECT)


def _trained_for(opened: client.Run) -> Iterator[str]:
    """The ids of a training's run, and of those that were trained for it to start from."""
    waiting = [opened]
    while waiting:
        run = waiting.pop()
        if run.data.tags.get("step") != "search":
            yield run.info.run_id
        found = (client.find_run(run.data.tags.get(tag)) for tag in ("search_run", SOURCE_RUN))
        waiting += [one for one in found if one and one.info.start_time >= opened.info.start_time]


def _made(opened: client.Run) -> client.Run:
    """The run of a training: that which was opened for it, or a finished one that was found."""
    for name in OTHERS:
        if found := opened.data.tags.get(name):
            client.connect().delete_run(opened.info.run_id)
            return client.get_run(found)
    return opened
