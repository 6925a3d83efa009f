"""benchmarks.outcomes: ratios, what is reached, and what is printed."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from benchmarks import harness, outcomes
from benchmarks.harness import OURS
from benchmarks.outcomes import Result


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
    outcomes.check_same("val_loss", {"ours": 1.0, "theirs": 1.04}, tolerance=0.05)
    with pytest.raises(RuntimeError, match="did not compute the same: val_loss"):
        outcomes.check_same("val_loss", {"ours": 1.0, "theirs": 1.06}, tolerance=0.05)


@pytest.mark.parametrize(("load", "warned"), [(0.1, False), (1.6, True)])
def test_a_report_is_written_and_shown_with_its_conditions(
    load: float,
    warned: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load))
    monkeypatch.setattr(outcomes, "RESULTS", tmp_path)
    outcomes.publish(
        "start_up",
        [
            Result(what="wall s", ours=[2, 1, 3], peer=[2, 2, 2], peer_name="x", at_most=1.3),
            Result(what="MiB", ours=[7, 1175, 2500]),
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
        "1,175 (7-2,500)",
        "at most 1.3x",
        "yes",
        "One note.",
        "stripes",
    ):
        assert text in printed
    assert ("the machine was busy" in printed) == warned
    outcomes.show(report, Console())
