"""What a night came to, in the words that its page, its note, the terminal and a message share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd

# Of the table over nights: when (UTC), which night's run, of which variant, mean test accuracy with
# the ends of its 95% interval, seconds per epoch, seeds, and whether the night rang the alarm.
TREND_COLUMNS = (
    *("night", "run_id", "variant", "test_accuracy", "low", "high"),
    *("median_epoch_seconds", "seeds", "alarm"),
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that a night found.

    Args:
        text: a sentence, in plain words.
        is_alarm: whether somebody has to look at it.
        since: the date of the first night that found it; empty: this one.
        cause: what probably made it so; a sentence, or empty.
        about: what an alarm is about: the same on every night that rings for it.
    """

    text: str
    is_alarm: bool = False
    since: str = ""
    cause: str = ""
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class NightReport:
    """What a night came to.

    Args:
        comparison, dataset: names of what was compared.
        began: when, in UTC.
        minutes: how long it took.
        findings: what it found, alarms first.
        links: whole addresses, by what they open: the night, the report, the trend, ...
        trend: figures over nights, with `TREND_COLUMNS`.
        colors: of the variants.
    """

    comparison: str
    dataset: str
    began: datetime
    minutes: float
    findings: Sequence[Finding]
    links: Mapping[str, str] = field(default_factory=dict)
    trend: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=[*TREND_COLUMNS]))
    colors: Mapping[str, str] = field(default_factory=dict)

    @property
    def alarms(self) -> list[Finding]:
        """What somebody has to look at."""
        return [one for one in self.findings if one.is_alarm]
