"""The curves of many runs, from a database and from a server."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from browser import free_port
from mlflow.entities import Metric

from pipeline.tracking import curves
from pipeline.tracking.metrics import EARLIER
from pipeline.tracking.server import server

METRICS = ["train_loss", "val_loss"]


@pytest.fixture
def runs(store: Path) -> list[str]:
    """Runs of different lengths, an epoch of each logged twice; the last of an earlier version."""
    client, generator = mlflow.MlflowClient(), np.random.default_rng(0)
    ids = []
    for epochs in (3, 1, 5, 2):
        ids.append(client.create_run("0").info.run_id)
        points = [
            Metric(
                EARLIER.get(name, name) if epochs == 2 else name,
                generator.uniform(),
                timestamp,
                step,
            )
            for timestamp, step in enumerate([*range(1, epochs + 1), 1])
            for name in (*METRICS, "another")
        ]
        client.log_batch(ids[-1], metrics=points)
    return ids


@pytest.fixture
def address(runs: list[str], store: Path) -> Iterator[str]:
    """The address of a server on their store."""
    database = f"sqlite:///{store}/mlflow.db"
    with server(host="127.0.0.1", port=free_port(), store=database) as (_, where):
        yield where


@pytest.mark.slow
def test_every_epochs_last_value_is_found_in_a_database_and_by_a_server(
    runs: list[str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = mlflow.MlflowClient().get_metric_history
    logged = {
        (run_id, metric.step, name): metric.value
        for run_id in runs
        for name in METRICS
        for logged_as in (name, EARLIER.get(name, name))
        for metric in sorted(history(run_id, logged_as), key=lambda one: one.timestamp)
    }
    by_epoch = pd.Series(logged).unstack().reset_index(names=["run_id", "epoch"])

    def check() -> None:
        found = curves.curves(runs, METRICS)
        pd.testing.assert_frame_equal(found, by_epoch, check_names=False)

    check()
    mlflow.set_tracking_uri(address)
    check()
    monkeypatch.setattr(curves, "MOST_RUNS", 3)
    monkeypatch.setattr(curves, "MOST_POINTS", 4)  # fewer than one of the runs has
    check()
