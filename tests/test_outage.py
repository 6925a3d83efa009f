"""The tracking server, or its database, away while a step runs: a real one of each.

`OUTAGE_SECONDS` (`make faults`: 60) says for how long the server is away at least while a network
is trained.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from statistics import median

import mlflow
import optuna
import pytest
from browser import free_port
from conftest import PROJECT, environment_of_a_user
from mlflow.entities import Metric, Run
from postgresql import PostgreSQL
from small_layers import SMALL
from sqlalchemy import event

from pipeline.tracking.server import server as mlflow_server
from pipeline.work.storage import create_storage

OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "0"))
FEW, MANY = 200, max(200, int(12 * OUTAGE_SECONDS))  # epochs, about 25 a second
_seeds = count(1)  # a seed of its own per training run, so that none is reused


class TrackingServer:
    """An MLflow server on PostgreSQL that can be stopped and started at the same address."""

    def __init__(self, directory: Path):
        self.database = PostgreSQL(directory, free_port())
        self.port = free_port()
        self._running = ExitStack()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        server = mlflow_server(host="127.0.0.1", port=self.port, store=self.database.uri)
        self._running.enter_context(server)

    def stop(self) -> None:
        self._running.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    """A started server; its artifacts lie in a directory of its own."""
    directory = Path(tempfile.mkdtemp(prefix="postgresql-"))  # pytest's are closed to `postgres`
    started = TrackingServer(directory)
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("server"))  # where it keeps its artifacts
    try:
        started.database.start()
        started.start()
        yield started
    finally:
        started.stop()
        started.database.stop()
        os.chdir(before)
        shutil.rmtree(directory)


class Training:
    """A training run of short epochs, as its own process.

    Args:
        server: the tracking server.
        dataset: path of an `.npz`.
        directory: where it runs.
        epochs: how many.
        environment: further environment variables.
    """

    def __init__(
        self,
        server: TrackingServer,
        dataset: Path,
        directory: Path,
        *,
        epochs: int = FEW,
        **environment: str,
    ):
        self.seed, self.epochs = next(_seeds), epochs
        self._client = mlflow.MlflowClient(server.address)
        self._directory = directory
        self._environment = {
            **environment_of_a_user(),
            "MLFLOW_TRACKING_URI": server.address,
            "PYTHONPATH": str(PROJECT),
        }
        self._command = [
            *(sys.executable, "-m", "pipeline.train", "--variant", "elu", "--comparison", SMALL),
            *("--learning-rate", "0.0001", "--batch-size", "4", "--seed", str(self.seed)),
            *("--epochs", str(epochs), "--patience", "none", "--dataset", str(dataset)),
        ]
        self.start(**environment)

    def start(self, **environment: str) -> None:
        """Start the command, or start it again."""
        self._log = (self._directory / f"{self.seed}.log").open("w+")
        self._process = subprocess.Popen(
            self._command,
            cwd=self._directory,
            env=self._environment | environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def wait_for_epoch(self, epoch: int) -> None:
        """Wait until the server has an epoch's metrics."""
        deadline = time.monotonic() + 180
        while not (found := self.runs()) or len(self.points(found[0], "train_loss")) < epoch:
            assert self._process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.2)

    def trained(self) -> int:
        """The last epoch that is trained, be it logged or not."""
        found = self._directory.glob("checkpoints/*/epoch-*.npz")
        return max((int(path.stem[-6:]) for path in found), default=0)

    def wait_for_more(self, epochs: int) -> None:
        """Wait until so many more epochs are trained, or all."""
        wanted = min(self.trained() + epochs, self.epochs)
        while self.trained() < wanted:
            assert self.is_running(), self.output()
            time.sleep(0.2)

    def wait(self) -> int:
        """The exit code, when the command has ended."""
        return self._process.wait(900)

    def is_running(self) -> bool:
        return self._process.poll() is None

    def output(self) -> str:
        """What the command has printed."""
        self._log.flush()
        self._log.seek(0)
        return self._log.read()

    def runs(self) -> list[Run]:
        """Its runs on the server, whatever has become of them."""
        query = f"tags.step = 'train' and params.seed = '{self.seed}'"
        return list(self._client.search_runs(["0"], query))

    def points(self, run: Run, metric: str) -> list[Metric]:
        """A metric's points, in order of epoch and time."""
        history = self._client.get_metric_history(run.info.run_id, metric)
        return sorted(history, key=lambda point: (point.step, point.timestamp))

    def curve(self) -> list[Metric]:
        """The validation losses of the one run, which is finished, complete, and in order."""
        (run,) = self.runs()
        assert run.info.status == "FINISHED"
        assert {"test_accuracy", "best_val_loss"} <= set(run.data.metrics)
        points = self.points(run, "val_loss")
        assert [point.step for point in points] == list(range(1, self.epochs + 1))
        times = [point.timestamp for point in points]
        assert times == sorted(times)
        return points

    def delay(self, start: float, end: float) -> float:
        """By how many seconds its epochs between two times took longer than its others."""
        (run,) = self.runs()
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for point in self.points(run, "epoch_seconds"):
            seconds[start < point.timestamp / 1000 < end].append(point.value)
        return sum(seconds[True]) - len(seconds[True]) * median(seconds[False])


def epochs_between(points: list[Metric], start: float, end: float) -> int:
    """How many epochs ended between two times, in seconds since the epoch."""
    return sum(start < point.timestamp / 1000 < end for point in points)


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.always
def test_a_server_away_in_the_middle_of_training_costs_neither_an_epoch_nor_a_metric(
    server: TrackingServer, tmp_path: Path, tiny_npz: Path
) -> None:
    training = Training(server, tiny_npz, tmp_path, epochs=MANY)
    training.wait_for_epoch(5)
    server.stop()
    gone = time.time()
    time.sleep(OUTAGE_SECONDS)
    training.wait_for_more(25)
    trained_or_waiting = training.is_running()
    back = time.time()
    server.start()
    assert trained_or_waiting, training.output()
    assert training.wait() == 0, training.output()
    assert epochs_between(training.curve(), gone, back) > 20
    print(f"the outage delayed training by {training.delay(gone, back):.2f} s")  # pytest -s
    assert "training goes on" in training.output()
    assert "server is back" in training.output()


@pytest.mark.faults
def test_a_server_still_away_at_the_end_gets_everything_from_the_same_command_later(
    server: TrackingServer, tmp_path: Path, tiny_npz: Path
) -> None:
    training = Training(server, tiny_npz, tmp_path, TRACKING_WAIT_SECONDS="2")
    training.wait_for_epoch(5)
    server.stop()
    assert training.wait() == 1
    ended = time.time()
    server.start()
    assert "the same command, once the server is well, logs the rest" in training.output()
    assert "Traceback" not in training.output()
    (run,) = training.runs()
    assert run.info.status == "RUNNING"  # nobody could tell the server
    before = training.points(run, "elapsed_seconds")
    assert len(before) < FEW

    training.start()
    assert training.wait() == 0, training.output()
    assert training.runs()[0].info.run_id == run.info.run_id
    training.curve()
    # Trained before the command ended: the time that they tell was all spent by then.
    elapsed = training.points(run, "elapsed_seconds")
    assert elapsed[-1].value < ended - run.info.start_time / 1000
    assert elapsed[: len(before)] == before
    assert list((tmp_path / "checkpoints").glob("*/*")) == []


@pytest.mark.faults
def test_a_database_stopped_under_the_server_costs_neither_an_epoch_nor_a_metric(
    server: TrackingServer, tmp_path: Path, tiny_npz: Path
) -> None:
    training = Training(server, tiny_npz, tmp_path, epochs=MANY)
    training.wait_for_epoch(5)
    server.database.stop()
    gone = time.time()
    training.wait_for_more(25)
    back = time.time()
    server.database.start()
    assert training.wait() == 0, training.output()
    assert epochs_between(training.curve(), gone, back) > 20
    assert "server is back" in training.output()


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """A directory in which nobody can write, not even root."""
    try:
        subprocess.run(["mount", "--bind", directory, directory], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a directory cannot be made read-only here: {error}")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", directory], check=True)
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


@pytest.mark.faults
def test_an_artifact_store_that_takes_nothing_gets_all_from_the_same_command_later(
    server: TrackingServer, tmp_path: Path, tiny_npz: Path
) -> None:
    training = Training(server, tiny_npz, tmp_path, TRACKING_WAIT_SECONDS="2")
    training.wait_for_epoch(5)
    with read_only(Path.cwd() / "mlartifacts"):
        assert training.wait() == 1
    assert "the same command, once the server is well, logs the rest" in training.output()
    assert "Traceback" not in training.output()
    (run,) = training.runs()
    assert run.info.status == "FAILED"
    training.start()
    assert training.wait() == 0, training.output()
    assert training.runs()[0].info.run_id == run.info.run_id
    training.curve()
    outputs = training.runs()[0].outputs
    assert outputs
    assert outputs.model_outputs


@pytest.mark.faults
def test_studies_wait_for_their_database_where_it_has_answered(
    server: TrackingServer, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = create_storage(server.database.create_database("studies"))
    study = optuna.create_study(storage=storage)
    starting = threading.Timer(3, server.database.start)

    def restart(_session: object) -> None:
        server.database.stop()
        starting.start()

    # In the middle of a transaction, and then between two.
    event.listen(storage.scoped_session, "before_commit", restart, once=True)
    study.ask()
    starting.join()
    server.database.stop()
    server.database.start()
    study.ask()
    assert [one.number for one in study.trials] == [0, 1]
    assert capsys.readouterr().out.count("The storage of studies does not answer; waiting") == 1
