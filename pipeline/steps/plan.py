"""A plan in words: what becomes of every step, and how long those that are not done take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import NamedTuple

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.steps.reuse import Decision

NARROWEST = 150  # columns, where there is no terminal


class Estimate(NamedTuple):
    """Seconds that a step takes on one worker.

    Args:
        expected: with early stopping and pruning as in the runs measured.
        most: without either.
        basis: the runs measured.
        rough: whether these were of another variant, batch size or data set.
    """

    expected: float
    most: float
    basis: str
    rough: bool


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One step, and what would become of it.

    Args:
        decision: whether it is done, or why not.
        timed: whether it takes more than seconds.
        estimate: of its time, where any was measured.
        after: the names of the timed steps that it comes after.
    """

    decision: Decision
    timed: bool = False
    estimate: Estimate | None = None
    after: tuple[str, ...] = ()

    @property
    def is_left(self) -> bool:
        """Whether it is to run, for more than seconds."""
        return self.timed and not self.decision.reused


def time_left(steps: Sequence[Planned], jobs: int) -> tuple[float, float] | None:
    """Expected and most seconds until all steps are done; None where one is unknown.

    Whatever order the steps come in, they end by total / jobs + (1 - 1 / jobs) * longest chain
    (Graham, 1969), and not before the longer of total / jobs and the longest chain. A chain is a
    search and a training after it.
    """
    left = [step for step in steps if step.is_left]
    times = {step.decision.name: step.estimate for step in left if step.estimate}
    if len(times) < len(left):
        return None
    workers = max(1, min(jobs, len(left)))
    chains = [{*step.after, step.decision.name} for step in left]

    def bounds(seconds: Mapping[str, float]) -> tuple[float, float]:
        share = sum(seconds.values()) / workers
        longest = max((sum(seconds.get(name, 0) for name in chain) for chain in chains), default=0)
        return max(share, longest), share + (1 - 1 / workers) * longest

    expected, _ = bounds({name: time.expected for name, time in times.items()})
    _, most = bounds({name: time.most for name, time in times.items()})
    return expected, most


def as_text(steps: Sequence[Planned], *, jobs: int, scheduler: str) -> str:
    """The plan as a table, and what it comes to in words.

    Args:
        steps: all of them, in order.
        jobs: worker processes on this machine.
        scheduler: ``none``, or the address of a Dask scheduler whose workers are used instead.
    """
    table = Table(box=SIMPLE, pad_edge=False)
    for column in ("step", "plan", "why", "expected", "at most", "measured on"):
        right = column in ("expected", "at most")
        table.add_column(column, justify="right" if right else "left", no_wrap=column != "why")
    above = ""
    for step in steps:
        reused, time = step.decision.reused, step.estimate
        why = (
            f"{reused.info.run_name}, run {reused.info.run_id}" if reused else step.decision.reason
        )
        cells = (
            step.decision.name,
            "reused" if reused else "to run",
            "as above" if why == above else why,
            _about(time.expected, time.rough) if time else "unknown" if step.is_left else "",
            _about(time.most, time.rough) if time else "",
            time.basis if time else "",
        )
        # As text: Rich would read square brackets in a cell as markup.
        table.add_row(*map(Text, cells))
        above = why
    console = Console(
        file=StringIO(), width=max(Console().width, NARROWEST), emoji=False, highlight=False
    )
    console.print(table)
    assert isinstance(console.file, StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().strip("\n").splitlines()]
    return "\n".join([*lines, _in_words(steps, jobs, scheduler)])


def _in_words(steps: Sequence[Planned], jobs: int, scheduler: str) -> str:
    left = [step for step in steps if not step.decision.reused]
    if not left:
        return f"Nothing to run: all {len(steps)} steps are finished."
    where = f"{jobs} workers" if jobs > 1 else "1 worker"
    if scheduler != "none":
        where, jobs = f"one worker of {scheduler} (sooner on several)", 1
    seconds = time_left(steps, jobs)
    time = "the time is unknown, since nothing like some of them has been measured yet"
    if seconds:
        rough = any(step.estimate.rough for step in left if step.estimate)
        time = (
            f"about {_duration(seconds[0])}, at most {_about(seconds[1], rough)}, since early "
            "stopping and pruning end most steps sooner"
        )
    return (
        f"{len(left)} of {len(steps)} steps to run on {where}: {time}. Preparing and comparing "
        "take seconds."
    )


def _about(seconds: float, rough: bool) -> str:
    return ("~" if rough else "") + _duration(seconds)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
