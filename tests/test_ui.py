import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from browser import free_port
from conftest import PROJECT, Finished, copy_database, copy_of

from pipeline import ui
from pipeline.tracking.server import PORTS_TRIED

GB = 2**20  # kB


@dataclass(frozen=True)
class Started:
    """`python -m pipeline.ui` on a port that was taken.

    Args:
        process: the command.
        port: the port that was asked for.
        lines: what it printed until it waits.
    """

    process: subprocess.Popen[str]
    port: int
    lines: tuple[str, ...]


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Starts `python -m pipeline.ui` in a directory; ended here where a test has not."""
    processes: list[subprocess.Popen[str]] = []

    def start_in(directory: Path, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        inherited = {name: value for name, value in os.environ.items() if "MLFLOW" not in name}
        processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "pipeline.ui", *arguments],
                cwd=directory,
                env={**inherited, "PYTHONPATH": str(PROJECT), **environment},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return processes[-1]

    yield start_in
    for process in processes:
        process.terminate()
        process.communicate(timeout=120)


def read_until(process: subprocess.Popen[str], last: str) -> tuple[str, ...]:
    assert process.stdout
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if lines[-1] == last:
            break
    return tuple(lines)


def descendants(pid: int) -> list[int]:
    """The processes below one, all generations."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True)
    pairs = [
        (int(child), int(parent)) for child, parent in map(str.split, listed.stdout.splitlines())
    ]
    found = [pid]
    for ancestor in found:
        found += [child for child, parent in pairs if parent == ancestor]
    return found[1:]


def memory(pids: list[int]) -> int:
    """The memory of some processes in kB, pages that they share counted once in all (PSS)."""
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return sum(int(re.findall(r"^Pss: +(\d+)", text, re.M)[0]) for text in texts)


@pytest.fixture(scope="module")
def started(
    finished_original: Finished, start: Start, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Started]:
    finished = copy_of(finished_original, tmp_path_factory.mktemp("started") / "finished")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(finished.directory, "--port", str(port))
        yield Started(process, port, read_until(process, "Ctrl-C ends it."))


@pytest.mark.slow
def test_where_the_port_is_taken_the_next_is_used_and_the_comparison_is_shown(
    started: Started,
) -> None:
    assert started.process.poll() is None
    said, report, address, _ = started.lines
    used = int(said.removeprefix(f"Port {started.port} is taken: using ").removesuffix("."))
    assert started.port < used <= started.port + PORTS_TRIED
    assert re.fullmatch(
        rf"Report: http://127\.0\.0\.1:{used}/#/experiments/0/runs/[0-9a-f]{{32}}"
        r"/artifacts/report\.html\?workflowType=machine_learning",
        report,
    )
    assert re.fullmatch(
        rf"MLflow UI: http://127\.0\.0\.1:{used}/#/experiments/0/runs\?"
        r"viewStateShareKey=comparison-twenty_layers-[0-9a-f]{8}&compareRunsMode=CHART&workflowType=.*",
        address,
    )


@pytest.mark.slow
def test_the_server_is_lean_and_ends_with_all_that_it_started(started: Started) -> None:
    process = started.process
    children = descendants(process.pid)
    commands = [Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in children]
    assert ["mlflow", "server"] in [command[2:4] for command in commands]
    assert ["uvicorn"] in [command[2:3] for command in commands]
    assert len(children) == 2  # no further workers, no consumers of a job queue
    if Path("/proc/self/smaps_rollup").exists():
        assert memory([process.pid, *children]) < 0.7 * GB
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert process.stdout
    assert process.stdout.read() == "Ended.\n"
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("has_store", [False, True])
def test_without_any_runs_it_says_how_to_make_some(
    start: Start, tmp_path: Path, empty_database: Path, has_store: bool
) -> None:
    if has_store:
        copy_database(empty_database, tmp_path / "mlflow.db", artifacts=str(tmp_path))
    before = sorted(tmp_path.iterdir())
    output, errors = (process := start(tmp_path)).communicate(timeout=120)
    assert (process.returncode, output, errors) == (0, "No runs yet: make run\n", "")
    assert has_store or sorted(tmp_path.iterdir()) == before == []


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_start_that_is_interrupted_leaves_nothing(
    start: Start, tmp_path: Path, empty_database: Path, ending: signal.Signals
) -> None:
    copy_database(empty_database, tmp_path / "mlflow.db", artifacts=str(tmp_path))
    process = start(tmp_path, "--port", str(free_port()))
    deadline = time.monotonic() + 60
    while not (children := descendants(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children
    process.send_signal(ending)
    output, _ = process.communicate(timeout=120)
    assert (process.returncode, output) == (0, "Ended.\n")
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def test_a_server_that_cannot_start_is_said(start: Start, tmp_path: Path) -> None:
    (tmp_path / "broken.db").write_text("no database")
    uri = f"sqlite:///{tmp_path}/broken.db"
    process = start(tmp_path, "--port", str(free_port()), MLFLOW_TRACKING_URI=uri)
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output) == (2, "")
    assert errors.startswith(f"Error: tracking store {uri}: expected")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "named"), [(("--port", "0"), "--port"), (("--open", "maybe"), "--open")]
)
def test_bad_options_are_refused(arguments: tuple[str, ...], named: str) -> None:
    command = [sys.executable, "-m", "pipeline.ui", *arguments]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 2
    assert named in done.stderr


def test_a_server_in_force_is_asked_and_none_is_started(start: Start, tmp_path: Path) -> None:
    # Nothing listens there: the runs cannot be read, which is said without the password.
    uri = f"http://me:secret@127.0.0.1:{free_port()}"
    process = start(tmp_path, MLFLOW_TRACKING_URI=uri, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    output, errors = process.communicate(timeout=120)
    assert (process.returncode, output) == (2, "")
    assert errors.startswith("Error: MLFLOW_TRACKING_URI: expected the address of a tracking ser")
    assert errors.count("\n") == 1
    assert "secret" not in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("environment", "is_terminal", "open", "expected"),
    [
        ({"DISPLAY": ":0"}, True, "auto", ["http://here"]),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True, "auto", ["http://here"]),
        ({"DISPLAY": ":0"}, True, "never", []),
        ({"DISPLAY": ":0"}, False, "auto", []),
        ({}, True, "auto", []),
    ],
)
def test_a_browser_opens_only_where_someone_sees_it(
    environment: dict[str, str],
    is_terminal: bool,
    open: str,
    expected: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    asked: list[str] = []
    monkeypatch.setattr(ui.webbrowser, "open", asked.append)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal, raising=False)
    ui.show({"Report": "http://report", "MLflow UI": "http://here"}, open)
    assert asked == expected
