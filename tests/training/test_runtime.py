import gc
import importlib
import os
import subprocess
import sys
import weakref

import pytest
from conftest import PROJECT, environment_of_a_user

from pipeline.training import runtime

DEFAULTS = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "-1",
    "XLA_FLAGS": "--xla_cpu_prefer_vector_width=512",
}


def test_configure_sets_one_thread_and_wide_vectors_where_nothing_is_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in DEFAULTS:
        monkeypatch.delenv(name)  # set when the tests were collected
    runtime.configure()
    assert {name: os.environ[name] for name in DEFAULTS} == DEFAULTS


def test_configure_respects_what_is_set_already_but_not_more_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"CUDA_VISIBLE_DEVICES": "0", "XLA_FLAGS": "--xla_dump_to=/tmp/xla"}
    for name, value in {**given, "TF_NUM_INTRAOP_THREADS": "8"}.items():
        monkeypatch.setenv(name, value)
    runtime.configure()
    assert {name: os.environ[name] for name in given} == given
    assert os.environ["TF_NUM_INTRAOP_THREADS"] == "1"


def test_stderr_is_silent_inside_and_back_afterwards_even_after_an_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail_silently() -> None:
        with runtime._without_stderr():
            os.write(2, b"hidden\n")
            raise ImportError

    open_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    with pytest.raises(ImportError):
        fail_silently()
    os.write(2, b"shown\n")
    assert capfd.readouterr().err == "shown\n"
    if open_files is not None:
        assert len(os.listdir("/proc/self/fd")) == open_files


@pytest.mark.slow
def test_importing_tensorflow_prints_nothing_and_imports_no_scikit_learn() -> None:
    program = (
        "import os, sys\n"
        "from pipeline.training import runtime\n"
        "runtime.import_tensorflow()\n"
        "assert 'sklearn' not in sys.modules\n"
        "assert os.environ['TF_NUM_INTRAOP_THREADS'] == '1'\n"
        "import keras, tensorflow as tf\n"
        "keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]).predict(tf.ones((4, 2)))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment_of_a_user(), "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_a_package_fails_to_import_only_inside_and_only_where_it_is_not_imported_yet() -> None:
    sys.modules.pop("colorsys", None)
    with runtime._as_if_not_installed("colorsys"), pytest.raises(ImportError):
        importlib.import_module("colorsys")
    imported = importlib.import_module("colorsys")
    with runtime._as_if_not_installed("colorsys"):
        assert importlib.import_module("colorsys") is imported


def test_importing_tensorflow_again_leaves_what_came_since_to_be_freed() -> None:
    runtime.import_tensorflow()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
    model = _Cycle()
    alive = weakref.ref(model)
    del model
    runtime.import_tensorflow()
    gc.collect()
    assert alive() is None


class _Cycle:
    def __init__(self) -> None:
        self.itself = self
