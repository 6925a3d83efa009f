"""A tracking server with users and permissions, and what each of them is told."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import mlflow
import pytest
import requests
from conftest import Finished, copy_of
from logins import ADMIN, server_with_logins

from pipeline import command
from pipeline.compare import compare
from pipeline.main import main
from pipeline.prepare import prepare
from pipeline.tracking import outages, views

pytestmark = pytest.mark.slow

USERS = {name: {"username": name, "password": f"of {name}, 12 or more"} for name in ("bob", "eve")}
Exited = tuple[int, str, str]  # the code, what was printed, and what as an error
As = Callable[..., Exited]


def environment_of(name: str) -> dict[str, str]:
    given = USERS.get(name, {})
    return {f"MLFLOW_TRACKING_{key.upper()}": value for key, value in given.items()}


def _set_up(address: str) -> None:
    """Bob may write to the experiment, Eve may only read; nobody may to the registered model."""
    as_admin = requests.Session()
    as_admin.auth = tuple(ADMIN.values())  # type: ignore[assignment]

    def post(call: str, **given: str) -> None:
        as_admin.post(f"{address}/api/{call}", json=given, timeout=60).raise_for_status()

    for user in USERS.values():
        post("2.0/mlflow/users/create", **user)
    edit = {"resource_type": "experiment", "resource_id": "0", "permission": "EDIT"}
    post("3.0/mlflow/users/permissions/grant", username="bob", **edit)
    post("2.0/mlflow/experiments/create", name="gone")
    post("2.0/mlflow/experiments/delete", experiment_id="1")
    versions = f"{address}/api/2.0/mlflow/model-versions"
    (first, *_) = as_admin.get(f"{versions}/search", timeout=60).json()["model_versions"]
    named = {name: first[name] for name in ("name", "version")}
    as_admin.delete(f"{versions}/delete", json=named, timeout=60).raise_for_status()


@pytest.fixture(scope="module")
def address(finished_original: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with basic authentication on the finished comparison, one of its models deleted."""
    finished = copy_of(finished_original, tmp_path_factory.mktemp("users") / "finished")
    with server_with_logins(finished.directory) as address:
        _set_up(address)
        yield address


@pytest.fixture
def as_user(
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> As:
    """Runs an entry point as a user, as a command of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(outages, "_answered", threading.Event())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    mlflow.set_tracking_uri(address)

    def run(name: str, entry_point: Callable, *arguments: str, **more: str) -> Exited:
        given: Mapping[str, str] = environment_of(name) | more
        for key, value in given.items():
            monkeypatch.setenv(key, value)
        monkeypatch.setattr("sys.argv", ["command", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exited:
            command.run(entry_point)
        assert isinstance(exited.value.code, int)
        return exited.value.code, *capfd.readouterr()

    return run


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("nobody", {}, "MLFLOW_TRACKING_PASSWORD: expected .* received none"),
        ("bob", {"MLFLOW_TRACKING_PASSWORD": "wrong, 12 or more"}, "received those of 'bob'"),
        ("bob", {"MLFLOW_EXPERIMENT_NAME": "gone"}, "received 'gone': it is deleted"),
        ("bob", {"MLFLOW_EXPERIMENT_ID": "999"}, "received '999': there is none"),
    ],
)
def test_a_user_or_an_experiment_that_is_none_is_refused_in_one_line_by_every_door(
    as_user: As, tiny_npz: Path, name: str, given: dict[str, str], said: str
) -> None:
    doors = {prepare: (), main: ("--plan", "only"), compare: ()}
    for entry_point, arguments in doors.items():
        data = () if entry_point is compare else ("--dataset", str(tiny_npz))
        code, _, errors = as_user(name, entry_point, *arguments, *data, **given)
        assert code == 2
        assert errors.startswith("Error: ")
        assert errors.count("\n") == 1
        assert re.search(said, errors), errors


def test_who_may_only_read_gets_the_answers_and_is_told_what_was_not_written(
    as_user: As,
) -> None:
    code, printed, errors = as_user("eve", compare)
    assert (code, errors) == (0, "")
    assert "comparison twenty_layers on stripes: reused" in printed
    assert "The experiment's note was not written: permission on" in printed
    assert "expected EDIT on the experiment; received 'eve', who may not" in printed
    assert views.pages_to_open()["Report"].startswith(
        f"{mlflow.get_tracking_uri()}/#/experiments/0/runs/"
    )


def test_who_may_not_write_may_not_train_either_and_is_told_why(
    as_user: As, tiny_npz: Path
) -> None:
    code, _, errors = as_user("eve", prepare, "--dataset", str(tiny_npz), "--reuse", "never")
    assert code == 2
    assert re.fullmatch(r"Error: permission on .* EDIT on the experiment; .*\n", errors)


def test_a_registered_model_of_another_fails_no_comparison(as_user: As) -> None:
    code, printed, errors = as_user("bob", compare, "--reuse", "never")
    assert (code, errors) == (0, "")
    said = " ".join(printed.split())
    assert "not all registered as twenty-layers-stripes: permission on" in said
    newest = mlflow.MlflowClient().search_runs(["0"], "tags.step = 'compare'", max_results=1)[0]
    assert newest.info.status == "FINISHED"
    note = newest.data.tags["mlflow.note.content"]
    assert "expected EDIT on the registered model; received 'bob', who may not" in note
