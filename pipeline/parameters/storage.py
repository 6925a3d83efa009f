"""The check of an Optuna storage's address: it is logged, so no password may stand in it."""

import contextlib
import os

from pipeline.base import InputError, has_password, hide_passwords, is_secret


def check_storage(storage: str) -> None:
    """Refuse a storage URL that is malformed or holds a password.

    Raises:
        InputError: the message shows the URL without its password.
    """
    from sqlalchemy.engine import make_url  # a tenth of a second, which `--help` saves
    from sqlalchemy.exc import ArgumentError

    # A password may hold spaces, at which one in running text would end.
    shown = hide_passwords("".join(storage.split())).partition("?")[0]
    url = None
    with contextlib.suppress(ArgumentError, ValueError):  # ValueError: a port that is no number
        url = make_url(storage)
    if url is None and "://" not in storage and "@" in storage:
        shown = "something else"  # before the @ there may be a password
    if url is None or has_password(storage) or any(map(is_secret, url.query)):
        raise InputError(
            "storage",
            expected="an SQLAlchemy URL without a password, e.g. sqlite:///optuna.db or "
            "postgresql+psycopg2://user@host/optuna",
            received=shown,
            action="Parameters are logged: give a password through PGPASSWORD or ~/.pgpass."
            + _already_logged(),
        )


def _already_logged() -> str:
    # `mlflow run` logs what it is given before it starts any command.
    if run_id := os.environ.get("MLFLOW_RUN_ID"):
        return (
            f" If there was one, `mlflow run` has logged it in run {run_id}: change it, and delete "
            "the run for good with `mlflow runs delete` and `mlflow gc`."
        )
    return ""
