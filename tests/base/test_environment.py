import logging
import os
import subprocess
import sys
import warnings

import pytest
from conftest import PROJECT

from pipeline.base import InputError, environment


def test_mlflow_is_quiet_where_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_LOGGING_LEVEL")  # set when the tests were collected
    environment.configure()
    assert os.environ["MLFLOW_LOGGING_LEVEL"] == "WARNING"
    assert logging.getLogger("mlflow").level == logging.WARNING


def test_a_log_level_that_is_set_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "DEBUG")
    environment.configure()
    assert os.environ["MLFLOW_LOGGING_LEVEL"] == "DEBUG"
    assert logging.getLogger("mlflow").level == logging.DEBUG
    logging.getLogger("mlflow").setLevel(logging.WARNING)


@pytest.mark.parametrize(("given", "level"), [("debug", "DEBUG"), ("nonsense", "WARNING")])
def test_a_log_level_is_one_that_mlflow_knows(
    given: str, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", given)
    environment.configure()
    assert os.environ["MLFLOW_LOGGING_LEVEL"] == level
    logging.getLogger("mlflow").setLevel(logging.WARNING)


@pytest.mark.parametrize("name", environment.SETTINGS)
def test_what_would_break_a_step_is_not_taken_from_the_environment(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "another")
    environment.configure()
    assert os.environ[name] == environment.SETTINGS[name]


@pytest.mark.parametrize(
    ("name", "readable"),
    [("MLFLOW_HTTP_REQUEST_TIMEOUT", "60"), ("MLFLOW_ENABLE_WORKSPACES", "false")],
)
def test_a_value_that_mlflow_cannot_read_is_refused(
    name: str, readable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow.environment_variables  # noqa: F401

    monkeypatch.setenv(name, readable)
    environment.refuse_unreadable()
    monkeypatch.setenv(name, "abc")
    with pytest.raises(InputError, match=f"{name}: expected a value .*; received 'abc'"):
        environment.refuse_unreadable()


def test_warnings_are_not_made_errors_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as Python does where it starts
        environment.configure()
        warnings.warn("of a library", DeprecationWarning, stacklevel=1)
    assert "PYTHONWARNINGS" not in os.environ  # other processes are started by this one


def test_what_a_process_holds_is_not_taken_apart_at_its_end() -> None:
    program = (
        "from pipeline.base import environment\n"
        "class Cycle:\n"
        "    def __init__(self): self.itself = self\n"
        "    def __del__(self): print('taken apart')\n"
        "held = Cycle()\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=PROJECT, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
