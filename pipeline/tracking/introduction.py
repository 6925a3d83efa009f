"""An experiment as its readers find it, before the first run in it is opened."""

import os
from contextlib import suppress
from functools import cache

from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PROJECT_ENTRY_POINT

from pipeline.tracking.client import newest_first
from pipeline.tracking.experiments import DEFAULT_ID, OURS
from pipeline.tracking.store import connect, database, tracking_uri

KIND = "mlflow.experimentKind"
OF_US = {"step", MLFLOW_PROJECT_ENTRY_POINT}  # tags, of which every run of an entry point has one


def introduce(experiment: str) -> None:
    """Say that an experiment is of trainings, and give MLflow's "Default" a name of its own.

    That keeps its name wherever others may know it by that: on a server, in a database for many,
    beside other experiments or runs, and where a person gave it. Commands find it by its id.
    """
    _introduce(tracking_uri(), experiment)


@cache  # once per process
def _introduce(_store: str, experiment: str) -> None:
    found = connect().get_experiment(experiment)
    if KIND not in found.tags:
        connect().set_experiment_tag(experiment, KIND, "custom_model_development")
    is_default = (found.experiment_id, found.name) == (DEFAULT_ID, "Default")
    if is_default and "MLFLOW_EXPERIMENT_NAME" not in os.environ and _is_ours_alone():
        with suppress(MlflowException):  # another process has made one of that name
            connect().rename_experiment(experiment, OURS)


def _is_ours_alone() -> bool:
    """Whether a store is a file with one experiment, and all its runs are of entry points."""
    if not database(tracking_uri()):
        return False
    experiments = connect().search_experiments(view_type=ViewType.ALL)
    return len(experiments) == 1 and all(
        OF_US & run.data.tags.keys() for run in newest_first(DEFAULT_ID, "")
    )
