"""The runs of steps: opened, written to and ended.

Rules: a step opens its run with `step_run`, writes through the `StepRun` it gets, and never calls
MLflow's fluent `set_experiment` (under `mlflow run` the experiment is already chosen).
"""

import hashlib
import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import numpy as np
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    Run,
    RunTag,
)
from mlflow.tracking.context.registry import resolve_tags
from mlflow.types.schema import Schema, TensorSpec
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_PROJECT_ENTRY_POINT,
    MLFLOW_SOURCE_NAME,
)

from pipeline.base.errors import DivergenceError, TrackingUnavailableError
from pipeline.base.passwords import hide_passwords
from pipeline.data.splits import PreparedData, class_counts
from pipeline.steps import ownership
from pipeline.steps.keys import Step
from pipeline.tracking import client
from pipeline.tracking.patience import not_waiting, patiently, wait_seconds
from pipeline.tracking.publisher import Publisher

if TYPE_CHECKING:
    import keras
    from matplotlib.figure import Figure

NOTE_LENGTH = 8000  # characters: MLflow cuts longer tags of a run
# The keys of MLproject: what `mlflow run` opens a run for.
ENTRY_POINTS = ("main", "prepare", "search", "train", "mc_dropout", "compare")

# The run of `main` that a step belongs to, where there is one; set where the step runs.
pipeline_run_id: ContextVar[str | None] = ContextVar("pipeline_run_id", default=None)


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

    def reopen(self) -> None:
        """Let a run that was cut off go on."""
        # First whose it is: others take a run that is RUNNING without its process for abandoned.
        self.set_tags(ownership.owner_tags())
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

    def log_datasets(self, prepared: PreparedData, *, location: str) -> None:
        """Log every split of a data set as an input of the run.

        Args:
            prepared: the data set.
            location: where it was read from.
        """
        splits = {
            "training": (prepared.x_train, prepared.y_train),
            "validation": (prepared.x_val, prepared.y_val),
            "test": (prepared.x_test, prepared.y_test),
        }
        inputs = [
            DatasetInput(
                _dataset(prepared, context, images, labels, location=location),
                [InputTag(MLFLOW_DATASET_CONTEXT, context)],
            )
            for context, (images, labels) in splits.items()
        ]
        self._client.log_inputs(self.run_id, datasets=inputs)

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


def _dataset(
    prepared: PreparedData, context: str, images: np.ndarray, labels: np.ndarray, *, location: str
) -> Dataset:
    profile = {
        "images": len(images),
        "shape": list(images.shape),
        "classes": class_counts(labels, prepared.class_names),
    }
    schema = Schema([TensorSpec(images.dtype, (-1, *images.shape[1:]), "image")])
    return Dataset(
        name=prepared.name,
        # A digest per split: MLflow takes inputs with one name and digest for the same.
        digest=hashlib.sha256(f"{prepared.fingerprint} {context}".encode()).hexdigest()[:8],
        source_type="local",
        source=json.dumps({"uri": location}),
        schema=json.dumps({"mlflow_tensorspec": {"features": schema.to_json(), "targets": None}}),
        profile=json.dumps(profile),
    )


@contextmanager
def step_run(
    entry_point: str,
    parameters: Mapping[str, Any],
    *,
    name: str,
    step: Step | None = None,
    tags: Mapping[str, Any] | None = None,
    parent_run_id: str | None = None,
    reopened: Run | None = None,
) -> Iterator[StepRun]:
    """Open the run of a step; it ends FINISHED, KILLED on an interrupt, or FAILED with the reason.

    Under `mlflow run` the run of this entry point exists already and is adopted.

    Args:
        entry_point: name of the entry point.
        parameters: what the entry point was called with, and what that was resolved to.
        name: the run's name in the UI.
        step: what decides the result, for reuse; None: the run is never reused.
        tags: further tags.
        parent_run_id: the run under which this one is nested.
        reopened: the run that was cut off and goes on.

    Raises:
        TrackingUnavailableError: if the tracking server did not take everything.
    """
    run = _open(entry_point, name, reopened)
    run.set_tags(
        {
            "mlflow.runName": name,
            "step": entry_point,
            **ownership.owner_tags(),
            "processor": ownership.processor(),
            **({"step_key": step.key, "step_inputs": json.dumps(step.inputs)} if step else {}),
            **({"pipeline_run": pipeline_run_id.get()} if pipeline_run_id.get() else {}),
            **({MLFLOW_PARENT_RUN_ID: parent_run_id} if parent_run_id else {}),
            **(tags or {}),
        }
    )
    try:
        with ownership.heartbeat(run.beat):
            run.log_parameters(parameters)
            yield run
            run.flush()
        end_run(run.run_id, "FINISHED")
    except KeyboardInterrupt:
        _end_badly(run.run_id, "KILLED", reason="interrupted")
        raise
    except DivergenceError as error:
        run.flush()
        run.set_tags({"diverged": error})
        end_run(run.run_id, "FAILED", reason=f"{type(error).__name__}: {error}")
        raise
    except BaseException as error:
        _end_badly(run.run_id, "FAILED", reason=f"{type(error).__name__}: {error}")
        raise
    finally:
        run.stop_publishing()


def _end_badly(run_id: str, status: str, *, reason: str) -> None:
    """End a run, without waiting for the server: where it is away, the next command ends it."""
    with not_waiting(), suppress(TrackingUnavailableError):
        end_run(run_id, status, reason=reason)


def _open(entry_point: str, name: str, reopened: Run | None) -> StepRun:
    if reopened is None:
        return adopted_run(entry_point) or _create(entry_point, name)
    link_adopted_run(entry_point, reopened, verb="continued", note="was cut off and goes on.")
    run = StepRun(reopened.info.run_id, reopened.info.experiment_id)
    run.reopen()
    return run


def link_adopted_run(entry_point: str, run: Run, *, verb: str, note: str) -> None:
    """Point the run that `mlflow run` opened, if it did, to the one that holds the results.

    Args:
        entry_point: name of the entry point.
        run: the run with the results.
        verb: ``reused`` or ``continued``, for the name and the tag.
        note: what follows the linked name of the run in the note.
    """
    adopted = adopted_run(entry_point)
    if adopted is None or adopted.run_id == run.info.run_id:
        return
    adopted.set_tags(
        {"mlflow.runName": f"{verb} {run.info.run_name}", f"{verb}_run": run.info.run_id}
    )
    address = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    adopted.set_note(f"[{run.info.run_name}]({address}) {note}")


def adopted_run(entry_point: str) -> StepRun | None:
    """The run that `mlflow run` opened for this entry point, if it did."""
    run_id = os.environ.get("MLFLOW_RUN_ID")
    if not run_id:
        return None
    run = client.connect().get_run(run_id)
    if run.data.tags.get(MLFLOW_PROJECT_ENTRY_POINT) != entry_point:
        return None
    return StepRun(run_id, run.info.experiment_id)


def _create(entry_point: str, name: str) -> StepRun:
    experiment = client.experiment_id()
    # Its owner from the beginning: a run without one that was cut off here would stay RUNNING.
    tags = {
        **resolve_tags(),
        MLFLOW_SOURCE_NAME: f"pipeline.{entry_point}",
        **ownership.owner_tags(),
    }
    run = client.connect().create_run(experiment, run_name=name, tags=tags)
    return StepRun(run.info.run_id, experiment)


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
