"""The nights before: the last good one, and those since."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.comparing import artifacts
from pipeline.nights import trend
from pipeline.nights.record import FILE, REPLAY, Night, parsed
from pipeline.tracking import client

ALARM = "alarm"  # the tag of one that came to its end: whether it rang
ACCEPTED = "accepted"  # the tag that a person sets: from this night on, it is how it should be


class Past(NamedTuple):
    """The nights of a comparison on a data set that came to their end."""

    good: Night | None  # the newest without an alarm, or with one that was accepted
    bad: Sequence[Night]  # those since, oldest first

    @property
    def last(self) -> Night | None:
        """The newest of all."""
        return self.bad[-1] if self.bad else self.good

    @property
    def digits_since(self) -> float:
        """As in `Night`: each of the trainings before comes to others when it is its turn."""
        if self.good is None:
            return 0.0
        was_accepted = self.good.alarms and REPLAY in self.good.about
        return self.good.began if was_accepted else self.good.digits_since


def past(experiment: str, of: Mapping[str, str]) -> Past:
    """The nights before; those whose record is gone or damaged are left out.

    Args:
        experiment: its id.
        of: the tags that `trend.tags` gives.
    """
    bad: list[Night] = []
    for run in client.newest_first(experiment, trend.query(of)):
        if ALARM not in run.data.tags:
            continue
        night = recorded(run)
        if night and (not night.alarms or is_accepted(run)):
            return Past(night, bad[::-1])
        bad += [night] if night else []
    return Past(None, bad[::-1])


def recorded(night: client.Run) -> Night | None:
    """What a night has left; None where that is gone or damaged."""
    return artifacts.read(night.info.run_id, FILE, parsed, of=str(night.info.run_name))


def is_accepted(night: client.Run) -> bool:
    """Whether a person has said that what a night rang for is as it should be."""
    return night.data.tags.get(ACCEPTED, "no").strip().lower() not in ("", "no", "false", "0")
