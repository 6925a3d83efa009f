"""The experiment in force: which one it is, and why one cannot be used."""

import os
from functools import cache

from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import MAX_EXPERIMENT_NAME_LENGTH

from pipeline.base import InputError, hide_passwords
from pipeline.tracking.store import NO_SUCH, connect, database, get_run, tracking_uri

DEFAULT_ID = "0"  # of the experiment that MLflow makes in a new store, and that `mlflow run` uses
OURS = "twenty-layers"


def find_experiment() -> str | None:
    """The experiment in force, as `experiment_id`; None where that would make it.

    Raises:
        InputError: if it is deleted or cannot be, or there is none of its id.
    """
    if adopted := os.environ.get("MLFLOW_RUN_ID"):
        return get_run(adopted, "MLFLOW_RUN_ID").info.experiment_id
    given, name = os.environ.get("MLFLOW_EXPERIMENT_ID"), _experiment_name()
    file = database(tracking_uri())
    if file and not file.exists() and given in (None, "", DEFAULT_ID):
        return None
    found = _by_name(name) if name and not given else _by_id(given or DEFAULT_ID)
    if given and not found:
        raise _no_experiment(given, "there is none")
    if found and found.lifecycle_stage != "active":
        raise _no_experiment(given or found.name, "it is deleted")
    return found.experiment_id if found else None


def _by_name(name: str) -> Experiment | None:
    return connect().get_experiment_by_name(name)


def _by_id(experiment: str) -> Experiment | None:
    try:
        return connect().get_experiment(experiment)
    except MlflowException as error:
        if error.error_code not in NO_SUCH:
            raise
        return None


def experiment_id() -> str:
    """The experiment in force: that of `mlflow run`, MLFLOW_EXPERIMENT_NAME or the default."""
    named = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME")
    return _experiment_id(tracking_uri(), *map(os.environ.get, named))


@cache  # every step asks many times, and the answer carries all that is saved of the UI
def _experiment_id(*_named: str | None) -> str:
    connection = connect()  # which makes a new store, and its default experiment
    if found := find_experiment():
        return found
    try:
        return connection.create_experiment(_experiment_name() or OURS)
    except MlflowException as error:
        if error.error_code == "RESOURCE_ALREADY_EXISTS" and (found := find_experiment()):
            return found  # another process has just made it
        raise


def _experiment_name() -> str | None:
    """The name that was given; none where the default is meant, whose name can be changed."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME")
    if name is not None and not 0 < len(name) <= MAX_EXPERIMENT_NAME_LENGTH:
        raise _no_experiment(name[:50], f"its name has {len(name)} characters")
    return name


def _no_experiment(which: str, why: str) -> InputError:
    return InputError(
        "MLFLOW_EXPERIMENT_NAME or MLFLOW_EXPERIMENT_ID",
        expected=f"an experiment on {hide_passwords(tracking_uri())}, or the name of a new one",
        received=f"{which!r}: {why}",
        action="Give another, or restore it with `mlflow experiments restore`.",
    )
