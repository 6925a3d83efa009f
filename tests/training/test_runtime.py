import gc
import importlib
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
from conftest import PROJECT, environment_of_a_user
from digits import digits

from pipeline.base import InputError
from pipeline.training import runtime

# Each of these, alone, changed a digit of what is trained or predicted, or broke it.
HOSTILE = {
    "DNNL_MAX_CPU_ISA": "SSE41",
    "KERAS_BACKEND": "torch",
    "KERAS_NNX_ENABLED": "1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V2",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "PANDAS_FUTURE": "all",
    "TF_DETERMINISTIC_OPS": "1",
    "TF_ENABLED_DEVICE_TYPES": "GPU",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_XLA_FLAGS": "--nonsense",
}
KERAS_JSON = {
    "backend": "torch",
    "epsilon": 1,
    "floatx": "float16",
    "image_data_format": "channels_first",
    "nnx_enabled": True,
}


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process in which nothing has been imported yet, or set."""
    monkeypatch.setattr(runtime, "READ_BY", dict.fromkeys(runtime.READ_BY, "not imported"))
    for name in runtime.SETTINGS:
        monkeypatch.delenv(name, raising=False)  # set when the tests were collected


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("name", [*runtime.SETTINGS, *runtime.READ_BY])
def test_what_decides_results_is_not_taken_from_the_environment(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"{name}SOMETHING" if name.endswith("_") else name
    monkeypatch.setenv(variable, "" if name in runtime.REFUSED else "another")
    runtime.configure()
    runtime.refuse_other_settings()
    assert runtime.SETTINGS.items() <= os.environ.items()
    assert os.environ.get(variable) == runtime.SETTINGS.get(variable)


@pytest.mark.usefixtures("fresh")
def test_where_data_sets_are_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_HOME", "/data")
    runtime.configure()
    runtime.refuse_other_settings()
    assert os.environ["KERAS_HOME"] == "/data"


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("name", runtime.REFUSED)
def test_what_is_set_on_purpose_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    runtime.configure()
    with pytest.raises(InputError, match=rf"{name}: expected .*; received '1'. Unset it"):
        runtime.refuse_other_settings()


def test_what_was_read_before_it_could_be_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "READ_BY", dict.fromkeys(runtime.READ_BY, "os"))
    monkeypatch.delenv("KERAS_BACKEND")
    runtime.configure()
    with pytest.raises(InputError, match=r"KERAS_BACKEND: expected tensorflow.* os has read it"):
        runtime.refuse_other_settings()


@pytest.mark.slow
def test_a_hostile_environment_and_home_change_no_digit(tiny_npz: Path, tmp_path: Path) -> None:
    (tmp_path / "keras.json").write_text(json.dumps(KERAS_JSON))
    paths = {"PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}", "KERAS_HOME": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, "-m", "digits", str(tiny_npz)],
        env={**environment_of_a_user(), **HOSTILE, **paths},
        capture_output=True,
        text=True,
    )
    assert ran.stdout.strip() == digits(tiny_npz), ran.stderr


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
