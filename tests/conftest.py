"""Fixtures: an MLflow store of its own per test, and a data set small enough for seconds."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from pipeline.base import environment
from pipeline.base.signals import INTERRUPTING
from pipeline.tracking import outages
from pipeline.training import runtime

PROJECT = Path(__file__).parent.parent

environment.configure()  # before any test module imports MLflow
runtime.configure()  # and TensorFlow

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which `nohup make test` would have them ignore


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put slow files first, so that no test process is left alone with one at the end."""
    slow = [item.path for item in items if item.get_closest_marker("slow")]
    items.sort(key=lambda item: -slow.count(item.path))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests have to tell, such as what became of injected faults."""
    reports = [one for of in terminalreporter.stats.values() for one in of]
    for report in reports:
        if getattr(report, "when", "") == "call":
            for name, value in report.user_properties:
                if name == "told":
                    terminalreporter.write_line(str(value))


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """Undo what a command that ran in this process has set; child processes would inherit it."""
    handlers = {number: signal.getsignal(number) for number in INTERRUPTING}
    yield
    outages.set_waiting(True)
    for number, handler in handlers.items():
        signal.signal(number, handler)


def shared_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of all the processes that tests run in."""
    directory = tmp_path_factory.getbasetemp()
    return directory.parent if "PYTEST_XDIST_WORKER" in os.environ else directory


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test fetches data into the cache of whoever runs it."""
    os.environ["TWENTY_LAYERS_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database that has its tables; making them anew for every test costs seconds."""
    import mlflow

    path = shared_directory(tmp_path_factory) / "empty.db"
    with FileLock(f"{path}.lock"):
        if not path.exists():
            mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


def copy_database(original: Path, copied: Path, *, artifacts: str) -> None:
    """Copy an MLflow database, in which the address of its artifacts is written."""
    shutil.copy(original, copied)
    with closing(sqlite3.connect(copied)) as database, database:
        database.execute("UPDATE experiments SET artifact_location = ?", [artifacts])


@pytest.fixture
def store(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an empty MLflow store."""
    copy_database(empty_database, tmp_path / "mlflow.db", artifacts=str(tmp_path / "mlruns" / "0"))
    _work_in(tmp_path, monkeypatch)
    return tmp_path


@pytest.fixture
def runs_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the runs that are read from this test's store from now on."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    read: list[str] = []
    search, get = SqlAlchemyStore._search_runs, SqlAlchemyStore.get_run

    def search_and_note(*arguments: Any, **named: Any) -> Any:
        runs, token = search(*arguments, **named)
        read.extend(run.info.run_id for run in runs)
        return runs, token

    def get_and_note(store: SqlAlchemyStore, run_id: str) -> Any:
        read.append(run_id)
        return get(store, run_id)

    monkeypatch.setattr(SqlAlchemyStore, "_search_runs", search_and_note)
    monkeypatch.setattr(SqlAlchemyStore, "get_run", get_and_note)
    return read


@pytest.fixture
def dropout_model(store: Path) -> Any:
    """A small network with dropout, beside an empty store."""
    from networks import with_dropout

    return with_dropout()


@pytest.fixture
def dropout_uri(dropout_model: Any) -> str:
    """The address that it is logged at."""
    from networks import log

    return log(dropout_model)


def _work_in(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a directory and the store in it those of this test's process."""
    import mlflow

    monkeypatch.chdir(directory)
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    uri = f"sqlite:///{directory}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)


@pytest.fixture(scope="session")
def tiny_npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 training and 60 test images of 8 x 8 x 3, in 3 classes that can be learnt."""
    generator = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, size in {"train": 300, "test": 60}.items():
        labels = np.arange(size, dtype=np.uint8) % 3
        images = generator.integers(0, 120, (size, 8, 8, 3), dtype=np.uint8)
        images[np.arange(size), :, labels] += 100
        arrays |= {f"x_{split}": images, f"y_{split}": labels}
    path = tmp_path_factory.mktemp("data") / "stripes.npz"
    np.savez(path, allow_pickle=False, **arrays)
    return path


@dataclass(frozen=True)
class Finished:
    """A store in which `mlflow run` has finished a small comparison.

    Args:
        directory: working directory with `mlflow.db`, `mlruns` and `optuna.db`.
        arguments: the command line that was run.
        output: what it printed.
    """

    directory: Path
    arguments: tuple[str, ...]
    output: str


@pytest.fixture(scope="session")
def finished_original(tmp_path_factory: pytest.TempPathFactory, tiny_npz: Path) -> Finished:
    """Two variants and two seeds through `mlflow run .`, as a user runs it; made once."""
    shared = shared_directory(tmp_path_factory)
    directory = shared / "project"
    with FileLock(shared / "project.lock"):
        if not directory.exists():
            _make_comparison(directory, tiny_npz)
    arguments, output = json.loads((directory / "ran.json").read_text("utf-8"))
    return Finished(directory=directory, arguments=tuple(arguments), output=output)


def _make_comparison(directory: Path, dataset: Path) -> None:
    directory.mkdir()
    for name in ("MLproject", "conda.yaml", "pipeline"):
        source = PROJECT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, directory / name)
    parameters = {
        "dataset": dataset,
        "variants": "elu,alpha_dropout",
        "seeds": "1,2",
        "n_trials": 3,
        "search_epochs": 2,
        "epochs": 4,
        "patience": 2,
        "mc_samples": 10,
    }
    given = [text for item in parameters.items() for text in ("-P", "{}={}".format(*item))]
    arguments = ("mlflow", "run", ".", "--env-manager", "local", *given)
    done = run_in(directory, *arguments)
    (directory / "ran.json").write_text(json.dumps([arguments, done.stdout]), "utf-8")
    assert done.returncode == 0, done.stdout


def copy_of(original: Finished, directory: Path) -> Finished:
    """A finished comparison with databases of its own; the artifacts are the original's."""
    directory.mkdir()
    for name in ("mlflow.db", "optuna.db"):
        shutil.copy(original.directory / name, directory)
    for name in ("MLproject", "conda.yaml", "pipeline"):
        (directory / name).symlink_to(original.directory / name)
    return replace(original, directory=directory)


@pytest.fixture
def finished(finished_original: Finished, tmp_path: Path) -> Finished:
    """The finished comparison, in a folder that is the test's alone."""
    return copy_of(finished_original, tmp_path / "finished")


@pytest.fixture
def finished_store(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """The finished comparison, as the store that this test's process talks to."""
    _work_in(finished.directory, monkeypatch)
    return finished


def run_in(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of this environment in a directory; standard error joins the output."""
    return subprocess.run(
        arguments,
        cwd=directory,
        env=environment_of_a_user(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=900,
    )


def start_in(directory: Path, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    """Start a command of this environment in a directory, in a process group of its own."""
    return subprocess.Popen(
        arguments,
        cwd=directory,
        env={**environment_of_a_user(), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def environment_of_a_user() -> dict[str, str]:
    """This process's environment with this Python's programs, and without what `configure` set."""
    programs = Path(sys.executable).parent
    set_here = ("MLFLOW", "TF_", "CUDA_", "XLA_")
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not any(part in name for part in set_here)
    }
    return {**inherited, "PATH": f"{programs}:{os.environ['PATH']}"}
