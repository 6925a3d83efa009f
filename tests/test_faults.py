"""Commands killed at random moments and started again, against the same without a kill.

`make faults` does it 50 times: `FAULTS` is how often `main` and `search` are killed each, `train`
three times as many; of these two, every third while a clone waits for it. Among all tests is one
kill of `main`, with one variant and seed.
"""

import os
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import mlflow
import psutil
import pytest
from conftest import PROJECT, Finished, start_in
from mlflow.entities import Run
from small_layers import SMALL

FAULTS = int(os.environ.get("FAULTS", "1"))
CURVE = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate")
FINAL = (
    *("best_epoch", "best_val_loss", "best_learning_rate"),
    *("test_accuracy", "mc_accuracy"),
)
PARAMETERS: dict[str, dict[str, object]] = {
    "train": {
        "variant": "alpha_dropout",
        "comparison": SMALL,
        "learning_rate": 0.001,
        "epochs": 300,
        "patience": 250,
        "mc_samples": 5,
    },
    "search": {"variant": "bn", "comparison": SMALL, "n_trials": 8, "search_epochs": 40},
}

Points = list[tuple[int, float]]
T = TypeVar("T")


class Results(NamedTuple):
    """What a command came to: by the run's name, its curves and its final figures."""

    curves: dict[str, dict[str, Points]]
    figures: dict[str, dict[str, float]]


class Whole(NamedTuple):
    """A command that nothing happened to."""

    results: Results
    seconds: float


def project(directory: Path) -> Path:
    """A folder with the project in it, as a user has it."""
    directory.mkdir()
    for name in ("MLproject", "conda.yaml", "pipeline"):
        source = PROJECT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, directory / name)
    return directory


def command(entry_point: str, parameters: Mapping[str, object]) -> tuple[str, ...]:
    given = [text for item in parameters.items() for text in ("-P", "{}={}".format(*item))]
    return ("mlflow", "run", ".", "--env-manager", "local", "-e", entry_point, *given)


def run_whole(directory: Path, arguments: tuple[str, ...]) -> float:
    """Run a command to its end; returns the seconds it took."""
    started = time.monotonic()
    assert start_in(directory, *arguments).wait(600) == 0
    return time.monotonic() - started


def kill_all(process: psutil.Popen) -> None:
    """Kill a command and everything it started, as a machine does that dies."""
    everything = [
        psutil.Process(process.pid),
        *psutil.Process(process.pid).children(recursive=True),
    ]
    for one in everything:
        with suppress(psutil.NoSuchProcess):
            one.send_signal(signal.SIGSTOP)  # so that none reacts to another's end
    for one in everything:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()
    psutil.wait_procs(everything, timeout=10)


def kill_a_worker(process: psutil.Popen, chance: random.Random) -> None:
    """Kill one of the processes in which Dask runs steps."""
    workers = [
        one
        for one in psutil.Process(process.pid).children(recursive=True)
        if any("spawn_main" in argument for argument in one.cmdline())
    ]
    assert workers
    chance.choice(workers).kill()


def store_of(directory: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{directory}/mlflow.db")


def results_in(client: mlflow.MlflowClient) -> Results:
    """What the finished steps of a store came to; all runs have ended, no point is double."""
    assert client.search_runs(["0"], "attributes.status = 'RUNNING'") == []
    finished = client.search_runs(["0"], "attributes.status = 'FINISHED'", max_results=10_000)
    steps = [run for run in finished if run.data.tags.get("step") in ("train", "trial", "search")]
    names = [run.info.run_name for run in steps]
    assert len(set(names)) == len(names)
    curves = {
        name: {metric: _points(client, run, metric) for metric in CURVE}
        for name, run in zip(names, steps, strict=True)
    }
    for run in steps:
        for metric in run.data.metrics:
            epochs = [epoch for epoch, _ in _points(client, run, metric)]
            assert len(set(epochs)) == len(epochs), (run.info.run_name, metric)
        elapsed = [seconds for _, seconds in _points(client, run, "elapsed_seconds")]
        assert elapsed == sorted(elapsed)
    figures = {
        name: {metric: run.data.metrics[metric] for metric in FINAL if metric in run.data.metrics}
        for name, run in zip(names, steps, strict=True)
    }
    return Results(curves, figures)


def _points(client: mlflow.MlflowClient, run: Run, metric: str) -> Points:
    history = client.get_metric_history(run.info.run_id, metric)
    return sorted((point.step, point.value) for point in history)


def whole(directory: Path, arguments: tuple[str, ...]) -> Whole:
    """Run a command in a project of its own, and nothing happens to it."""
    seconds = run_whole(project(directory), arguments)
    return Whole(results_in(store_of(directory)), seconds)


def check_killed(directory: Path, arguments: tuple[str, ...], expected: Whole, fault: int) -> None:
    """Kill a command at a random moment and start it again: it comes to the same."""
    process = start_in(project(directory), *arguments)
    time.sleep(random.Random(fault).uniform(0.1, 1.0) * expected.seconds)
    kill_all(process)
    run_whole(directory, arguments)
    assert results_in(store_of(directory)) == expected.results


def check_taken_over(
    directory: Path, arguments: tuple[str, ...], expected: Whole, fault: int
) -> None:
    """Kill a command at a random moment while a clone wants the same: that comes to the same."""
    arguments = (*arguments, "-P", f"storage=sqlite:///{directory}/optuna.db")
    shared = {"MLFLOW_TRACKING_URI": f"sqlite:///{directory}/mlflow.db"}
    kill_at = time.monotonic() + random.Random(fault).uniform(0.1, 1.0) * expected.seconds
    process = start_in(project(directory), *arguments, **shared)
    # Of two `mlflow run` that make a new store, MLflow lets one fail.
    while not _has_runs(directory / "mlflow.db"):
        assert process.poll() is None
        time.sleep(0.2)
    other = start_in(project(directory.with_name("clone")), *arguments, **shared)
    time.sleep(max(0, kill_at - time.monotonic()))
    kill_all(process)
    assert other.wait(600) == 0
    # The next command, which has nothing left to do, ends what `mlflow run` had opened.
    assert start_in(directory.with_name("clone"), *arguments, **shared).wait(600) == 0
    assert results_in(store_of(directory)) == expected.results


def _has_runs(database: Path) -> bool:
    """Whether a store is made; asked through MLflow, it would be made by this process as well."""
    with (
        suppress(sqlite3.OperationalError),
        closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection,
    ):
        return connection.execute("SELECT count(*) FROM runs").fetchone()[0] > 0
    return False


@pytest.fixture(scope="session")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, tiny_npz: Path
) -> Callable[[str], tuple[tuple[str, ...], Whole]]:
    """The command of an entry point, and what it comes to when nothing happens to it."""

    @cache
    def run(entry_point: str) -> tuple[tuple[str, ...], Whole]:
        arguments = command(entry_point, {**PARAMETERS[entry_point], "dataset": tiny_npz})
        return arguments, whole(tmp_path_factory.mktemp(entry_point) / "project", arguments)

    return run


@pytest.mark.faults
@pytest.mark.parametrize(
    ("entry_point", "fault"),
    [
        *(("train", fault) for fault in range(3 * FAULTS)),
        *(("search", fault) for fault in range(FAULTS)),
    ],
)
def test_a_step_killed_and_started_again_comes_to_the_same(
    uninterrupted: Callable[[str], tuple[tuple[str, ...], Whole]],
    tmp_path: Path,
    entry_point: str,
    fault: int,
) -> None:
    arguments, expected = uninterrupted(entry_point)
    check = check_taken_over if fault % 3 == 2 else check_killed
    check(tmp_path / "project", arguments, expected, fault)


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("fault", [pytest.param(0, marks=pytest.mark.always), *range(1, FAULTS)])
def test_a_comparison_killed_and_started_again_comes_to_the_same(
    finished_original: Finished, tmp_path: Path, fault: int
) -> None:
    expected = results_in(store_of(finished_original.directory))
    arguments, seconds = finished_original.arguments, _seconds_of_steps(finished_original)
    if FAULTS == 1:
        only = {"variants=elu,alpha_dropout": "variants=elu", "seeds=1,2": "seeds=1"}
        given = (only.get(text, text).split("=", 1) for text in arguments if "=" in text)
        options = [text for name, value in given for text in (f"--{name.replace('_', '-')}", value)]
        # What `mlflow run` starts: without it, this takes ten seconds less.
        arguments = ("python", "-m", "pipeline.main", *options, "--jobs", "1")
        expected = Results(*(_of_elu_with_seed_1(part) for part in expected))
        seconds *= 0.6
    directory = project(tmp_path / "project")
    chance = random.Random(fault)
    process = start_in(directory, *arguments)
    # Counted from the first step on: how long it takes until then depends on the machine.
    _wait_for_a_step(process, directory)
    time.sleep(chance.uniform(0, 0.5 * seconds))
    kill_a_worker(process, chance)
    if fault % 2 == 0:
        time.sleep(chance.uniform(0, 0.5 * seconds))
        kill_all(process)
        run_whole(directory, arguments)
    else:
        assert process.wait(600) == 0
    assert results_in(store_of(directory)) == expected


def _of_elu_with_seed_1(by_name: dict[str, T]) -> dict[str, T]:
    return {
        name: found for name, found in by_name.items() if " elu" in name and "seed 2" not in name
    }


def _wait_for_a_step(process: psutil.Popen, directory: Path) -> None:
    studies = directory / "optuna.db"  # made when the tables of MLflow's store are there
    deadline = time.monotonic() + 300
    while not (studies.exists() and store_of(directory).search_runs(["0"], "tags.step = 'search'")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.2)


def _seconds_of_steps(finished: Finished) -> float:
    """From the beginning of the first search to the end of the last training."""
    client = store_of(finished.directory)
    runs = [
        *client.search_runs(["0"], "tags.step = 'search'"),
        *client.search_runs(["0"], "tags.step = 'train'"),
    ]
    started = min(run.info.start_time for run in runs)
    return (max(run.info.end_time for run in runs) - started) / 1000
