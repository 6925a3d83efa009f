"""The tracking server: its client, and reading runs and artifacts."""

import atexit
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

import mlflow
from mlflow.entities import Run
from mlflow.utils.uri import is_local_uri

from pipeline.base import InputError
from pipeline.tracking.experiments import experiment_id as experiment_id
from pipeline.tracking.outages import patiently
from pipeline.tracking.store import connect, get_run
from pipeline.tracking.store import tracking_uri as tracking_uri

MODEL = "model"  # where the files of the logged model of a training run are, whatever its name
FEW = 20  # runs, where the newest may do


def find_run(run_id: str | None) -> Run | None:
    """A run by its id; None where there is none any more, or it was deleted."""
    try:
        run = get_run(run_id) if run_id else None
    except InputError as error:
        if error.subject != "run_id":  # the store refuses to say
            raise
        return None
    return run if run and run.info.lifecycle_stage == "active" else None


def search_runs(experiment: str, query: str) -> list[Run]:
    """All runs of an experiment that a query finds, newest first."""
    return list(newest_first(experiment, query))


def newest_first(experiment: str, query: str) -> Iterator[Run]:
    """The runs that a query finds: the first few, and the others where they are asked for, too."""
    search = partial(connect().search_runs, [experiment], query, order_by=["start_time DESC"])
    yield from (page := search(max_results=FEW))
    while page.token:
        yield from (page := search(page_token=page.token))


def finished_runs(entry_point: str, experiment: str, *conditions: str) -> Iterator[Run]:
    """The finished runs of an entry point, under conditions; as `newest_first`."""
    finished = (f"tags.step = '{entry_point}'", "attributes.status = 'FINISHED'")
    return newest_first(experiment, " and ".join((*finished, *conditions)))


def metric_histories(run_id: str, names: Sequence[str]) -> dict[str, dict[int, float]]:
    """Per metric, its value at every epoch."""
    history = partial(connect().get_metric_history, run_id)
    return {name: {metric.step: metric.value for metric in history(name)} for name in names}


def missing_artifact(run: Run, paths: Iterable[str]) -> str | None:
    """The first of some files among a run's artifacts, or in its ``model/``, that is not there."""
    listed: dict[str, set[str]] = {}
    for path in paths:
        directory = path.rpartition("/")[0]
        if directory not in listed:
            listed[directory] = set(_listed(run, directory))
        if path not in listed[directory]:
            return path
    return None


def _listed(run: Run, directory: str) -> Iterator[str]:
    connection = connect()
    if directory.partition("/")[0] != MODEL:
        found = connection.list_artifacts(run.info.run_id, directory or None)
        yield from (file.path for file in found)
        return
    for model in run.outputs.model_outputs if run.outputs else ():
        inside = directory.partition("/")[2]
        with suppress(mlflow.MlflowException):  # a person has deleted it
            found = connection.list_logged_model_artifacts(model.model_id, inside or None)
            yield from (f"{MODEL}/{file.path}" for file in found)


@cache
def local_artifact(run_id: str, path: str) -> Path:
    """A local file or directory with an artifact of a run.

    Where the artifact store is local, it is the artifact itself, so that processes share what they
    map of it into memory; else a copy, downloaded once per process and deleted at its end.
    """
    if here := artifact_here(run_id, path):
        return here
    directory = tempfile.TemporaryDirectory(prefix="twenty-layers-")
    atexit.register(directory.cleanup)
    return download(run_id, path, Path(directory.name))


def artifact_here(run_id: str, path: str) -> Path | None:
    """An artifact of a run itself, where the artifact store is local; None of a remote one."""
    store = connect().get_run(run_id).info.artifact_uri
    if not is_local_uri(store, is_tracking_or_registry_uri=False):
        return None
    # Given a run's id instead, MLflow would copy what is local, too.
    return Path(mlflow.artifacts.download_artifacts(artifact_uri=f"{store}/{path}"))


def download(run_id: str, path: str, to: Path) -> Path:
    """The copy of an artifact of a run that is put into a directory."""
    fetch = mlflow.artifacts.download_artifacts
    return Path(patiently(fetch, run_id=run_id, artifact_path=path, dst_path=str(to)))
