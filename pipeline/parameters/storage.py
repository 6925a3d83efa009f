"""The Optuna storage that is given: an address without a password."""

import contextlib
import os

from pipeline.base import InputError, has_password, hide_passwords, is_secret


def check_storage(storage: str) -> None:
    """Refuse an Optuna storage that is no URL, or holds a password: parameters are logged.

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
        action = "Parameters are logged: give a password through PGPASSWORD or ~/.pgpass."
        if run_id := os.environ.get("MLFLOW_RUN_ID"):  # it logs what it is given at its start
            action += f" If there was one, `mlflow run` has logged it in run {run_id}: change it, "
            action += "and delete the run for good with `mlflow runs delete` and `mlflow gc`."
        raise InputError(
            "storage",
            expected="an SQLAlchemy URL without a password, e.g. sqlite:///optuna.db or "
            "postgresql+psycopg2://user@host/optuna",
            received=shown,
            action=action,
        )
