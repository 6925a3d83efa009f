"""What stores refuse: real databases that cannot be used, and experiments that are not there."""

import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
import requests
from mlflow.exceptions import MlflowException, RestException

from pipeline.base import InputError, TrackingUnavailableError
from pipeline.tracking import client, experiments, outages, refusals


def no_database(path: Path) -> None:
    path.write_text("no database, and some more text")


def half_made(path: Path) -> None:
    """As MLflow leaves it that is killed in its first migration."""
    with closing(sqlite3.connect(path)) as database, database:
        for table in ("experiments", "runs", "tags", "metrics", "params"):
            database.execute(f"DROP TABLE {table}")
        database.execute("DELETE FROM alembic_version")


def half_upgraded(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("ALTER TABLE experiments RENAME COLUMN name TO other")


def of_another_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.fixture(autouse=True)
def new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outages, "_answered", threading.Event())


def refused(uri: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said of a store that is refused, within seconds."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    started = time.monotonic()
    with pytest.raises(InputError) as error:
        client.experiment_id()
    assert time.monotonic() - started < 10
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_database, "file is not a database"),
        (half_made, "already exists).*if it holds no runs yet, delete it"),
        (half_upgraded, "no such column.*else restore a backup"),
        (of_another_version, "found version ffffffffffff.*mlflow db upgrade"),
        (a_folder, "unable to open database file"),
    ],
)
def test_a_database_that_cannot_be_used_is_refused_with_what_to_do(
    store: Path,
    spoil: Callable[[Path], None],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    spoil(store / "mlflow.db")
    message = refused(f"sqlite:///{store}/mlflow.db", monkeypatch)
    assert message.startswith(f"tracking store sqlite:///{store}/mlflow.db: expected")
    assert all(part in message for part in said.replace(")", "").split(".*")), message
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("postgresql://", "No module named 'psycopg'). Install the driver"),
        ("foo://", "unsupported URI 'foo://'"),
        ("file:/nowhere", "`mlflow migrate-filestore`"),
        ("a/path", "`mlflow migrate-filestore`"),
        ("databricks://", "Correct MLFLOW_TRACKING_URI"),
        ("sqlite://", "received one in memory"),
        ("sqlite:////proc/none.db", "unable to open database file"),
        ("https:///none", "Invalid url"),
        ("postgresql+psycopg2://u:hunter2@127.0.0.1:9/d", "://u:***@127.0.0.1:9"),
    ],
)
def test_an_address_that_is_none_is_refused_with_what_to_do(
    store: Path, uri: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refused(uri, monkeypatch)
    assert said in message
    assert "hunter2" not in message


def test_an_experiment_that_is_deleted_or_is_not_there_is_refused_also_for_a_plan(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted = client.connect().create_experiment("deleted")
    client.connect().delete_experiment(deleted)
    for name, given, why in (
        ("ID", deleted, "deleted"),
        ("ID", "999", "none"),
        ("ID", "xyz", "none"),
        ("NAME", "deleted", "deleted"),
        ("NAME", "", "0 characters"),
        ("NAME", 501 * "x", "501 characters"),
    ):
        with monkeypatch.context() as given_here:
            given_here.setenv(f"MLFLOW_EXPERIMENT_{name}", given)
            for ask in (experiments.find_experiment, experiments.experiment_id):
                with pytest.raises(InputError, match=why):
                    ask()
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "new")
    assert experiments.find_experiment() is None
    assert experiments.experiment_id() == experiments.find_experiment()
    monkeypatch.setenv("MLFLOW_RUN_ID", "none")
    with pytest.raises(InputError, match="MLFLOW_RUN_ID"):
        experiments.experiment_id()


def test_what_is_asked_for_in_a_store_that_is_not_made_yet_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/new.db")
    assert experiments.find_experiment() is None
    assert list(tmp_path.iterdir()) == []


def http_error(status: int) -> requests.HTTPError:
    return requests.HTTPError(
        f"{status} Client Error: for url: http://h/mlflow-artifacts/artifacts"
    )


def of_endpoint(endpoint: str, status: int) -> MlflowException:
    said = f"API request to endpoint {endpoint} failed with error code {status} != 200."
    return MlflowException(f"{said} Response body: 'no'")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (of_endpoint("/api/2.0/mlflow/runs/create", 401), "MLFLOW_TRACKING_PASSWORD"),
        (of_endpoint("/api/2.0/mlflow/runs/create", 403), "expected EDIT on the experiment"),
        (of_endpoint("/api/2.0/mlflow/runs/search", 403), "expected READ on the experiment"),
        (
            of_endpoint("/api/2.0/mlflow/registered-models/alias", 403),
            "expected EDIT on the registered model",
        ),
        (RestException({"error_code": "PERMISSION_DENIED", "message": "no"}), "permission on"),
        (http_error(403), "permission on"),
        (http_error(401), "MLFLOW_TRACKING_PASSWORD"),
        (MlflowException("(sqlite3.OperationalError) database or disk is full\n[SQL: X]"), "full,"),
        (
            MlflowException("(sqlite3.OperationalError) attempt to write a readonly database"),
            "Make",
        ),
    ],
)
def test_refusals_say_what_is_missing(store: Path, error: Exception, said: str) -> None:
    refusal = refusals.refusal(error)
    assert isinstance(refusal, TrackingUnavailableError if said == "full," else InputError)
    assert said in str(refusal)
    assert "\n" not in str(refusal)


@pytest.mark.parametrize(
    "error",
    [
        of_endpoint("/api/2.0/mlflow/runs/get", 500),
        RestException({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no run"}),
        MlflowException("(sqlite3.OperationalError) database is locked"),
        ValueError("a defect"),
    ],
)
def test_outages_answers_and_defects_are_no_refusals(store: Path, error: Exception) -> None:
    assert refusals.refusal(error) is None
