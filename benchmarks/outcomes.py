"""What a benchmark came to: ratios by round, what they are to reach, the table and the JSON."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks import harness
from pipeline.base import progress

RESULTS = harness.PROJECT / "benchmarks" / "results"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One figure of ours, round by round, and what it is measured against.

    Args:
        what: the figure, with its unit.
        ours: one value per round.
        peer: one value per round of the other side; empty where there is none.
        peer_name: what the other side is called.
        at_least: how many times ours the peer's figure is to be.
        at_most: how many times the peer's figure ours may be; without a peer, the most it may be.
    """

    what: str
    ours: Sequence[float]
    peer: Sequence[float] = field(default=())
    peer_name: str = ""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ratios(self) -> list[float]:
        """By round: peer / ours where that is to be high, else ours / peer, or ours alone."""
        if not self.peer:
            return list(self.ours)
        pairs = zip(self.ours, self.peer, strict=True)
        if self.at_most is None:
            return [peer / ours for ours, peer in pairs]
        return [ours / peer for ours, peer in pairs]

    @property
    def reached(self) -> bool | None:
        """Whether the median ratio is what it is to be; None where nothing is asked."""
        ratio = statistics.median(self.ratios)
        if self.at_least is not None:
            return ratio >= self.at_least
        return None if self.at_most is None else ratio <= self.at_most

    def as_dict(self) -> harness.Row:
        """For JSON."""
        return {**asdict(self), "ratios": self.ratios, "reached": self.reached}


def result(
    what: str,
    measured: pd.DataFrame,
    column: str,
    *,
    peer: str | None = None,
    **wanted: float | None,
) -> Result:
    """A result of what `harness.in_turns` measured, ours being the side `harness.OURS`.

    Args:
        what: the figure, with its unit.
        measured: from `harness.in_turns`.
        column: of the figure.
        peer: name of the other side; None: there is none.
        wanted: `at_least` or `at_most`.
    """
    by_round = measured.pivot_table(column, "round", "side", aggfunc="median")
    theirs = by_round[peer].tolist() if peer else []
    return Result(
        what=what, ours=by_round[harness.OURS].tolist(), peer=theirs, peer_name=peer or "", **wanted
    )


def check_same(what: str, values: Mapping[str, float], *, tolerance: float) -> None:
    """Refuse a comparison of sides that have not computed the same thing.

    Args:
        what: the quantity.
        values: by side.
        tolerance: how far two may differ, as a fraction of the larger one.

    Raises:
        RuntimeError: if two differ by more.
    """
    low, high = min(values.values()), max(values.values())
    if high - low > tolerance * abs(high):
        raise RuntimeError(f"the sides did not compute the same: {what} {dict(values)}")


def publish(
    name: str,
    results: Sequence[Result],
    *,
    machine: harness.Row,
    conditions: harness.Row,
    measured: pd.DataFrame | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Print a benchmark's results and write them to `results/<name>.json`.

    Args:
        name: of the benchmark.
        results: what it came to.
        machine: from `harness.describe_machine`, before the first measurement.
        conditions: what was measured under, such as the data set.
        measured: every measurement.
        notes: lines that explain the figures.
    """
    report = {
        "benchmark": name,
        "machine": machine,
        "conditions": conditions,
        "results": [result.as_dict() for result in results],
        "notes": list(notes),
        "measurements": [] if measured is None else json.loads(measured.to_json(orient="records")),
    }
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    show(report, Console(highlight=False))
    progress.update(message=f"Written to {path}")


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print a report: the table, what explains it, and what it was measured under."""
    if not console.is_terminal:
        console.width = 150  # a log has no width of its own
    table = Table(title=report["benchmark"].replace("_", " "))
    for column in ("what", "ours", "against", "theirs", "ratio", "to reach", "reached"):
        table.add_column(column)
    for row in report["results"]:
        table.add_row(
            row["what"],
            spread(row["ours"]),
            row["peer_name"],
            spread(row["peer"]),
            spread(row["ratios"]) if row["peer"] else "",
            _wanted(row),
            {True: "yes", False: "no", None: ""}[row["reached"]],
        )
    console.print(table)
    for note in report["notes"]:
        console.print(note, markup=False)
    console.print(_conditions(report), markup=False)
    if report["machine"]["warning"]:
        console.print(f"WARNING: {report['machine']['warning']}", style="bold red")


def _wanted(row: Mapping[str, Any]) -> str:
    unit = "x" if row["peer"] else ""
    if row["at_least"] is not None:
        return f"at least {row['at_least']:g}{unit}"
    return "" if row["at_most"] is None else f"at most {row['at_most']:g}{unit}"


def spread(values: Sequence[float]) -> str:
    """Median (lowest-highest) of some values; the median alone where there is one."""
    if not values:
        return ""
    texts = [
        f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
        for value in (statistics.median(values), min(values), max(values))
    ]
    return texts[0] if len(values) == 1 else f"{texts[0]} ({texts[1]}-{texts[2]})"


def _conditions(report: Mapping[str, Any]) -> str:
    machine = report["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    conditions = ", ".join(f"{name} {value}" for name, value in report["conditions"].items())
    return (
        "Median (lowest-highest) of the rounds; a ratio is of the two sides in one round.\n"
        f"{conditions}\n"
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB\n"
        f"{machine['date']}, {versions}"
    )
