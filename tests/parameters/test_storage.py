"""The storage of studies and that of checkpoints: what is refused, and never shown."""

import sys

import pytest
from fsspec.registry import _registry

from pipeline.base import InputError
from pipeline.parameters import Train
from pipeline.parameters.storage import check_checkpoints, check_storage


@pytest.mark.parametrize(
    "storage", ["sqlite:///optuna.db", "postgresql+psycopg2://user@host/optuna"]
)
def test_storage_without_password_is_accepted(storage: str) -> None:
    check_storage(storage)


@pytest.mark.parametrize(
    "storage",
    [
        "optuna.db",
        "postgresql://user:hunter2@host/optuna",
        "postgresql://user:hun@ter2hunter2@host/optuna",
        "postgresql://us/er:hunter2@host/optuna",
        "postgresql://us?er:hun/ter2@host/optuna",
        "postgresql://host/optuna?password=hunter2",
        "mysql://host/optuna?PassWD=hunter2",
        "mssql://host/optuna?odbc_connect=PWD%3Dhunter2",
        "postgresql://user:hunter2@host:port/optuna",
        "user:hunter2@host/optuna",
        "://user:hunter2@",
        "",
    ],
)
def test_malformed_storage_or_password_is_refused_without_showing_it(storage: str) -> None:
    with pytest.raises(InputError, match="storage: expected an SQLAlchemy URL") as refused:
        check_storage(storage)
    assert "hunter2" not in str(refused.value)


def test_a_refusal_under_mlflow_run_says_what_is_logged_already(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "a1b2")
    with pytest.raises(InputError, match=r"logged it in run a1b2: change it, .*`mlflow gc`"):
        check_storage("postgresql://user:hunter2@host/optuna")


@pytest.mark.parametrize(
    "place", ["checkpoints", "~/a folder?", "/srv/user:x@host", "file:///srv", "memory://a/b"]
)
def test_a_folder_or_a_url_without_password_is_accepted_for_checkpoints(place: str) -> None:
    check_checkpoints(place)


@pytest.mark.parametrize(
    "place",
    [
        "s3://key:hunter2@bucket/folder",
        "s3://key:hun/ter2@hunter2@bucket",
        "s3://bucket/folder?secret=hunter2",
        "abfs://container@account.dfs.core.windows.net/?sas_token=hunter2",
    ],
)
def test_checkpoints_at_a_url_with_a_password_are_refused_without_showing_it(place: str) -> None:
    with pytest.raises(InputError, match=r"checkpoints: .*\(AWS_ACCESS_KEY_ID") as refused:
        check_checkpoints(place)
    assert "hunter2" not in str(refused.value)


def test_checkpoints_of_which_the_library_is_missing_are_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(_registry, "s3", raising=False)  # what was opened before
    with pytest.raises(InputError, match=r"Install s3fs.*requirements-cluster\.txt") as refused:
        Train(variant="bn", checkpoints="s3://bucket/folder")
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="Protocol not known: no"):
        Train(variant="bn", checkpoints="no://bucket")
