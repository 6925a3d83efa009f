"""benchmarks.turns: one process works at a time, and only its own epochs are timed."""

import time
from pathlib import Path

import psutil
import pytest

from benchmarks import harness, turns

TESTS = {"PYTHONPATH": f"{harness.PROJECT}:{Path(__file__).parent}"}


def work(name: str, log: str, times: int) -> harness.Row:
    """Write down the beginning and the end of every turn; called in a process of its own."""
    turns.end_turn()
    for _ in range(times):
        with Path(log).open("a") as file:
            file.write(f"{name} ")
            file.flush()
            time.sleep(0.05)
            file.write(f"{name} ")
        turns.end_turn()
    return {"name": name}


def test_only_one_of_the_processes_that_take_turns_works_at_a_time(tmp_path: Path) -> None:
    log = tmp_path / "log"
    sides: dict[str, turns.Side] = {
        name: (work, {"name": name, "log": str(log), "times": 3}) for name in ("a", "b")
    }
    returned = turns.alternate(sides, turns=3, environment=TESTS)
    assert log.read_text() == "a a b b a a b b a a b b "
    assert returned == {"a": {"name": "a"}, "b": {"name": "b"}}


def test_a_process_that_fails_in_its_turn_is_reported_and_the_others_are_ended(
    tmp_path: Path,
) -> None:
    good = {"name": "a", "log": str(tmp_path / "log"), "times": 1000}
    sides: dict[str, turns.Side] = {
        "a": (work, good),
        "b": (work, {**good, "log": str(tmp_path)}),
    }
    with pytest.raises(RuntimeError, match="IsADirectoryError"):
        turns.alternate(sides, turns=3, environment=TESTS)
    assert (tmp_path / "log").read_text() == "a a "
    assert not [
        process for process in psutil.Process().children() if "harness" in str(process.cmdline())
    ]


def test_neither_the_first_epoch_nor_another_sides_turn_is_timed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A start and an end per epoch; in between, the other sides have their turn.
    times = iter([0.0, 100.0, 170.0, 172.0, 240.0, 241.0, 300.0, 304.0, 400.0, 410.0])
    monkeypatch.setattr(turns.time, "perf_counter", lambda: next(times))
    monkeypatch.setattr(turns.time, "process_time", lambda: 0.0)
    ended: list[None] = []
    monkeypatch.setattr(turns, "end_turn", lambda: ended.append(None))
    clock = turns.Clock(alternating=True)
    for _ in range(4):
        clock.epoch_ended()
    assert len(ended) == 4
    assert clock.worked() == 100.0 + 2.0 + 1.0 + 4.0 + 10.0
    assert clock.seconds() == {
        "epoch_wall_seconds": (2.0, 1.0, 4.0),
        "epoch_cpu_seconds": (0.0, 0.0, 0.0),
    }
