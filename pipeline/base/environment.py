"""What TensorFlow and MLflow read from the environment, and how they are imported."""

import atexit
import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

# What imports make is there to stay: to look through it again and again takes 0.4 s of a command.
# `import_tensorflow` sets Python's own threshold again.
gc.set_threshold(50_000)
# Nor is it to be taken apart at the end: with TensorFlow that takes 2 s of every process.
atexit.register(gc.freeze)


def configure() -> None:
    """Set threads, vector width and verbosity; call it before importing TensorFlow or MLflow.

    One thread: two workers with one thread each train more epochs per second than one with two,
    and results do not depend on the number of cores. 512-bit vectors: XLA's default of 256 leaves
    AVX-512 processors half idle; others ignore it. XLA_FLAGS and CUDA_VISIBLE_DEVICES that are
    already set are respected.
    """
    os.environ |= {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "-1"),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", "--xla_cpu_prefer_vector_width=512"),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_LOGGING_LEVEL": os.environ.get("MLFLOW_LOGGING_LEVEL", "WARNING"),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # a model is its weights, never code
        # MLflow's line at the end of a run shows a password that the server's address holds.
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        # Only the first retry, which is at once: `patience` waits, and says that it does.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1"),
    }
    # For an MLflow that has been imported already.
    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])


def import_tensorflow() -> None:
    """Import TensorFlow and Keras without their start-up messages, which nobody can act upon."""
    configure()
    _import_once_per_process()


@cache
def _import_once_per_process() -> None:
    gc.disable()  # it would look through what is imported, for half a second, and find nothing
    # The messages are written by C++ before any log level is read. TensorFlow imports Keras, and
    # that its wrappers for scikit-learn, which nothing here uses, with 400 modules of SciPy.
    with _without_stderr(), _as_if_not_installed("sklearn"):
        import tensorflow as tf
    import keras

    tf.get_logger().setLevel("ERROR")
    keras.config.disable_interactive_logging()
    gc.freeze()  # once: what comes later, such as old models, is to be freed, and soon
    gc.set_threshold(700)
    gc.enable()


@contextmanager
def _without_stderr() -> Iterator[None]:
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


@contextmanager
def _as_if_not_installed(package: str) -> Iterator[None]:
    """Let imports of a package fail, unless it has been imported already."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment]  # Python's own way of saying so
    try:
        yield
    finally:
        del sys.modules[package]
