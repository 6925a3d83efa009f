"""Addresses that are given, of an Optuna storage and of checkpoints: without a password."""

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

    shown, url = _shown(storage), None
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
            action=_elsewhere("PGPASSWORD or ~/.pgpass"),
        )


def check_checkpoints(place: str) -> None:
    """Refuse a URL of checkpoints that holds a password, or that nothing here can open.

    Raises:
        InputError: the message shows the URL without its password.
    """
    if "://" not in place:
        return
    if has_password(place) or "?" in place:
        raise InputError(
            "checkpoints",
            expected="a folder, or a URL without a password or options, e.g. s3://bucket/folder",
            received=_shown(place),
            action=_elsewhere("the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...)"),
        )
    from fsspec import get_filesystem_class

    try:
        get_filesystem_class(place.partition("://")[0])
    except (ImportError, ValueError) as error:
        raise InputError(
            "checkpoints",
            expected="a folder, or a URL of a kind that can be opened here",
            received=f"{place} ({error})",
            action="Install what it takes, here and on every worker; for s3:// that is in "
            "requirements-cluster.txt.",
        ) from error


def _shown(url: str) -> str:
    # A password may hold spaces, at which one in running text would end.
    return hide_passwords("".join(url.split())).partition("?")[0]


def _elsewhere(through: str) -> str:
    """What to do with a password that was given."""
    action = f"Parameters are logged: give a password through {through}."
    if run_id := os.environ.get("MLFLOW_RUN_ID"):  # it logs what it is given at its start
        action += f" If there was one, `mlflow run` has logged it in run {run_id}: change it, "
        action += "and delete the run for good with `mlflow runs delete` and `mlflow gc`."
    return action
