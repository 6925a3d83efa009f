"""Two machines with one tracking server: namespaces of networks, host names and processes.

Needs root, to make the namespaces, and PostgreSQL.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
import optuna
import pytest
from conftest import PROJECT, environment_of_a_user
from postgresql import PostgreSQL
from test_faults import results_in

from pipeline.tracking.server import server

HUB = "10.231.7.1"
BRIDGE = "twenty-hub"
TRIALS = 8

pytestmark = pytest.mark.faults


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@dataclass(frozen=True)
class Host:
    """Namespaces with a host name of their own."""

    name: str
    directory: Path

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start a command; its output goes to `output`."""
        # Nor do they see each other's processes; with the first of them the others end.
        apart = ("unshare", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child")
        named = (*apart, "sh", "-c", 'hostname "$0" && exec "$@"', self.name)
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, *named, *arguments],
            cwd=self.directory,
            env={
                **environment_of_a_user(),
                "PYTHONPATH": str(PROJECT),
                **environment,
            },
            stdout=(self.directory / "output").open("w"),
            stderr=subprocess.STDOUT,
        )

    def output(self) -> str:
        return (self.directory / "output").read_text("utf-8")


@contextmanager
def host(number: int, directory: Path) -> Iterator[Host]:
    """A machine at the bridge."""
    name = f"machine-{number}"
    directory.mkdir()
    ip("netns", "add", name)
    try:
        ip("link", "add", f"port-{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("link", "set", f"port-{number}", "master", BRIDGE, "up")
        ip("-n", name, "address", "add", f"10.231.7.{number + 1}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield Host(name, directory)
    finally:
        ip("netns", "delete", name)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[tuple[Host, Host]]:
    if os.geteuid() != 0 or not shutil.which("ip"):
        pytest.skip("making network namespaces takes root and iproute2")
    with ExitStack() as stack:
        try:
            ip("link", "add", BRIDGE, "type", "bridge")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network namespaces here: {error.stderr.decode()}")
        stack.callback(ip, "link", "delete", BRIDGE)
        ip("address", "add", f"{HUB}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        one, other = (stack.enter_context(host(n, tmp_path / f"machine-{n}")) for n in (1, 2))
        yield one, other


@pytest.fixture
def database() -> Iterator[PostgreSQL]:
    directory = Path(tempfile.mkdtemp(prefix="postgresql-"))  # pytest's are closed to `postgres`
    started = PostgreSQL(directory, 5432, HUB)
    try:
        started.start()
        yield started
    finally:
        started.stop()
        shutil.rmtree(directory)


def ended(storage: str, states: tuple[optuna.trial.TrialState, ...]) -> int:
    """How many trials of the one study are in some states."""
    studies = optuna.get_all_study_names(storage)
    if not studies:
        return 0
    study = optuna.load_study(study_name=studies[0], storage=storage)
    return len(study.get_trials(states=states))


def test_a_machine_that_dies_in_a_search_is_replaced_by_the_other(
    hosts: tuple[Host, Host],
    database: PostgreSQL,
    tmp_path: Path,
    tiny_npz: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dying, other = hosts
    search = [
        *(sys.executable, "-m", "pipeline.search", "--variant", "bn", "--batch-size", "4"),
        *("--n-trials", str(TRIALS), "--search-epochs", "40", "--dataset", str(tiny_npz)),
        # A range with its best rate inside, which is not widened.
        *("--learning-rate-min", "0.000001", "--learning-rate-max", "100"),
    ]
    monkeypatch.chdir(tmp_path)
    alone = tmp_path / "alone"
    alone.mkdir()
    uninterrupted = {"MLFLOW_TRACKING_URI": f"sqlite:///{alone}/mlflow.db"}
    subprocess.run(
        search, cwd=alone, env=os.environ | uninterrupted | {"PYTHONPATH": str(PROJECT)}, check=True
    )
    storage = database.create_database("optuna")
    states = optuna.trial.TrialState
    with server(host=HUB, port=5000, store=database.uri) as (_, address):
        shared = {"MLFLOW_TRACKING_URI": address}
        search += ["--storage", storage]
        first = dying.start(*search, **shared)
        while ended(storage, (states.COMPLETE, states.PRUNED)) < 2:
            assert first.poll() is None, dying.output()
            time.sleep(0.2)
        second = other.start(*search, **shared)
        while "waiting for process" not in other.output():
            assert first.poll() is None, dying.output()
            assert second.poll() is None, other.output()
            time.sleep(0.2)
        first.kill()
        assert first.wait() != 0
        assert "on machine-1" in other.output()
        assert second.wait(600) == 0, other.output()
        client = mlflow.MlflowClient(address)
        received = results_in(client)
    assert ended(storage, (states.COMPLETE, states.PRUNED)) == TRIALS
    assert ended(storage, (states.RUNNING, states.FAIL)) == 0
    assert received == results_in(mlflow.MlflowClient(uninterrupted["MLFLOW_TRACKING_URI"]))
