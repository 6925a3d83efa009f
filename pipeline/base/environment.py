"""What MLflow reads from the environment, and when Python looks for memory to free."""

import atexit
import gc
import logging
import os

# What imports make is there to stay: to look through it again and again takes 0.4 s of a command.
# `import_tensorflow` sets Python's own threshold again.
gc.set_threshold(50_000)
# Nor is it to be taken apart at the end: with TensorFlow that takes 2 s of every process.
atexit.register(gc.freeze)


def configure() -> None:
    """Set MLflow's verbosity, retries and what it may load; call it before importing MLflow."""
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    # Only the first retry, which is at once: `patience` waits, and says that it does.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ |= {
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # a model is its weights, never code
        # MLflow's line at the end of a run shows a password that the server's address holds.
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    # Tracebacks of what these raise as well.
    for name in ("mlflow.store.db.utils", "mlflow.utils.databricks_utils"):
        logging.getLogger(name).setLevel("CRITICAL")
    # For an MLflow that has been imported already.
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])
