"""A cluster of hosts with folders of their own: nothing but servers and an object store is shared.

A tracking server hands artifacts out, PostgreSQL keeps studies, an object store checkpoints.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import mlflow
import pytest
from browser import free_port
from dask_workers import WORKER, scheduler, started
from mlflow.entities import Run
from object_store import BUCKET, ObjectStore, object_store
from postgresql import PostgreSQL, temporary_postgresql
from small_layers import SMALL
from small_transfer import TRANSFER
from test_faults import CURVE, FINAL

from pipeline.main import main
from pipeline.parameters import Main
from pipeline.steps import workers
from pipeline.tracking.names import revealed
from pipeline.tracking.server import server

EPOCHS = 40
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    folder: Path  # with one of every host and of `main`
    scheduler: str
    s3: ObjectStore
    database: PostgreSQL


def hiding(*folders: Path) -> tuple[str, ...]:
    """What to put before a command that is to see nothing in some folders."""
    if not shutil.which("unshare") or subprocess.run(["unshare", "--mount", "true"]).returncode:
        return ()  # it takes root
    hidden = [f"mount -t tmpfs tmpfs {folder}" for folder in folders]
    return ("unshare", "--mount", "sh", "-c", " && ".join([*hidden, 'exec "$@"']), "sh")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    before = mlflow.get_tracking_uri()
    with ExitStack() as stack:
        s3 = stack.enter_context(object_store())
        database = stack.enter_context(temporary_postgresql())
        for name, value in s3.environment.items():
            monkeypatch.setenv(name, value)
        for name in ("server", "main"):
            (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / "server")
        store = f"sqlite:///{tmp_path}/server/mlflow.db"
        listening = server(host="127.0.0.1", port=free_port(), store=store)
        _, address = stack.enter_context(listening)
        monkeypatch.chdir(tmp_path / "main")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        mlflow.set_tracking_uri(address)
        found = stack.enter_context(scheduler(tmp_path))
        hidden = hiding(tmp_path / "main", tmp_path / "server")
        for name in ("one", "other"):
            own = {"TWENTY_LAYERS_CACHE": f"cache-of-{name}", **s3.environment}
            stack.enter_context(started(tmp_path / name, *hidden, *WORKER, found, **own))
        with workers.connect(1, found) as client:
            client.wait_for_workers(2, timeout=60)
        yield Cluster(tmp_path, found, s3, database)
    mlflow.set_tracking_uri(before)


def runs_of(*steps: str) -> list[Run]:
    """The runs of some steps in the store, newest first."""
    runs = mlflow.MlflowClient().search_runs(["0"])
    return [run for run in runs if run.data.tags.get("step") in steps]


def points(run: Run, metric: str) -> list[tuple[int, float]]:
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, metric)
    return [(point.step, point.value) for point in history]


def results() -> dict[str, tuple[dict[str, list[tuple[int, float]]], dict[str, float]]]:
    """By names of runs, what they came to: the newest ones, all of which are finished."""
    newest = {run.info.run_name: run for run in reversed(runs_of("train", "search", "trial"))}
    assert {run.info.status for run in newest.values()} == {"FINISHED"}
    metrics = {name: run.data.metrics for name, run in newest.items()}
    return {
        name: (
            {metric: points(run, metric) for metric in CURVE},
            {metric: metrics[name][metric] for metric in FINAL if metric in metrics[name]},
        )
        for name, run in newest.items()
    }


def kill_in_the_middle(step: str, epochs: int, killed: list[int]) -> None:
    """Kill the host of a step, all of its processes, after some epochs of a run of it."""

    def begun() -> Iterator[Run]:
        # Of a search, the trial that goes on is the best of the first, not the newest.
        running = (run for run in runs_of(step) if run.info.status == "RUNNING")
        return (run for run in running if len(points(run, "train_loss")) >= epochs)

    while not (found := next(begun(), None)):
        time.sleep(0.05)
    killed.append(int(revealed(found.data.tags)["pid"]))
    os.killpg(os.getpgid(killed[0]), signal.SIGKILL)


SEARCHED = {"learning_rate": "auto", "n_trials": 4, "search_epochs": EPOCHS}
SEARCHED |= {"learning_rate_min": 0.000001, "learning_rate_max": 100}  # the best rate inside


@pytest.mark.parametrize(
    ("step", "settings", "killed_after"),
    [
        ("train", {"learning_rate": 0.001}, 5),
        pytest.param("trial", SEARCHED, 3, marks=pytest.mark.faults),
    ],
)
def test_a_step_whose_host_is_killed_goes_on_on_another_from_its_last_epoch(
    cluster: Cluster,
    tiny_npz: Path,
    capsys: pytest.CaptureFixture[str],
    step: str,
    settings: dict[str, Any],
    killed_after: int,
) -> None:
    asked: dict[str, Any] = {
        "comparison": SMALL,
        "scheduler": cluster.scheduler,
        "checkpoints": f"s3://{BUCKET}/checkpoints",
        "dataset": str(tiny_npz),
        "variants": ("elu",),
        "seeds": (1,),
        "epochs": EPOCHS,
        "patience": "none",
        "batch_size": 16,
        **settings,
    }
    killed: list[int] = []
    given = {"step": step, "epochs": killed_after, "killed": killed}
    killer = Thread(target=kill_in_the_middle, kwargs=given, daemon=True)
    killer.start()
    main(Main(**asked, storage=cluster.database.create_database("one")))
    killer.join(60)

    interrupted, (run,) = results(), runs_of("train")
    assert "begins again" not in capsys.readouterr().out
    assert [epoch for epoch, _ in points(run, "train_loss")] == list(range(1, EPOCHS + 1))
    assert killed
    assert int(revealed(run.data.tags)["pid"]) not in killed
    # No epoch was trained twice, but for one whose checkpoint the killed host was just sending:
    # each has left one checkpoint, of the run and nowhere else.
    saved = [one for one in cluster.s3.done if one.startswith("PUT") and one.endswith(".npz")]
    assert len(saved) - len(set(saved)) <= 1
    of_run = f"PUT /{BUCKET}/checkpoints/{run.info.run_id}/epoch-"
    assert [one for one in dict.fromkeys(saved) if one.startswith(of_run)] == [
        f"{of_run}{epoch:06d}.npz" for epoch in range(1, EPOCHS + 1)
    ]

    main(Main(**asked, storage=cluster.database.create_database("another"), reuse="never"))
    assert results() == interrupted
    assert len(runs_of("train")) == 2

    for name in ("one", "other"):
        assert len(list((cluster.folder / name / f"cache-of-{name}" / "data").glob("data-*"))) == 1
    assert not list(cluster.folder.glob("*/checkpoints*"))
    secret = cluster.s3.environment["AWS_SECRET_ACCESS_KEY"].encode()
    files = [one for one in cluster.folder.rglob("*") if one.is_file()]
    assert [one for one in files if secret in one.read_bytes()] == []


@pytest.mark.faults
def test_what_a_training_starts_from_is_fetched_by_hosts_that_see_no_store(
    cluster: Cluster,
) -> None:
    asked: dict[str, Any] = {
        "comparison": TRANSFER,
        "scheduler": cluster.scheduler,
        "checkpoints": f"s3://{BUCKET}/checkpoints",
        "storage": cluster.database.create_database("one"),
        "variants": ("frozen",),
        "learning_rate": 0.01,
    }
    main(Main(**asked, seeds=(1, 2)))
    runs = {run.info.run_name: run for run in runs_of("train")}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    for seed in (1, 2):
        source = runs[f"train digits seed {seed}"].info.run_id
        assert runs[f"train frozen seed {seed}"].data.tags["source_run"] == source
