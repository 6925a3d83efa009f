"""Commands killed at random moments and started again, against the same without a kill.

`FAULTS` (default 1) says how many times each is killed; `make faults` does it many times.
"""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import mlflow
import pytest
from conftest import PROJECT, start_in

FAULTS = int(os.environ.get("FAULTS", "1"))
CURVE = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "elapsed_seconds")

pytestmark = pytest.mark.faults


def project(directory: Path) -> Path:
    """A folder with the project in it, as a user has it."""
    directory.mkdir()
    for name in ("MLproject", "conda.yaml", "pipeline"):
        source = PROJECT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, directory / name)
    return directory


def train_command(tiny_npz: Path) -> tuple[str, ...]:
    parameters = {
        "variant": "alpha_dropout",
        "dropout_layers": "all",
        "learning_rate": 0.001,
        "epochs": 120,
        "patience": 100,
        "mc_samples": 5,
        "dataset": tiny_npz,
    }
    given = [text for item in parameters.items() for text in ("-P", "{}={}".format(*item))]
    return ("mlflow", "run", ".", "--env-manager", "local", "-e", "train", *given)


def run_whole(directory: Path, command: tuple[str, ...]) -> float:
    """Run a command to its end; returns the seconds it took."""
    started = time.monotonic()
    assert start_in(directory, *command).wait(600) == 0
    return time.monotonic() - started


def kill_after(directory: Path, command: tuple[str, ...], seconds: float) -> None:
    """Start a command and kill its whole process group after some seconds."""
    process = start_in(directory, *command)
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def curves(directory: Path) -> dict[str, list[tuple[int, float]]]:
    """The points of the one finished training run, by metric; all else has ended."""
    client = mlflow.MlflowClient(f"sqlite:///{directory}/mlflow.db")
    assert client.search_runs(["0"], "attributes.status = 'RUNNING'") == []
    query = "tags.step = 'train' and attributes.status = 'FINISHED'"
    (run,) = client.search_runs(["0"], query)
    return {
        name: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]
        for name in CURVE
    }


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, tiny_npz: Path
) -> tuple[dict[str, list[tuple[int, float]]], float]:
    """The curve of a training run that nothing happened to, and the seconds it took."""
    directory = project(tmp_path_factory.mktemp("whole") / "project")
    seconds = run_whole(directory, train_command(tiny_npz))
    return curves(directory), seconds


@pytest.mark.parametrize("fault", range(FAULTS))
def test_training_killed_and_started_again_gives_the_same_curve(
    whole: tuple[dict[str, list[tuple[int, float]]], float],
    tmp_path: Path,
    tiny_npz: Path,
    fault: int,
) -> None:
    expected, seconds = whole
    directory = project(tmp_path / "project")
    # In a single test, the moment is in the middle of training.
    share = random.Random(fault).uniform(0.1, 1.0) if FAULTS > 1 else 0.8
    kill_after(directory, train_command(tiny_npz), share * seconds)
    run_whole(directory, train_command(tiny_npz))
    received = curves(directory)
    elapsed = received.pop("elapsed_seconds")
    assert [epoch for epoch, _ in elapsed] == [epoch for epoch, _ in expected["loss"]]
    assert [value for _, value in elapsed] == sorted(value for _, value in elapsed)
    assert elapsed[-1][1] < 2 * seconds  # the time it was dead does not count
    assert received == {name: expected[name] for name in received}
