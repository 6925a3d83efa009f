"""Where Optuna keeps studies: a database, which may be away for a while once it has answered."""

import time
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from pipeline.base import InputError, hide_passwords, progress
from pipeline.tracking.outages import wait_seconds
from pipeline.tracking.refusals import reason

MOST_ATTEMPTS = 5
# What opens a session, by itself or through the cache that Optuna puts before a storage.
_CALLS = (
    *sorted(BaseStorage.__abstractmethods__),
    *("_create_new_trial", "_get_best_trial_id", "_get_trials", "_set_trial_param"),
)


def _again_where_cut_off(call: Callable[..., Any]) -> Callable[..., Any]:
    """Make a call again whose connection the server has ended: its transaction is undone."""

    @wraps(call)
    def called(*arguments: Any, **named: Any) -> Any:
        for _ in range(MOST_ATTEMPTS - 1):
            try:
                return call(*arguments, **named)
            except (StorageInternalError, DBAPIError) as error:
                of_database = error.__cause__ if isinstance(error, StorageInternalError) else error
                if not getattr(of_database, "connection_invalidated", False):
                    raise
        return call(*arguments, **named)

    return called


class PatientStorage(RDBStorage):
    """A storage on a server that may be started anew in the middle of anything."""


for _name in _CALLS:
    setattr(PatientStorage, _name, _again_where_cut_off(getattr(RDBStorage, _name)))


def create_storage(storage: str, attempts: int = 5) -> RDBStorage:
    """Open a storage and create its tables, which others may do at the same moment.

    Raises:
        InputError: if there is no such database, or no driver for it.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # A write waits for those of other workers; SQLite's own 5 seconds are few on a busy disk.
    is_file = storage.startswith("sqlite")
    waiting = {"connect_args": {"timeout": 60}} if is_file else {"pool_pre_ping": True}
    try:
        opened = PatientStorage(storage, engine_kwargs=waiting)
    except (SQLAlchemyError, ImportError, RuntimeError, ValueError) as error:
        table_exists = isinstance(error, IntegrityError) or "already exists" in str(error)
        if table_exists and attempts > 1:  # another process has just made it
            time.sleep(0.2)
            return create_storage(storage, attempts - 1)
        reason = str(error).partition("\n")[0]
        raise InputError(
            "storage",
            expected="a database that can be opened, and its driver installed",
            received=f"{hide_passwords(storage)} ({type(error).__name__}: {reason})",
            action="Start it, correct the URL, or use the default, sqlite:///optuna.db.",
        ) from error
    if not is_file:
        event.listen(opened.engine, "do_connect", _connected)
    return opened


def _connected(dialect: Any, _record: Any, arguments: Sequence[Any], named: dict[str, Any]) -> Any:
    """A connection to a database that has answered before: while it is away, it is waited for.

    A server that is started anew has ended those it had, which are tried before they are used.
    """
    deadline: float | None = None
    while True:
        try:
            return dialect.connect(*arguments, **named)
        except dialect.loaded_dbapi.OperationalError as error:
            if deadline is None:
                deadline = time.monotonic() + wait_seconds()
                waiting = f"waiting for it for up to {wait_seconds():.0f} s ({reason(error)})."
                progress.update(message=f"The storage of studies does not answer; {waiting}")
            if time.monotonic() >= deadline:
                raise
        time.sleep(1)
