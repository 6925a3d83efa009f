"""The runs that steps write to: opened, logged to through a `StepRun`, and ended.

A step writes through the `StepRun` that it gets, and never calls MLflow's fluent `set_experiment`
(under `mlflow run` the experiment is already chosen).
"""

import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import mlflow
import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.types.schema import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PROJECT_ENTRY_POINT

from pipeline.base import TrackingUnavailableError, hide_passwords
from pipeline.base.rounding import single_precision
from pipeline.data.splits import Splits, class_counts
from pipeline.tracking.client import connect, get_run, metric_histories, search_runs
from pipeline.tracking.names import hidden
from pipeline.tracking.outages import Publisher, wait_seconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUN_NOTE_LENGTH = 8000  # characters: MLflow cuts longer tags of a run
MOST_METRICS = 1000  # values: MLflow refuses a batch of more


class Ownership(Protocol):
    """What tells whether a step is still this process's to run."""

    def check(self) -> None: ...

    def confirm(self) -> None: ...


class StepRun:
    """One MLflow run, written through a client so that threads and processes do not interfere."""

    def __init__(self, run_id: str, experiment: str):
        self.run_id = run_id
        self.experiment = experiment  # its id
        self.claim: Ownership | None = None
        self._client = connect()
        self._published: set[int] = set()
        self._logged: set[str] = set()

    @cached_property
    def _publisher(self) -> Publisher[list[Metric]]:
        send = mlflow.MlflowClient().log_batch  # the publisher waits itself
        return Publisher(lambda epochs: send(self.run_id, [*chain.from_iterable(epochs)]))

    def beat(self, now: str) -> None:
        """Log a heartbeat; raises at once where the server is away."""
        for name, said in hidden({"heartbeat": now}).items():
            mlflow.MlflowClient().set_tag(self.run_id, name, said)

    def log_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Log parameters, leaving those that `mlflow run` has already logged as they are."""
        logged = self._client.get_run(self.run_id).data.params
        new = {name: str(value) for name, value in parameters.items() if name not in logged}
        self._client.log_batch(self.run_id, params=[Param(*one) for one in new.items()])

    def log_metrics(
        self, metrics: Mapping[str, float], *, epoch: int = 0, at: float | None = None
    ) -> None:
        """Log the finite ones of some metrics, but none that a run that goes on has already.

        They are of a moment, in seconds since 1970; left out, of now.
        """
        new = {name: value for name, value in metrics.items() if name not in self._logged}
        self._client.log_batch(self.run_id, metrics=_finite(new, epoch, at))

    def log_curves(self, by_epoch: Mapping[int, Mapping[str, float]]) -> None:
        """Log the finite ones of some metrics of many epochs at once."""
        points = [one for epoch, metrics in by_epoch.items() for one in _finite(metrics, epoch)]
        for start in range(0, len(points), MOST_METRICS):
            self._client.log_batch(self.run_id, metrics=points[start : start + MOST_METRICS])

    def log_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Log one epoch's metrics, unless the run has them, in the background; an `OnEpoch`."""
        if self.claim:
            self.claim.check()
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
        self._published = set(metric_histories(self.run_id, ["elapsed_seconds"])["elapsed_seconds"])

    def flush(self) -> None:
        """Wait until every epoch is logged; TrackingUnavailableError if the server stays away."""
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
        entities = [RunTag(name, str(value)) for name, value in tags.items()]
        self._client.log_batch(self.run_id, tags=entities)

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

    def log_array(self, array: np.ndarray, path: str) -> None:
        """Log an array as a `.npy` artifact."""
        folder, _, name = path.rpartition("/")
        with tempfile.TemporaryDirectory() as directory:
            np.save(file := Path(directory, name), array, allow_pickle=False)
            self._client.log_artifact(self.run_id, str(file), folder)

    def log_directory(self, directory: Path, path: str) -> None:
        """Log a directory of artifacts."""
        self._client.log_artifacts(self.run_id, str(directory), path)

    def log_datasets(self, splits: Splits, *, location: str) -> None:
        """Log every split of a data set, which was read from a location, as an input of the run."""
        inputs = []
        for context, images, labels, names in (
            ("training", splits.x_train, splits.y_train, splits.trained_names),
            ("validation", splits.x_val, splits.y_val, splits.class_names),
            ("test", splits.x_test, splits.y_test, splits.class_names),
        ):
            # A digest per split, also of a part of it: MLflow takes inputs with one name and digest
            # for the same.
            split = f"{splits.fingerprint} {context} {len(images)}"
            image = TensorSpec(images.dtype, (-1, *images.shape[1:]), "image")
            schema = {"features": Schema([image]).to_json(), "targets": None}
            classes = class_counts(labels, names)
            profile = {"images": len(images), "shape": list(images.shape), "classes": classes}
            dataset = Dataset(
                name=splits.name,
                digest=hashlib.sha256(split.encode()).hexdigest()[:8],
                source_type="local",
                source=json.dumps({"uri": location}),
                schema=json.dumps({"mlflow_tensorspec": schema}),
                profile=json.dumps(profile),
            )
            inputs.append(DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)]))
        self._client.log_inputs(self.run_id, datasets=inputs)


def _finite(metrics: Mapping[str, float], epoch: int, at: float | None = None) -> list[Metric]:
    now = int(1000 * (time.time() if at is None else at))
    finite = {
        name: single_precision(value) for name, value in metrics.items() if math.isfinite(value)
    }
    return [Metric(name, value, now, epoch) for name, value in finite.items()]


def adopted_run(entry_point: str) -> StepRun | None:
    """The run that `mlflow run` opened for this entry point, if it did."""
    if run_id := os.environ.get("MLFLOW_RUN_ID"):
        run = get_run(run_id, "MLFLOW_RUN_ID")
        of_entry_point = run.data.tags.get(MLFLOW_PROJECT_ENTRY_POINT) == entry_point
        if of_entry_point and run.info.lifecycle_stage == "active":
            return StepRun(run_id, run.info.experiment_id)
    return None


def end_run(run_id: str, status: str, *, reason: str | None = None) -> None:
    """Give a run its final status, and the reason as a tag where it did not finish."""
    if reason:
        connect().set_tag(run_id, "failure_reason", hide_passwords(reason)[:5000])
    elif "failure_reason" in connect().get_run(run_id).data.tags:  # it was taken for dead
        connect().delete_tag(run_id, "failure_reason")
    connect().set_terminated(run_id, status)


def end_if_running(run_id: str, status: str, *, reason: str) -> None:
    """End a run unless it has already ended."""
    if get_run(run_id).info.status == "RUNNING":
        end_run(run_id, status, reason=reason)


def kill_running_steps(pipeline_run: str, experiment: str) -> None:
    """Mark the unfinished step runs of a pipeline run as KILLED, after their workers ended."""
    running = f"tags.pipeline_run = '{pipeline_run}' and attributes.status = 'RUNNING'"
    with suppress(TrackingUnavailableError):  # then the next command ends them
        for run in search_runs(experiment, running):
            end_run(run.info.run_id, "KILLED", reason="interrupted")


def keep(run_id: str, status: str) -> None:
    """Set a run back to a status when `mlflow run` overwrites that, within a minute or so.

    MLflow 3.17 means to leave a run that has ended as it is, but compares the name of its status
    with a number, so every run whose command does not exit with 0 becomes FAILED.
    """
    for _ in range(300):
        if connect().get_run(run_id).info.status == "FAILED":
            connect().set_terminated(run_id, status)
            return
        time.sleep(0.2)
