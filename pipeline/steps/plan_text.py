"""A plan in words: what becomes of every step, and how long those that are not done take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.steps.running import Decision

NARROWEST = 150  # columns, where there is no terminal
MOST_LISTED = 200  # steps


class Estimate(NamedTuple):
    """Seconds that a step takes on one worker."""

    expected: float  # with early stopping and pruning as in the runs measured
    most: float  # without either
    basis: str  # the runs measured
    rough: bool  # whether these were of another variant, batch size or data set


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One step, what would become of it, and the names of the timed steps that it comes after.

    It is timed where it takes more than seconds; of its time is an estimate, if any was measured.
    """

    decision: Decision
    timed: bool = False
    estimate: Estimate | None = None
    after: tuple[str, ...] = ()

    @property
    def is_left(self) -> bool:
        """Whether it is to run, for more than seconds."""
        return self.timed and not self.decision.reused


def listed(decisions: Sequence[Decision]) -> str:
    """What becomes of some steps, one to a line; of very many the first."""
    lines = [str(decision) for decision in decisions[:MOST_LISTED]]
    if rest := decisions[MOST_LISTED:]:
        left = sum(not decision.reused for decision in rest)
        lines.append(f"... and {len(rest)} more: {len(rest) - left} reused, {left} to run")
    return "\n".join(lines)


def time_left(steps: Sequence[Planned], jobs: int) -> tuple[float, float] | None:
    """Expected and most seconds until all steps are done; None where one is unknown.

    Whatever order the steps come in, they end by total / jobs + (1 - 1 / jobs) * longest chain
    (Graham, 1969), and not before the longer of total / jobs and the longest chain. A chain is a
    search and a training after it.
    """
    left = {step.decision.name: step for step in steps if step.is_left}
    times = {name: step.estimate for name, step in left.items() if step.estimate}
    if len(times) < len(left):
        return None
    workers = max(1, min(jobs, len(left)))
    chains = [times.keys() & {*step.after, name} for name, step in left.items()]

    def share_and_longest(seconds: Mapping[str, float]) -> tuple[float, float]:
        longest = max((sum(seconds[name] for name in chain) for chain in chains), default=0)
        return sum(seconds.values()) / workers, longest

    expected = share_and_longest({name: time.expected for name, time in times.items()})
    share, longest = share_and_longest({name: time.most for name, time in times.items()})
    return max(expected), share + (1 - 1 / workers) * longest


def as_text(steps: Sequence[Planned], jobs: int, scheduler: str) -> str:
    """The plan as a table, and what it comes to in words, on so many workers or a scheduler's."""
    table = Table(box=SIMPLE, pad_edge=False)
    for column in ("step", "plan", "why", "expected", "at most", "measured on"):
        right = column in ("expected", "at most")
        table.add_column(column, justify="right" if right else "left", no_wrap=column != "why")
    above = ""
    for step in steps[:MOST_LISTED]:
        found, time = step.decision.reused, step.estimate
        why = f"{found.info.run_name}, run {found.info.run_id}" if found else step.decision.reason
        cells = (
            step.decision.name,
            "reused" if found else "to run",
            "as above" if why == above else why,
            about(time.expected, time.rough) if time else "unknown" if step.is_left else "",
            about(time.most, time.rough) if time else "",
            time.basis if time else "",
        )
        # As text: Rich would read square brackets in a cell as markup.
        table.add_row(*map(Text, cells))
        above = why
    if len(steps) > MOST_LISTED:
        table.add_row(f"... and {len(steps) - MOST_LISTED} more")
    width = max(Console().width, NARROWEST)
    console = Console(width=width, force_terminal=False, emoji=False, highlight=False)
    with console.capture() as printed:
        console.print(table)
    lines = [line.rstrip() for line in printed.get().strip("\n").splitlines()]
    return "\n".join([*lines, _in_words(steps, jobs, scheduler)])


def _in_words(steps: Sequence[Planned], jobs: int, scheduler: str) -> str:
    left = [step for step in steps if not step.decision.reused]
    if not left:
        return f"Nothing to run: all {len(steps)} steps are finished."
    where = f"{jobs} workers" if jobs > 1 else "1 worker"
    if scheduler != "none":
        where, jobs = f"one worker of {scheduler} (sooner on several)", 1
    time = "the time is unknown, since nothing like some of them has been measured yet"
    if seconds := time_left(steps, jobs):
        rough = any(step.estimate.rough for step in left if step.estimate)
        most = about(seconds[1], rough)
        time = f"about {about(seconds[0])}, at most {most}, since early stopping and pruning end "
        time += "most steps sooner"
    count = f"{len(left)} of {len(steps)} steps to run on {where}"
    return f"{count}: {time}. Preparing and comparing take seconds."


def about(seconds: float, rough: bool = False) -> str:
    """A time in words."""
    minutes = seconds / 60
    text = f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
    return ("~" if rough else "") + (f"{seconds:.0f} s" if seconds < 90 else text)
