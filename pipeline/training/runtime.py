"""What decides results in the environment, how TensorFlow is imported, and its memory."""

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

from pipeline.base import InputError

# In force whatever the environment says. One thread: two workers with one thread each train more
# epochs per second than one with two, and results do not depend on the number of cores. No GPU: its
# digits are others. 512-bit vectors: XLA's default of 256 leaves AVX-512 processors half idle;
# others ignore it.
SETTINGS = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_NUM_INTEROP_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_prefer_vector_width=512",
}
# What else begins like this is not taken from the environment: by the module that reads it, once.
# Seen to change digits: KERAS_MAX_EPOCHS, ONEDNN_MAX_CPU_ISA, DNNL_MAX_CPU_ISA, XLA_FLAGS and
# TF_ENABLE_ONEDNN_OPTS; to break a step: KERAS_BACKEND, KERAS_NNX_ENABLED, TF_DETERMINISTIC_OPS,
# TF_ENABLED_DEVICE_TYPES, TF_XLA_FLAGS, NPY_DISABLE_CPU_FEATURES, PANDAS_FUTURE, and the model that
# MLflow adds every metric to.
READ_BY = {
    "CUDA_VISIBLE_DEVICES": "tensorflow",
    "DNNL_": "tensorflow",
    "KERAS_": "keras",
    "MLFLOW_ACTIVE_MODEL_ID": "mlflow",
    "_MLFLOW_ACTIVE_MODEL_ID": "mlflow",
    "NPY_": "numpy",
    "ONEDNN_": "tensorflow",
    "PANDAS_": "pandas",
    "TF_": "tensorflow",
    "XLA_": "tensorflow",
}
M_TOP_PAD, KEPT_BYTES = -2, 32 * 2**20  # of glibc's malloc.h; a block of CIFAR-10 is 6.6 MB
KEPT = "KERAS_HOME"  # data sets are there; its keras.json is not read
# Set on purpose, for one command: to do something else than was asked for would be no answer.
REFUSED = {
    "KERAS_MAX_EPOCHS": "Unset it, and give epochs and search_epochs.",
    "KERAS_MAX_STEPS_PER_EPOCH": "Unset it, and declare data of which less is taken.",
    "XLA_FLAGS": "Unset it: the pipeline sets its own.",
}


def configure() -> None:
    """Set what decides results, and forget what would change them, where that is not read yet."""
    for name, module in _other_settings().items():
        wished = name in REFUSED and os.environ.get(name)
        if wished or module in sys.modules:
            continue
        if name in SETTINGS:
            os.environ[name] = SETTINGS[name]
        else:
            del os.environ[name]


def refuse_other_settings() -> None:
    """Refuse what `configure` has left as it was.

    Raises:
        InputError: a variable that is set on purpose, or was read before it could be set.
    """
    for name, module in _other_settings().items():
        raise InputError(
            name,
            expected=f"{SETTINGS.get(name, 'none')}, with which results are made",
            received=repr(os.environ.get(name, "none")),
            action=REFUSED.get(name)
            or f"{module} has read it: start a process that nothing else has imported {module} in.",
        )


def _other_settings() -> dict[str, str]:
    """The variables that are not as in `SETTINGS`, and the module that reads each."""
    named = [name for name in os.environ if name.startswith(tuple(READ_BY)) and name != KEPT]
    names = sorted({*SETTINGS, *named})
    return {
        name: next(module for begin, module in READ_BY.items() if name.startswith(begin))
        for name in names
        if os.environ.get(name) != SETTINGS.get(name)
    }


@cache
def import_tensorflow() -> None:
    """Import TensorFlow and Keras, configured, without start-up messages that nobody can act on."""
    configure()
    refuse_other_settings()
    gc.disable()  # it would look through what is imported, for half a second, and find nothing
    # The messages are written by C++ before any log level is read. TensorFlow imports Keras, and
    # that its wrappers for scikit-learn, which nothing here uses, with 400 modules of SciPy.
    with _without_stderr(), _without_keras_json(), _as_if_not_installed("sklearn"):
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
def _without_keras_json() -> Iterator[None]:
    """Let Keras find no keras.json, which holds types and formats, nor write one."""
    home = os.environ.get(KEPT)
    os.environ[KEPT] = os.devnull
    try:
        yield
    finally:
        if home is None:
            del os.environ[KEPT]
        else:
            os.environ[KEPT] = home


@contextmanager
def _as_if_not_installed(package: str) -> Iterator[None]:
    """Let imports of a package fail, unless it has been imported already."""
    sys.modules.setdefault(package, None)  # type: ignore[arg-type]  # Python's way of saying so
    try:
        yield
    finally:
        if sys.modules[package] is None:
            del sys.modules[package]


def settle_memory() -> None:
    """Give back what compiling has freed (70 MB), and keep what blocks of images free from here on.

    Else glibc would return and get every block's memory anew, page by page: 0.12 ms of a step.
    """
    with suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
        libc.mallopt(M_TOP_PAD, KEPT_BYTES)
