import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline import ownership


def owner(**changes: object) -> dict[str, str]:
    return ownership.owner_tags() | {name: str(value) for name, value in changes.items()}


def unchanged() -> str:
    raise AssertionError("a process on this host is looked up, not listened for")


@contextmanager
def sleeping_process(**environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env={**os.environ, **environment}
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_this_process_is_alive() -> None:
    assert ownership.owner_is_alive(owner(), unchanged)


def test_a_process_that_ended_is_not_alive() -> None:
    with sleeping_process() as process:
        tags = owner(pid=process.pid, process_started=time.time())
        assert ownership.owner_is_alive(tags, unchanged)
    assert not ownership.owner_is_alive(tags, unchanged)


def test_another_process_with_the_same_id_is_not_the_owner() -> None:
    earlier = float(owner()["process_started"]) - 3600
    assert not ownership.owner_is_alive(owner(process_started=earlier), unchanged)


def test_on_another_host_a_young_heartbeat_tells_of_life() -> None:
    assert ownership.owner_is_alive(owner(host="elsewhere", pid=1), unchanged)


@pytest.mark.parametrize(("later", "alive"), [("1.0", False), ("2.0", True)])
def test_on_another_host_an_old_heartbeat_is_watched(
    monkeypatch: pytest.MonkeyPatch, later: str, alive: bool
) -> None:
    monkeypatch.setattr(ownership, "HEARTBEAT_SECONDS", 0.01)
    tags = owner(host="elsewhere", heartbeat="1.0")
    assert ownership.owner_is_alive(tags, lambda: later) is alive


def test_a_shell_is_alive_while_a_process_works_for_its_run() -> None:
    run_id = f"run-{os.getpid()}-{time.time_ns()}"
    with sleeping_process(MLFLOW_RUN_ID=run_id):
        assert ownership.shell_is_alive(run_id, opened=0)
        assert not ownership.shell_is_alive(f"{run_id}-other", opened=0)
    assert not ownership.shell_is_alive(run_id, opened=0)


def test_a_shell_may_have_opened_the_runs_that_are_younger_than_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "mlflow"
    program.write_text("import time\ntime.sleep(60)\n")
    before = time.time() - 1
    shell = subprocess.Popen([sys.executable, program, "run", "."])
    try:
        assert ownership.shell_is_alive("a-run", opened=time.time() + 1)
        assert not ownership.shell_is_alive("a-run", opened=before)
    finally:
        shell.kill()
        shell.wait()
    assert not ownership.shell_is_alive("a-run", opened=time.time() + 1)


def test_the_heart_beats_until_the_end_and_survives_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ownership, "HEARTBEAT_SECONDS", 0.01)
    beats: list[str] = []

    def beat(now: str) -> None:
        beats.append(now)
        if len(beats) == 1:
            raise ConnectionError("away")

    with ownership.heartbeat(beat):
        while len(beats) < 3:
            time.sleep(0.01)
    time.sleep(0.05)
    count = len(beats)
    time.sleep(0.1)
    assert len(beats) == count
    assert beats == sorted(beats)
