"""Made-up nights, and what one came to; for several test modules."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from pipeline.answers.night import TREND_COLUMNS, Finding, NightReport

NAMES = ("elu", "bn")
ADDRESS = "http://server:5000/#/experiments/1/runs/abc?workflowType=machine_learning"
WORSE = Finding(
    text="bn is worse than on the last good night, by 3.9 points.",
    is_alarm=True,
    since="2026-11-20",
    cause="the code of pipeline.training.optimizers changed.",
)
TURNED = Finding(text="bn over elu turned from better into equal.", is_alarm=True)
REPLAYED = Finding(text="Replay of train selu seed 2: equal to the last digit.")
BETTER = Finding(text="one_cycle is better.", since="2026-11-01", cause="version of x changed.")


def nights(
    count: int, *, names: Sequence[str] = NAMES, alarms: Collection[int] = ()
) -> pd.DataFrame:
    """The table over nights from October 2026 on; variants lie ten points and a second apart."""
    rows = [
        (
            *(night, f"night-{place}", name, 0.5 + of / 10, 0.48 + of / 10, 0.52 + of / 10),
            *(1.0 + of, 3, place in alarms),
        )
        for place, night in enumerate(
            pd.date_range("2026-10-01 02:00", periods=count, freq="D", tz="UTC")
        )
        for of, name in enumerate(names)
    ]
    return pd.DataFrame(rows, columns=[*TREND_COLUMNS])


def report(*findings: Finding, **changes: Any) -> NightReport:
    """A night that found something."""
    given: dict[str, Any] = {
        "comparison": "twenty_layers",
        "dataset": "cifar10",
        "began": datetime(2026, 11, 28, 2, 5, tzinfo=UTC),
        "minutes": 14.2,
        "findings": findings,
        "links": {"This night": ADDRESS},
        "trend": nights(30, alarms=(28, 29)),
        "colors": {"elu": "#0072B2", "bn": "#F0E442"},
    }
    return NightReport(**given | changes)
