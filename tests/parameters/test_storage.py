"""The storage of studies: what is refused, and never shown."""

import pytest

from pipeline.base import InputError
from pipeline.parameters.storage import check_storage


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
