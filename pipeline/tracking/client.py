"""The tracking server: its address, its client, and reading runs."""

import atexit
import os
import tempfile
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
from filelock import FileLock
from mlflow.entities import Run
from mlflow.utils.uri import is_local_uri

from pipeline.base import InputError, hide_passwords
from pipeline.tracking.patience import patiently

if TYPE_CHECKING:
    import keras


class PatientClient(mlflow.MlflowClient):
    """An MLflow client whose every public method waits while the tracking server is away."""

    def __init__(self) -> None:
        _make_store(tracking_uri())
        super().__init__()

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return partial(patiently, found) if not name.startswith("_") and callable(found) else found


@cache
def _make_store(uri: str) -> None:
    """Make a new sqlite store, one process at a time: at once, they would break it."""
    if uri.startswith("sqlite:///"):
        with FileLock(f"{uri.removeprefix('sqlite:///')}.lock"):
            mlflow.MlflowClient(uri)


def connect() -> PatientClient:
    """A client of the tracking server in force, which waits while that is away."""
    return PatientClient()


def tracking_uri() -> str:
    """The address of the tracking server in force."""
    return mlflow.get_tracking_uri()


def experiment_id() -> str:
    """The experiment in force: that of `mlflow run`, MLFLOW_EXPERIMENT_NAME or the default."""
    if adopted := os.environ.get("MLFLOW_RUN_ID"):
        return connect().get_run(adopted).info.experiment_id
    if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return given
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "Default")
    experiment = connect().get_experiment_by_name(name)
    return experiment.experiment_id if experiment else connect().create_experiment(name)


def get_run(run_id: str) -> Run:
    """A run by its id.

    Raises:
        InputError: if there is none on this tracking server.
    """
    try:
        return connect().get_run(run_id)
    except mlflow.exceptions.MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise InputError(
            "run_id",
            expected=f"the id of a run on {hide_passwords(tracking_uri())}",
            received=repr(run_id),
            action="Copy the id from the run's page in `mlflow ui`.",
        ) from error


def load_model(run_id: str) -> "keras.Model":
    """The Keras model that a training run logged."""
    import mlflow.tensorflow

    # Safe mode, Keras's default, runs no code that a model brings along.
    return patiently(
        mlflow.tensorflow.load_model,
        f"runs:/{run_id}/model",
        keras_model_kwargs={"safe_mode": True},
    )


def local_artifact(run_id: str, path: str) -> Path:
    """A local file or directory with an artifact of a run.

    Where the artifact store is local, it is the artifact itself, so that processes share what they
    map of it into memory; else a copy, downloaded once per process and deleted at its end.
    """
    store = connect().get_run(run_id).info.artifact_uri
    if is_local_uri(store, is_tracking_or_registry_uri=False):
        # Given a run's id instead, MLflow would copy what is local, too.
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=f"{store}/{path}"))
    return _downloaded(run_id, path)


@cache
def _downloaded(run_id: str, path: str) -> Path:
    directory = tempfile.TemporaryDirectory(prefix="twenty-layers-")
    atexit.register(directory.cleanup)
    download = mlflow.artifacts.download_artifacts
    return Path(patiently(download, run_id=run_id, artifact_path=path, dst_path=directory.name))


def search_runs(experiment: str, query: str) -> list[Run]:
    """All runs of an experiment that a query finds, newest first."""
    newest_first = ["attributes.start_time DESC"]
    search = partial(connect().search_runs, [experiment], query, order_by=newest_first)
    page = search()
    runs = list(page)
    while page.token:
        page = search(page_token=page.token)
        runs += page
    return runs


def finished_runs(entry_point: str, experiment: str) -> list[Run]:
    """The finished runs of an entry point, newest first."""
    query = f"tags.step = '{entry_point}' and attributes.status = 'FINISHED'"
    return search_runs(experiment, query)


def metric_histories(run_id: str, names: Sequence[str]) -> dict[str, dict[int, float]]:
    """Per metric, its value at every epoch."""
    histories = {name: connect().get_metric_history(run_id, name) for name in names}
    return {
        name: {metric.step: metric.value for metric in history}
        for name, history in histories.items()
    }
