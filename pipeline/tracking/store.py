"""The tracking store in force, a server or a database: opening it, and a client that waits."""

from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import Any

import mlflow
from filelock import FileLock
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.base import InputError, hide_passwords
from pipeline.tracking import outages, refusals

tracking_uri = mlflow.get_tracking_uri  # the address of the store in force
NO_SUCH = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


class PatientClient(mlflow.MlflowClient):
    """An MLflow client whose every public method waits while the tracking server is away."""

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        patient = not name.startswith("_") and callable(found)
        return partial(outages.patiently, found) if patient else found


def connect() -> PatientClient:
    """A client of the tracking store in force, which waits while that is away.

    Raises:
        InputError: if the store cannot be opened.
    """
    _open(tracking_uri())
    return PatientClient()


def get_run(run_id: str, named: str = "run_id") -> Run:
    """A run by its id, which a person has given by that name.

    Raises:
        InputError: if there is none on this tracking server.
    """
    try:
        return connect().get_run(run_id)
    except MlflowException as error:
        if error.error_code not in NO_SUCH:
            raise
        expected = f"the id of a run on {hide_passwords(tracking_uri())}"
        action, received = "Copy the id from the run's page in `mlflow ui`.", repr(run_id)
        raise InputError(named, expected=expected, received=received, action=action) from error


def database(uri: str) -> Path | None:
    """The file of an sqlite store; None for any other."""
    if not uri.startswith("sqlite"):
        return None
    from sqlalchemy.engine import make_url

    return Path(make_url(uri).database or ":memory:")


@cache
def _open(uri: str) -> None:
    """Open a store, and make a new one, one process at a time: at once, they would break it."""
    with refusals.unless_opened(), ExitStack() as stack:
        if file := database(uri):
            if str(file) == ":memory:":
                raise InputError(
                    f"tracking store {uri}",
                    expected="a database that is there when the command has ended",
                    received="one in memory",
                    action="Give the path of a file, e.g. sqlite:///mlflow.db.",
                )
            file.parent.mkdir(parents=True, exist_ok=True)  # as MLflow does
        if not outages.has_answered():
            _try_once(uri)
        if file:
            stack.enter_context(FileLock(f"{file}.lock"))
        mlflow.MlflowClient(uri)


def _try_once(uri: str) -> None:
    """Read a database's tables; MLflow would try it for minutes before it says what is wrong."""
    from mlflow.store.db.db_types import DATABASE_ENGINES

    if uri.partition(":")[0].partition("+")[0] in DATABASE_ENGINES:
        import sqlalchemy

        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
        sqlalchemy.inspect(engine).get_table_names()
