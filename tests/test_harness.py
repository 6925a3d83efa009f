"""benchmarks.harness: fresh processes, turns, ratios, and what is printed."""

import json
import os
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from benchmarks import harness
from benchmarks.harness import OURS, Result


def spend(cpu_seconds: float, mib: int) -> harness.Row:
    """Use processor and memory; called in a process of its own."""
    import time

    held = bytearray(mib * harness.MIB)
    held[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(held[:: os.sysconf("SC_PAGE_SIZE")])
    while time.process_time() < cpu_seconds:
        pass
    return {"folder": os.getcwd(), "length": len(held)}


def test_a_call_returns_what_the_function_returned_and_what_its_process_used(
    tmp_path: Path,
) -> None:
    environment = {"PYTHONPATH": f"{harness.PROJECT}:{harness.PROJECT / 'tests'}"}
    small, large = (
        harness.call(
            spend,
            {"cpu_seconds": 1.5, "mib": mib},
            directory=tmp_path,
            environment=environment,
        )
        for mib in (1, 301)
    )
    assert small["folder"] == str(tmp_path)
    assert large["length"] == 301 * harness.MIB
    for row in (small, large):
        assert row["wall_seconds"] >= 1.5
        assert 1.5 <= row["cpu_seconds"] < 3
    assert large["peak_mib"] - small["peak_mib"] == pytest.approx(300, abs=15)


def test_a_failing_process_is_reported_with_its_error() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        harness.run([sys.executable, "-c", "1 / 0"])


def test_a_measured_process_gets_neither_the_pipelines_threads_nor_its_flags(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_prefer_vector_width=512")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    received = harness.clean_environment()
    assert not [name for name in received if name.startswith(("TF_", "XLA_", "OMP_"))]
    assert "MLFLOW_TRACKING_URI" not in received
    assert received["CUDA_VISIBLE_DEVICES"] == "0"
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
    result = harness.result("wall s", rows, "wall_seconds", peer="peer", at_least=3)
    assert result.ours == [1.0, 2.0]
    assert result.peer == [4.0, 8.0]
    assert result.ratios == [4.0, 4.0]


@pytest.mark.parametrize(
    ("result", "ratios", "reached"),
    [
        (Result(what="s", ours=[1, 2], peer=[6, 8], at_least=5), [6, 4], True),
        (Result(what="s", ours=[1, 2], peer=[6, 8], at_least=5.1), [6, 4], False),
        (Result(what="s", ours=[6, 8], peer=[5, 10], at_most=1), [1.2, 0.8], True),
        (Result(what="s", ours=[6, 8], peer=[5, 5], at_most=1), [1.2, 1.6], False),
        (Result(what="s", ours=[21, 25], at_most=30), [21, 25], True),
        (Result(what="s", ours=[21, 45], at_most=30), [21, 45], False),
        (Result(what="s", ours=[1], peer=[3]), [3], None),
    ],
)
def test_a_result_is_reached_by_the_median_of_its_ratios(
    result: Result, ratios: list[float], reached: bool | None
) -> None:
    assert result.ratios == pytest.approx(ratios)
    assert result.reached is reached


def test_sides_that_computed_something_else_are_refused() -> None:
    harness.check_same("val_loss", {"ours": 1.0, "theirs": 1.04}, tolerance=0.05)
    with pytest.raises(RuntimeError, match="did not compute the same: val_loss"):
        harness.check_same("val_loss", {"ours": 1.0, "theirs": 1.06}, tolerance=0.05)


@pytest.mark.parametrize(("load", "warned"), [(0.1, False), (1.6, True)])
def test_a_report_is_written_and_shown_with_its_conditions(
    load: float,
    warned: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load))
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    harness.publish(
        "start_up",
        [
            Result(what="wall s", ours=[2, 1, 3], peer=[2, 2, 2], peer_name="x", at_most=1.3),
            Result(what="MiB", ours=[7]),
        ],
        machine=harness.describe_machine(),
        conditions={"dataset": "stripes"},
        measured=pd.DataFrame({"side": [OURS], "wall_seconds": [2]}),
        notes=["One note."],
    )
    report = json.loads((tmp_path / "start_up.json").read_text("utf-8"))
    assert report["measurements"] == [{"side": "pipeline", "wall_seconds": 2}]
    assert [row["reached"] for row in report["results"]] == [True, None]
    assert set(report["machine"]["versions"]) >= {"python", "tensorflow", "mlflow"}
    printed = capsys.readouterr().out
    for text in (
        "start up",
        "2 (1-3)",
        "1 (0.5-1.5)",
        "at most 1.3x",
        "yes",
        "One note.",
        "stripes",
    ):
        assert text in printed
    assert ("the machine was busy" in printed) == warned
    harness.show(report, Console())
