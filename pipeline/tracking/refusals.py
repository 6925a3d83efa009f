"""What a tracking store refuses, told from outages and defects: an error that says what to do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from pipeline.base import InputError, RunDeletedError, TrackingUnavailableError, hide_passwords

LONGEST_REASON = 200  # characters: what follows is SQL, or the page of some other server
_STATUS = re.compile(r"error code (401|403)\b|\b(401|403) Client Error")
_DELETED = re.compile(r"The run (\w+) must be in the 'active' state")
_CODES = {"UNAUTHENTICATED": "401", "CUSTOMER_UNAUTHORIZED": "401", "PERMISSION_DENIED": "403"}
_NO_SERVER = "Reading Databricks credential configuration failed"
# Of a database or an address: what the error says of it, and what is to be done.
_ACTIONS = {
    "out-of-date database schema": "If an older MLflow made it, back it up and run "
    "`mlflow db upgrade` on it; if a newer one did, install that.",
    "already exists|duplicate column|no such (table|column)": "MLflow was cut off while it made or "
    "upgraded it: if it holds no runs yet, delete it and give the command again; else restore a "
    "backup.",
    "readonly database": "Make the file and its folder writable.",
    "No module named": "Install the driver, or name one that is, e.g. postgresql+psycopg2://.",
    "maintenance mode": "Leave MLFLOW_TRACKING_URI unset, or set it to a database such as "
    "sqlite:///mlflow.db; `mlflow migrate-filestore` takes the runs of a folder along.",
}
_CORRECT = "Correct MLFLOW_TRACKING_URI; unset, runs are kept in mlflow.db in the working folder."


def reason(error: BaseException) -> str:
    """What an error says, in one line that is not long and holds no password."""
    text = hide_passwords(str(error))
    of_database = re.search(r"\(\w+\.\w*Error\) .*", text)  # around it is SQLAlchemy's advice
    line = of_database[0] if of_database else text.strip().partition("\n")[0]
    return line if len(line) <= LONGEST_REASON else f"{line[:LONGEST_REASON]}..."


def refusal(
    error: Exception,
) -> InputError | TrackingUnavailableError | RunDeletedError | None:
    """What a person has to do about an error of the store; None where it is another kind of error.

    A database whose disk is full has not taken everything, and will once there is room.
    """
    text = str(error)
    if deleted := _DELETED.search(text):
        return RunDeletedError(deleted[1])
    found = _STATUS.search(text)
    status = found[1] or found[2] if found else _CODES.get(getattr(error, "error_code", ""))
    if status:
        return _not_allowed(text) if status == "403" else _not_known()
    if "sqlite3." in text and re.search("is full|disk I/O", text):
        return TrackingUnavailableError(f"{reason(error)}, {_store()}")
    is_address = type(error).__name__ == "InvalidUrlException" or text.startswith(_NO_SERVER)
    is_address |= getattr(error, "error_code", "") == "ENDPOINT_NOT_FOUND"
    spoilt = "readonly|not a database|malformed|no such table|no such column"
    is_database = "sqlite3." in text and re.search(spoilt, text)
    return _unusable(error) if is_address or is_database else None


@contextmanager
def unless_opened() -> Iterator[None]:
    """Turn whatever is raised while the store is opened into an InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of MLflow, SQLAlchemy, a driver
        raise refusal(error) or _unusable(error) from error


def _unusable(error: Exception) -> InputError:
    actions = (action for says, action in _ACTIONS.items() if re.search(says, str(error)))
    return InputError(
        f"tracking store {_store()}",
        expected="a tracking server, or a database that MLflow can use",
        received=f"one that it cannot ({reason(error).rstrip('.')})",
        action=next(actions, _CORRECT),
    )


def _not_known() -> InputError:
    user = _user()
    return InputError(
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD",
        expected=f"a user name and a password that {_store()} takes",
        received=f"those of {user!r}, which it does not" if user else "none",
        action="Set both in the environment, or in ~/.mlflow/credentials; for a token, "
        "MLFLOW_TRACKING_TOKEN.",
    )


def _not_allowed(text: str) -> InputError:
    call = re.search(r"/(?:mlflow|mlflow-artifacts)/([a-z-]+(?:/[a-z-]+)*)", text)
    name = call[1] if call else "this"
    of_model = name.startswith(("registered-models", "model-versions"))
    permission = "READ" if re.search(r"(^|/)(get|search|list)", name) else "EDIT"
    return InputError(
        f"permission on {_store()}",
        expected=f"{permission} on the {'registered model' if of_model else 'experiment'}",
        received=f"{_user() or 'a user'!r}, who may not ({name}: 403)",
        action="Ask whoever looks after the server for that permission.",
    )


def _user() -> str:
    """The user that the server is asked as; empty where there is none."""
    import mlflow
    from mlflow.utils.credentials import read_mlflow_creds

    given = urlsplit(mlflow.get_tracking_uri()).username
    return given or read_mlflow_creds().username or ""


def _store() -> str:
    import mlflow

    return hide_passwords(mlflow.get_tracking_uri())
