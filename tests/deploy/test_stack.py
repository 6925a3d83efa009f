"""The whole of deploy/compose.yaml on loopback: a night, what it leaves, and what it keeps secret.

Needs root, to make namespaces, and PostgreSQL.
"""

import ctypes
import io
import os
import re
import subprocess
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import mlflow
import psycopg2
import pytest
import requests
from composed import Stack, dotenv, stack
from distributed import Client

pytestmark = pytest.mark.faults

SHORT = ["--dataset", "mnist_5k", "--variants", "elu,alpha_dropout", "--seeds", "1,2"]
SHORT += ["--epochs", "3", "--patience", "2", "--n-trials", "2", "--search-epochs", "1"]
EPOCHS = 60
LONG = ["--dataset", "mnist_5k", "--variants", "elu", "--seeds", "7", "--learning-rate", "0.0001"]
LONG += ["--epochs", str(EPOCHS), "--patience", "none"]
SERVERS = ("postgres-1", "s3-1", "mlflow-1", "scheduler-1", "worker-1", "worker-2")
OF_ANOTHER = "postgresql+psycopg2://mlflow@postgres/optuna"
SECONDS = 1800  # on a machine that others use, too
NETWORK = 0x40000000  # CLONE_NEWNET


@contextmanager
def inside(one: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have this thread on the network of the services, with the nightly's credentials."""
    libc = ctypes.CDLL(None, use_errno=True)
    for name, value in one.environment("nightly").items():
        if name.startswith(("AWS_", "MLFLOW_", "PG")):
            monkeypatch.setenv(name, re.sub("//[a-z0-9]+:", "//127.0.0.1:", value))
    with open("/proc/thread-self/ns/net") as own, open(f"/run/netns/{one.name}") as theirs:
        assert libc.setns(theirs.fileno(), NETWORK) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            libc.setns(own.fileno(), NETWORK)


@pytest.fixture(scope="module")
def command_lines() -> Iterator[set[bytes]]:
    """Those of all processes of this machine, from now on."""
    seen: set[bytes] = set()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.1):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(path.read_bytes())
                except OSError:  # it has ended
                    continue

    looking = threading.Thread(target=look)
    looking.start()
    yield seen
    ended.set()
    looking.join()


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, command_lines: set[bytes]) -> Iterator[Stack]:
    """The services after a night."""
    with stack(tmp_path_factory.mktemp("stack"), dotenv()) as made:
        one = made.up("nightly", *SHORT)
        assert made.running[one].wait(SECONDS) == 0, made.log(one)
        yield made


def test_all_is_started_in_order_and_serves_on(night: Stack) -> None:
    order = night.started
    assert order.index("mlflow") > order.index("buckets") > order.index("s3")
    assert order.index("worker") > order.index("accounts") > order.index("mlflow")
    assert order[-1] == "nightly"
    assert all(night.running[name].poll() is None for name in SERVERS)


def test_everything_is_finished_and_was_done_by_both_workers(
    night: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with inside(night, monkeypatch):
        client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
        runs = client.search_runs(["0"], max_results=1000)
    assert {run.info.status for run in runs} == {"FINISHED"}
    steps = Counter(run.data.tags["step"] for run in runs)
    assert (steps["search"], steps["train"], steps["compare"]) == (2, 4, 1)
    trained_on = {run.data.tags["host"] for run in runs if run.data.tags["step"] == "train"}
    assert len(trained_on) == 2, trained_on


def test_artifacts_are_in_the_object_store_alone(
    night: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with inside(night, monkeypatch):
        names = [one.key for one in objects("artifacts")]
        experiment = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"]).get_experiment("0")
    assert experiment.artifact_location.startswith("mlflow-artifacts:")
    assert any(name.endswith("report.html") for name in names)
    assert any(".weights" in name or name.endswith(".keras") for name in names)


def test_who_has_no_key_or_password_is_kept_out(
    night: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    with inside(night, monkeypatch):
        address = os.environ["MLFLOW_TRACKING_URI"]
        assert (
            requests.get(f"{address}/api/2.0/mlflow/experiments/get?experiment_id=0").status_code
            == 401
        )
        rebound = requests.get(address, headers={"Host": "elsewhere.example"})
        assert rebound.status_code == 403
        database = {"host": "127.0.0.1", "user": "optuna", "password": os.environ["PGPASSWORD"]}
        psycopg2.connect(dbname="optuna", **database).close()
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            psycopg2.connect(dbname="mlflow", **database)
        with pytest.raises(psycopg2.OperationalError, match="password authentication"):
            psycopg2.connect(dbname="optuna", **database | {"password": "another"})
        for scheme in ("tcp", "tls"):
            with pytest.raises((OSError, TypeError)):
                Client(f"{scheme}://127.0.0.1:8786", timeout=3)


def test_a_training_whose_worker_is_killed_goes_on_on_the_other_to_the_same_digits(
    night: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = night.up("nightly", *LONG)
    with inside(night, monkeypatch):
        client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
        training = wait_for_epoch(client, 6)
        host = training.data.tags["host"]
        night.running[host].kill()
    assert night.running[one].wait(SECONDS) == 0, night.log(one)
    again = night.up("nightly", *LONG, "--reuse", "never")
    assert night.running[again].wait(SECONDS) == 0, night.log(again)
    with inside(night, monkeypatch):
        uninterrupted, interrupted = trainings(client)
        curves = [
            {name: history(client, run, name) for name in ("train_loss", "val_loss")}
            for run in (uninterrupted, interrupted)
        ]
        seconds = history(client, interrupted, "elapsed_seconds")
    assert interrupted.info.run_id == training.info.run_id
    assert interrupted.data.tags["host"] != host
    assert "begins again" not in night.log(one)
    epochs = list(range(1, EPOCHS + 1))
    assert [[epoch for epoch, _ in of["val_loss"]] for of in curves] == [epochs, epochs]
    assert curves[0] == curves[1]
    assert interrupted.data.metrics["test_accuracy"] == uninterrupted.data.metrics["test_accuracy"]
    # Begun again, its time would have, too.
    assert [of for _, of in seconds] == sorted(of for _, of in seconds)


def trainings(client: mlflow.MlflowClient) -> list[mlflow.entities.Run]:
    """Those of `LONG`, newest first."""
    return list(client.search_runs(["0"], "tags.step = 'train' and params.seed = '7'"))


def history(
    client: mlflow.MlflowClient, run: mlflow.entities.Run, metric: str
) -> list[tuple[int, float]]:
    found = client.get_metric_history(run.info.run_id, metric)
    return [(point.step, point.value) for point in found]


def wait_for_epoch(client: mlflow.MlflowClient, epoch: int) -> mlflow.entities.Run:
    """Wait until the training of `LONG` has logged so many epochs."""
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        for run in trainings(client):
            if len(history(client, run, "val_loss")) >= epoch:
                return client.get_run(run.info.run_id)
        time.sleep(0.1)
    raise TimeoutError(f"no epoch {epoch}")


def test_passwords_are_nowhere(
    night: Stack, command_lines: set[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(night)
    with inside(night, monkeypatch):
        kept = {
            f"s3://{one.bucket_name}/{one.key}": one.get()["Body"].read()
            for one in objects("artifacts", "checkpoints")
        }
        databases = {name: dump(night, name) for name in ("mlflow", "mlflow_accounts", "optuna")}
    logs = {path.name: path.read_bytes() for path in night.folder.glob("*.log")}
    stored = {
        str(path): path.read_bytes()
        for path in night.folder.rglob("volumes/**/*")
        if path.is_file()
    }
    lines = b"\n".join(command_lines)
    # What is looked through is what there was.
    assert b"pipeline.nightly" in lines
    assert b"mlflow server" in lines.replace(b"\0", b" ")
    assert b"learning_rate" in databases["mlflow"]
    assert b"learning_rate" in databases["optuna"]
    assert b"nightly" in databases["mlflow_accounts"]
    assert len(logs) == len(night.running)
    everything = {**kept, **databases, **logs, **stored, "command lines": lines}
    for name, secret in night.given.items():
        where = [place for place, content in everything.items() if holds(content, secret.encode())]
        assert not where, (name, where)


def fail(night: Stack) -> None:
    """A night that fails for a password, and says why."""
    one = night.up("nightly", *SHORT, "--reuse", "never", "--storage", OF_ANOTHER)
    assert night.running[one].wait(SECONDS) in (1, 2)
    assert "password authentication failed" in night.log(one)


def objects(*buckets: str) -> Iterator:
    store = boto3.resource("s3")
    for bucket in buckets:
        yield from store.Bucket(bucket).objects.all()


def dump(night: Stack, name: str) -> bytes:
    user = "optuna" if name == "optuna" else "mlflow"
    password = night.given[f"{user.upper()}_DATABASE_PASSWORD"]
    return subprocess.run(
        ["pg_dump", "--host=127.0.0.1", f"--username={user}", name],
        env={**os.environ, "PGPASSWORD": password},
        check=True,
        capture_output=True,
    ).stdout


def holds(content: bytes, secret: bytes) -> bool:
    """Whether a secret is in a file, or in one inside it."""
    if secret in content:
        return True
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return False
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return any(holds(archive.read(name), secret) for name in archive.namelist())
