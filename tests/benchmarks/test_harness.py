"""benchmarks.harness: fresh processes, turns, ratios, and what is printed."""

import os
import sys
import time
from pathlib import Path

import pytest

from benchmarks import harness, outcomes
from benchmarks.harness import OURS

TESTS = {"PYTHONPATH": f"{harness.PROJECT}:{Path(__file__).parent}"}


def spend(cpu_seconds: float, mib: int) -> harness.Row:
    """Use processor and memory; called in a process of its own."""
    cpu_seconds += time.process_time()
    held = bytearray(mib * harness.MIB)
    held[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(held[:: os.sysconf("SC_PAGE_SIZE")])
    while time.process_time() < cpu_seconds:
        pass
    heavy = [name for name in ("mlflow", "scipy", "tensorflow") if name in sys.modules]
    used = {"length": len(held), "spent": cpu_seconds, "heavy": heavy}
    return {"folder": os.getcwd(), **used}


def test_a_call_returns_what_the_function_returned_and_what_its_process_used(
    tmp_path: Path,
) -> None:
    small, large = (
        harness.call(
            spend,
            {"cpu_seconds": 0.3, "mib": mib},
            directory=tmp_path,
            environment=TESTS,
        )
        for mib in (1, 301)
    )
    assert small["folder"] == str(tmp_path)
    assert large["length"] == 301 * harness.MIB
    for row in (small, large):
        assert row["heavy"] == []  # a side has no more than what it imports itself
        assert row["cpu_seconds"] >= row["spent"] > 0.3
        assert row["wall_seconds"] > 0.9 * row["cpu_seconds"]  # it computes in one thread
    assert large["peak_mib"] - small["peak_mib"] == pytest.approx(300, abs=15)


def test_a_failing_process_is_reported_with_its_error() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        harness.run([sys.executable, "-c", "1 / 0"])


def test_a_measured_process_gets_neither_the_pipelines_threads_nor_its_flags_and_has_bytecode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_prefer_vector_width=512")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    received = harness.clean_environment()
    assert not [name for name in received if name.startswith(("TF_", "XLA_", "OMP_"))]
    assert received.keys().isdisjoint({"MLFLOW_TRACKING_URI", "PYTHONDONTWRITEBYTECODE"})
    assert received["CUDA_VISIBLE_DEVICES"] == "-1"
    assert received["PATH"] == os.environ["PATH"]


def test_sides_are_measured_in_turns_and_paired_by_round() -> None:
    order: list[tuple[str, int]] = []

    def side(name: str, seconds: float) -> harness.Callable[[int], harness.Row]:
        def measure(number: int) -> harness.Row:
            order.append((name, number))
            return {"wall_seconds": seconds * number}

        return measure

    rows = harness.in_turns({OURS: side("ours", 1.0), "peer": side("peer", 4.0)}, rounds=2)
    assert order == [("ours", 1), ("peer", 1), ("ours", 2), ("peer", 2)]
    result = outcomes.result("wall s", rows, "wall_seconds", peer="peer", at_least=3)
    assert result.ours == [1.0, 2.0]
    assert result.peer == [4.0, 8.0]
    assert result.ratios == [4.0, 4.0]
