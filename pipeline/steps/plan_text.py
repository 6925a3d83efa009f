"""A plan in words: what becomes of every step, and how long those that are not done take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.base import layout, phrases
from pipeline.steps.running import Decision

MOST_LINES = 6  # of a list of steps


class Estimate(NamedTuple):
    """Seconds that a step takes on one worker."""

    expected: float  # with early stopping and pruning as in the runs measured
    most: float  # without either
    basis: str  # the runs measured
    rough: bool  # whether these were of another variant, batch size or data set


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One step, what would become of it, and the names of the timed steps that it comes after.

    Of several, these stand before it. It is timed where it takes more than seconds; of its time is
    an estimate, if any was measured.
    """

    decision: Decision
    timed: bool = False
    estimate: Estimate | None = None
    after: tuple[str, ...] = ()

    @property
    def is_left(self) -> bool:
        """Whether it is to run, for more than seconds."""
        return self.timed and not self.decision.reused


def decided_steps(decisions: Sequence[Decision]) -> str:
    """What becomes of some steps: a line for those that are reused, and one for every reason."""
    names_of: dict[str, list[str]] = {"Reused (same inputs)": []}  # the first
    for one in decisions:
        becomes = "Reused (same inputs)" if one.reused else f"To run ({one.reason})"
        names_of.setdefault(becomes, []).append(one.name)
    columns = layout.width()
    lines = [
        layout.listed(f"{becomes}: ", phrases.together(names), columns, lines=MOST_LINES)
        for becomes, names in names_of.items()
        if names
    ]
    return "\n".join(lines)


def time_left(steps: Sequence[Planned], jobs: int) -> tuple[float, float] | None:
    """Expected and most seconds until all steps are done; None where one is unknown.

    Whatever order the steps come in, they end by total / jobs + (1 - 1 / jobs) * longest chain
    (Graham, 1969), and not before the longer of total / jobs and the longest chain of steps, each
    after the one before.
    """
    left = {step.decision.name: step for step in steps if step.is_left}
    times = {name: step.estimate for name, step in left.items() if step.estimate}
    if len(times) < len(left):
        return None
    workers = max(1, min(jobs, len(left)))

    def share_and_longest(seconds: Mapping[str, float]) -> tuple[float, float]:
        chains: dict[str, float] = {}
        for name, step in left.items():
            before = max((chains[one] for one in step.after if one in chains), default=0)
            chains[name] = before + seconds[name]
        return sum(seconds.values()) / workers, max(chains.values(), default=0)

    expected = share_and_longest({name: time.expected for name, time in times.items()})
    share, longest = share_and_longest({name: time.most for name, time in times.items()})
    return max(expected), share + (1 - 1 / workers) * longest


def as_text(steps: Sequence[Planned], jobs: int, scheduler: str) -> str:
    """The plan as text: what becomes of the steps, how long those to run take, and all of them.

    On so many workers of this machine, or a scheduler's.
    """
    parts = [decided_steps([step.decision for step in steps])]
    alike: dict[tuple[str, ...], list[str]] = {}
    for step in steps:
        if step.is_left:
            name = step.decision.name
            alike.setdefault((name.partition(" seed ")[0], *_times(step.estimate)), []).append(name)
    rows = [["; ".join(phrases.together(names)), *times] for (_, *times), names in alike.items()]
    if any(step.estimate for step in steps):
        header = ["Each of", "expected", "at most", "measured on"]
        table = layout.table([header, *rows], layout.width(), keep=3, right=header[1:3])
        parts += ["", *table, ""]
    return "\n".join([*parts, layout.filled(_in_words(steps, jobs, scheduler), layout.width())])


def _times(estimate: Estimate | None) -> tuple[str, str, str]:
    if estimate is None:
        return "unknown", "", ""
    return (
        about(estimate.expected, estimate.rough),
        about(estimate.most, estimate.rough),
        estimate.basis,
    )


def _in_words(steps: Sequence[Planned], jobs: int, scheduler: str) -> str:
    left = [step for step in steps if not step.decision.reused]
    if not left:
        return f"Nothing to run: all {len(steps)} steps are finished."
    count = f"{len(left)} of {len(steps)} steps to run"
    if not any(step.timed for step in left):
        return f"{count}: preparing and comparing take seconds."
    where = f"{jobs} workers" if jobs > 1 else "1 worker"
    if scheduler != "none":
        where, jobs = f"one worker of {scheduler} (sooner on several)", 1
    time = "the time is unknown, since nothing like some of them has been measured yet"
    if seconds := time_left(steps, jobs):
        rough = any(step.estimate.rough for step in left if step.estimate)
        most = about(seconds[1], rough)
        time = f"about {about(seconds[0])}, at most {most}, since early stopping and pruning end "
        time += "most steps sooner"
    return f"{count} on {where}: {time}. Preparing and comparing take seconds."


def about(seconds: float, rough: bool = False) -> str:
    """A time in words."""
    minutes = seconds / 60
    text = f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
    return ("~" if rough else "") + (f"{seconds:.0f} s" if seconds < 90 else text)
