"""Two commands from two clones at the same moment: every step runs once, and both end well.

They have a tracking server with logins and PostgreSQL in common, and neither folder nor, in turns,
host name, process ids and workers. `CLONE_ROUNDS` (`make faults`: 3) says how often each is tried.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import mlflow
import optuna
import pytest
from browser import free_port
from conftest import PROJECT, environment_of_a_user
from logins import ADMIN, server_with_logins
from postgresql import PostgreSQL
from small_layers import SMALL

ROUNDS = int(os.environ.get("CLONE_ROUNDS", "1"))
TRIALS, VARIANTS, SEEDS = 2, ("elu", "bn"), (1, 2)
MAIN = (
    *(sys.executable, "-m", "pipeline.main", "--comparison", SMALL, "--jobs", "2"),
    *("--variants", ",".join(VARIANTS), "--seeds", ",".join(map(str, SEEDS)), "--epochs", "3"),
    *("--n-trials", str(TRIALS), "--search-epochs", "1", "--mc-samples", "2"),
    # A range with its best rate inside, which is not widened.
    *("--learning-rate-min", "0.000001", "--learning-rate-max", "100"),
)
_rounds = count(1)

pytestmark = pytest.mark.faults


@dataclass(frozen=True)
class Team:
    """A tracking server with logins, and a database for studies."""

    address: str
    storage: str

    def environment(self, experiment: str) -> dict[str, str]:
        where = {"MLFLOW_TRACKING_URI": self.address, "MLFLOW_EXPERIMENT_NAME": experiment}
        return {**environment_of_a_user(), **ADMIN, **where, "PYTHONPATH": ""}


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    directory = Path(tempfile.mkdtemp(prefix="postgresql-"))  # pytest's are closed to `postgres`
    database = PostgreSQL(directory, free_port())
    try:
        database.start()
        folder = tmp_path_factory.mktemp("server")
        with (
            server_with_logins(folder, database.uri) as address,
            pytest.MonkeyPatch.context() as patch,
        ):
            for name, value in ADMIN.items():
                patch.setenv(name, value)
            yield Team(address, database.create_database("optuna"))
    finally:
        database.stop()
        shutil.rmtree(directory)


@dataclass(frozen=True)
class Clone:
    """A folder with the project in it, and what a command there is started through."""

    directory: Path
    through: Sequence[str] = ()

    def start(self, *command: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        output = (self.directory / f"output-{time.time_ns()}").open("w")
        return subprocess.Popen(
            [*self.through, *command],
            cwd=self.directory,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def output(self) -> str:
        return "\n".join(file.read_text("utf-8") for file in self.directory.glob("output-*"))


def clone(directory: Path, *through: str) -> Clone:
    directory.mkdir()
    shutil.copytree(PROJECT / "pipeline", directory / "pipeline")
    return Clone(directory, through)


PLACES: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "folders": ((), ()),
    "hosts": (
        ("unshare", "--uts", "sh", "-c", 'hostname one && exec "$@"', "-"),
        ("unshare", "--uts", "sh", "-c", 'hostname other && exec "$@"', "-"),
    ),
    "process spaces": (
        ("unshare", "--pid", "--fork", "--mount-proc"),
        ("unshare", "--pid", "--fork", "--mount-proc"),
    ),
}


@contextmanager
def dask_cluster(directory: Path, environment: dict[str, str]) -> Iterator[tuple[str, ...]]:
    """A Dask cluster of two workers with folders of their own; yields options for `main`."""
    address = f"tcp://127.0.0.1:{free_port()}"
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--no-dashboard"]
    commands = [[*dask, "--port", address.rpartition(":")[2]]]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address]
    commands += [[*worker, "--nthreads", "1", "--no-dashboard"] for _ in range(2)]
    processes = []
    try:
        for number, command in enumerate(commands):
            folder = directory / f"dask-{number}"
            folder.mkdir()
            log = (folder / "log").open("w")
            processes.append(
                subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
            )
        yield ("--scheduler", address)
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(30)


@pytest.mark.parametrize("attempt", range(ROUNDS))
@pytest.mark.parametrize("place", [*PLACES, "dask"])
def test_every_step_runs_once(
    team: Team, tmp_path: Path, tiny_npz: Path, place: str, attempt: int
) -> None:
    experiment = f"round {next(_rounds)}"
    environment = team.environment(experiment)
    before = set(optuna.get_all_study_names(team.storage))
    if place != "folders" and shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    one, other = PLACES.get(place, ((), ()))
    clones = clone(tmp_path / "one", *one), clone(tmp_path / "other", *other)
    # Of a data set of its own name and content, so that nothing of another round is there.
    command = [*MAIN, "--dataset", str(tiny_npz), "--storage", team.storage]
    with ExitStack() as stack:
        if place == "dask":
            command += stack.enter_context(dask_cluster(tmp_path, environment))
        started = [one.start(*command, environment=environment) for one in clones]
        codes = [process.wait(600) for process in started]
    said = "\n\n".join(one.output() for one in clones)
    assert codes == [0, 0], said
    check_store(team, experiment, said)
    studies = set(optuna.get_all_study_names(team.storage)) - before
    assert len(studies) == len(VARIANTS)
    for name in studies:
        study = optuna.load_study(study_name=name, storage=team.storage)
        assert len(study.trials) == TRIALS
        assert all(trial.state.is_finished() for trial in study.trials)


def check_store(team: Team, experiment: str, said: str) -> None:
    """Every step has one run, which is FINISHED; trials are those of the studies."""
    client = mlflow.MlflowClient(team.address)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id], max_results=1000)
    ended = Counter((run.data.tags["step"], run.info.status) for run in runs)
    assert ended == {
        ("prepare", "FINISHED"): 1,
        ("search", "FINISHED"): len(VARIANTS),
        ("trial", "FINISHED"): len(VARIANTS) * TRIALS,
        ("train", "FINISHED"): len(VARIANTS) * len(SEEDS),
        ("variant", "FINISHED"): len(VARIANTS),
        ("compare", "FINISHED"): 1,  # the one of the two that compared
        **({second: 1} if (second := ("main", "FINISHED")) in ended else {}),
    }, said
    assert not [run for run in runs if "failure_reason" in run.data.tags]
    assert not [tag for tag in found.tags if ".claim." in tag]


def wait_until(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not happened():
        assert process.poll() is None
        time.sleep(0.2)


def test_a_waiting_clone_takes_over_from_one_that_is_killed(
    team: Team, tmp_path: Path, tiny_npz: Path
) -> None:
    experiment = f"round {next(_rounds)}"
    environment = team.environment(experiment)
    first, second = (clone(tmp_path / name) for name in ("first", "second"))
    train = [
        *(sys.executable, "-m", "pipeline.train", "--comparison", SMALL, "--variant", "elu"),
        *("--dataset", str(tiny_npz), "--learning-rate", "0.001", "--epochs", "2000"),
        *("--patience", "2000", "--batch-size", "4"),
    ]
    killed = first.start(*train, environment=environment)
    wait_until(lambda: "val_accuracy" in first.output(), killed)
    waiting = second.start(*train, environment=environment)
    wait_until(lambda: "waiting for process" in second.output(), waiting)
    killed.kill()
    killed.wait()
    wait_until(lambda: "taken over from process" in second.output(), waiting)
    waiting.terminate()
    assert waiting.wait(60) == 143
