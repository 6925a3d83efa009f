"""The runs of steps: written to and ended; `steps.running` opens them.

Rules: a step writes through the `StepRun` it gets, and never calls MLflow's fluent
`set_experiment` (under `mlflow run` the experiment is already chosen).
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.types.schema import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PROJECT_ENTRY_POINT

from pipeline.base import TrackingUnavailableError, hide_passwords
from pipeline.data.splits import Splits, class_counts
from pipeline.tracking import client
from pipeline.tracking.patience import Publisher, patiently, wait_seconds

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

NOTE_LENGTH = 8000  # characters: MLflow cuts longer tags of a run
# The keys of MLproject: what `mlflow run` opens a run for.
ENTRY_POINTS = ("main", "prepare", "search", "train", "mc_dropout", "compare")


class StepRun:
    """One MLflow run, written through a client so that threads and processes do not interfere.

    Args:
        run_id: the run.
        experiment: its experiment's id.
    """

    def __init__(self, run_id: str, experiment: str):
        self.run_id = run_id
        self.experiment = experiment
        self._client = client.connect()
        self._published: set[int] = set()
        self._logged: set[str] = set()

    @cached_property
    def _publisher(self) -> Publisher[list[Metric]]:
        at_once = mlflow.MlflowClient()  # the publisher does the waiting
        return Publisher(lambda metrics: at_once.log_batch(self.run_id, metrics=metrics))

    def beat(self, now: str) -> None:
        """Log a heartbeat; raises at once where the server is away."""
        mlflow.MlflowClient().set_tag(self.run_id, "heartbeat", now)

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log parameters, leaving those that `mlflow run` has already logged as they are."""
        logged = self._client.get_run(self.run_id).data.params
        params = [
            Param(name, str(value)) for name, value in parameters.items() if name not in logged
        ]
        self._client.log_batch(self.run_id, params=params)

    def log_metrics(self, metrics: Mapping[str, float], *, epoch: int = 0) -> None:
        """Log the finite ones of some metrics at an epoch.

        A metric that the run has already, because it was cut off and goes on, is not logged again.
        """
        new = {name: value for name, value in metrics.items() if name not in self._logged}
        self._client.log_batch(self.run_id, metrics=_finite(new, epoch))

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log one epoch's metrics in the background; the signature `callbacks.OnEpoch` asks for.

        An epoch that the run has already, because it was cut off and goes on, is not logged again.
        """
        if epoch not in self._published:
            self._publisher.put(_finite(metrics, epoch))

    def reopen(self, owner: Mapping[str, str]) -> None:
        """Let a run that was cut off go on, as a process with these tags."""
        # First whose it is: others take a run that is RUNNING without its process for abandoned.
        self.set_tags(owner)
        self._client.update_run(self.run_id, status="RUNNING")
        data = self._client.get_run(self.run_id).data
        if "failure_reason" in data.tags:
            self._client.delete_tag(self.run_id, "failure_reason")
        self._logged = set(data.metrics)
        history = self._client.get_metric_history(self.run_id, "elapsed_seconds")
        self._published = {metric.step for metric in history}

    def flush(self) -> None:
        """Wait until every epoch is logged.

        Raises:
            TrackingUnavailableError: if the tracking server stays away.
        """
        if "_publisher" in self.__dict__:
            # A moment for what is on its way, also where nobody is to wait for a server.
            self._publisher.close(timeout=max(5.0, wait_seconds()))
            del self._publisher

    def stop_publishing(self) -> None:
        """Leave what is not logged yet, where `flush` has not come to its end."""
        if "_publisher" in self.__dict__:
            self._publisher.give_up()

    def set_tags(self, tags: Mapping[str, Any]) -> None:
        """Set tags."""
        self._client.log_batch(
            self.run_id, tags=[RunTag(name, str(value)) for name, value in tags.items()]
        )

    def set_note(self, markdown: str) -> None:
        """Set the description that the run's page opens with."""
        self.set_tags({"mlflow.note.content": markdown})

    def log_figure(self, figure: "Figure", path: str) -> None:
        """Log a figure as an image artifact."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        # Drawn once: MLflow's `log_figure` saves it, for which Matplotlib draws it twice.
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        self._client.log_image(self.run_id, np.asarray(canvas.buffer_rgba()), path)

    def log_text(self, text: str, path: str) -> None:
        """Log a text artifact."""
        self._client.log_text(self.run_id, text, path)

    def log_dict(self, content: Any, path: str) -> None:
        """Log a JSON artifact."""
        self._client.log_dict(self.run_id, content, path)

    def log_datasets(self, splits: Splits, *, location: str) -> None:
        """Log every split of a data set, which was read from a location, as an input of the run."""
        self._client.log_inputs(self.run_id, datasets=inputs(splits, location=location))

    def log_model(self, model: "keras.Model", *, example: np.ndarray) -> None:
        """Log a Keras model that takes raw images; see `logged_models.log`."""
        from pipeline.uncertainty import logged_models

        patiently(logged_models.log, model, example=example, run_id=self.run_id)

    def log_directory(self, directory: Path, path: str) -> None:
        """Log a directory of artifacts."""
        self._client.log_artifacts(self.run_id, str(directory), path)


def _finite(metrics: Mapping[str, float], epoch: int) -> list[Metric]:
    now = int(time.time() * 1000)
    return [
        Metric(name, float(value), now, epoch)
        for name, value in metrics.items()
        if math.isfinite(value)
    ]


def adopted_run(entry_point: str) -> StepRun | None:
    """The run that `mlflow run` opened for this entry point, if it did."""
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        return None
    run = client.connect().get_run(run_id)
    if run.data.tags.get(MLFLOW_PROJECT_ENTRY_POINT) != entry_point:
        return None
    return StepRun(run_id, run.info.experiment_id)


def end_run(run_id: str, status: str, *, reason: str | None = None) -> None:
    """Give a run its final status, and the reason as a tag where it did not finish."""
    if reason:
        client.connect().set_tag(run_id, "failure_reason", hide_passwords(reason)[:5000])
    client.connect().set_terminated(run_id, status)


def end_adopted_run(status: str, *, reason: str) -> None:
    """End the run that `mlflow run` made for this process, if it did and it is still running."""
    if run_id := os.environ.get("MLFLOW_RUN_ID"):
        end_if_running(run_id, status, reason=reason)


def keep_killed(run_id: str, *, seconds: float = 60.0) -> None:
    """Set a run back to KILLED when `mlflow run` overwrites that with FAILED.

    MLflow 3.17 means to leave a run that has ended as it is, but compares the name of its status
    with a number, so every run whose command does not exit with 0 becomes FAILED.

    Args:
        run_id: a run that ended KILLED.
        seconds: how long to wait for `mlflow run`.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if client.connect().get_run(run_id).info.status == "FAILED":
            client.connect().set_terminated(run_id, "KILLED")
            return
        time.sleep(0.2)


def end_if_running(run_id: str, status: str, *, reason: str) -> None:
    """End a run unless it has already ended."""
    if client.connect().get_run(run_id).info.status == "RUNNING":
        end_run(run_id, status, reason=reason)


def kill_running_steps(pipeline_run: str, experiment: str) -> None:
    """Mark the unfinished step runs of a pipeline run as KILLED, after their workers ended."""
    running = f"tags.pipeline_run = '{pipeline_run}' and attributes.status = 'RUNNING'"
    with suppress(TrackingUnavailableError):  # then the next command ends them
        for run in client.connect().search_runs([experiment], running):
            end_run(run.info.run_id, "KILLED", reason="interrupted")


def inputs(splits: Splits, *, location: str) -> list[DatasetInput]:
    """The training, validation and test set, read from a location, as MLflow takes them."""
    return [
        _input(splits, "training", splits.x_train, splits.y_train, location),
        _input(splits, "validation", splits.x_val, splits.y_val, location),
        _input(splits, "test", splits.x_test, splits.y_test, location),
    ]


def _input(
    splits: Splits, context: str, images: np.ndarray, labels: np.ndarray, location: str
) -> DatasetInput:
    schema = Schema([TensorSpec(images.dtype, (-1, *images.shape[1:]), "image")])
    classes = class_counts(labels, splits.class_names)
    profile = {"images": len(images), "shape": list(images.shape), "classes": classes}
    dataset = Dataset(
        name=splits.name,
        # A digest per split: MLflow takes inputs with one name and digest for the same.
        digest=hashlib.sha256(f"{splits.fingerprint} {context}".encode()).hexdigest()[:8],
        source_type="local",
        source=json.dumps({"uri": location}),
        schema=json.dumps({"mlflow_tensorspec": {"features": schema.to_json(), "targets": None}}),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)])
