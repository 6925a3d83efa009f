"""What MLflow and Matplotlib read from the environment, and when Python frees memory."""

import atexit
import gc
import logging
import os
import sys
import warnings
from typing import Any

from pipeline.base.errors import InputError

# What imports make is there to stay: to look through it again and again takes 0.4 s of a command.
# `import_tensorflow` sets Python's own threshold again.
gc.set_threshold(50_000)
# Nor is it to be taken apart at the end: with TensorFlow that takes 2 s of every process.
atexit.register(gc.freeze)

# In force whatever the environment says: with other values, steps break or lose what they log.
SETTINGS = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # a model is its weights, never code
    # MLflow's line at the end of a run shows a password that the server's address holds.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_CONFIGURE_LOGGING": "true",  # another value fails its import
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",  # its queue drops what a server that is away missed
    "MLFLOW_TRUNCATE_LONG_VALUES": "true",  # else a long tag is refused, and its step fails
    "MLFLOW_LOCK_MODEL_DEPENDENCIES": "false",  # uv would resolve them again at every model
    "MPLBACKEND": "agg",  # others need a display; a notebook hands on one that is not installed
}


def configure() -> None:
    """Set what both read, and how much is said; call it before importing them."""
    level = os.environ.get("MLFLOW_LOGGING_LEVEL", "").upper()
    known = level in logging.getLevelNamesMapping()
    os.environ["MLFLOW_LOGGING_LEVEL"] = level if known else "WARNING"
    # Only the first retry, which is at once: `patience` waits, and says that it does.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ |= SETTINGS
    if os.environ.pop("PYTHONWARNINGS", None):  # as errors, SQLAlchemy's end a step
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning):
            warnings.simplefilter("ignore", category)
    # Tracebacks of what these raise as well.
    for name in ("mlflow.store.db.utils", "mlflow.utils.databricks_utils"):
        logging.getLogger(name).setLevel("CRITICAL")
    # For an MLflow that has been imported already.
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])


def refuse_unreadable() -> None:
    """Refuse a value that MLflow, where it is imported, cannot read of one of its variables.

    Raises:
        InputError: such as for a number of seconds that is no number.
    """
    mlflow: Any = sys.modules.get("mlflow.environment_variables")
    for one in vars(mlflow).values() if mlflow else ():
        if isinstance(one, mlflow._EnvironmentVariable) and one.defined:
            try:
                one.get()
            except ValueError as error:
                raise InputError(
                    one.name,
                    expected="a value that MLflow can read",
                    received=f"{os.environ[one.name]!r} ({error})",
                    action="Correct or unset it.",
                ) from error
