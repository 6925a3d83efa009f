"""What TensorFlow reads from the environment, which decides results, and how it is imported."""

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache


def configure() -> None:
    """Set threads, vector width and verbosity, for a TensorFlow that is not imported yet.

    One thread: two workers with one thread each train more epochs per second than one with two,
    and results do not depend on the number of cores. 512-bit vectors: XLA's default of 256 leaves
    AVX-512 processors half idle; others ignore it.
    """
    os.environ |= {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "-1"),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", "--xla_cpu_prefer_vector_width=512"),
    }


@cache
def import_tensorflow() -> None:
    """Import TensorFlow and Keras, configured, without start-up messages that nobody can act on."""
    configure()
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
    sys.modules.setdefault(package, None)  # type: ignore[arg-type]  # Python's way of saying so
    try:
        yield
    finally:
        if sys.modules[package] is None:
            del sys.modules[package]
