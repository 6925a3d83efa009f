"""The answers as a forest plot: a row for each, with its place on an axis where right is better."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from matplotlib.ticker import MaxNLocator

from pipeline.answers import tables, words
from pipeline.answers.evidence import Evidence
from pipeline.answers.verdicts import Answer

SIGNS = {"Better": "\N{BLACK UP-POINTING TRIANGLE}", "Worse": "\N{BLACK DOWN-POINTING TRIANGLE}"}
SIGNS |= {"Equal": "=", "Undecided": "?", "Described": "\N{EN DASH}"}
_MOST_TICKS = 5
# What is on one axis, by the metric.
_UNITS = dict.fromkeys(("test_accuracy", "mc_gain"), "Difference in points of accuracy")
_UNITS |= {
    "generalization_gap": "Difference in points between training and test accuracy",
    "zero_weights": "Difference in points of the weights that are 0",
    "dead_units": "Difference in points of the units that are dead",
    "distinct_units": "Difference in units that are distinct",
    "highest_first_loss": "Ratio of losses, on a logarithmic scale",
}
_TIMES = "Ratio, on a logarithmic scale"


class Row(NamedTuple):
    """An answer. Places are in percent of the axis, from the left; of what is not known None."""

    verdict: str
    sign: str  # which tells verdicts apart without a colour
    said: words.Said
    details: dict[str, str]  # the row of `tables.answers_table`
    margin: tuple[float, float]
    interval: tuple[float, float] | None
    effect: float | None
    endless: tuple[bool, bool]  # to the left and to the right


class Axis(NamedTuple):
    """Answers of one unit on one axis."""

    unit: str
    none: float  # the place of no effect
    ticks: dict[str, float]
    rows: list[Row]


def axes(evidence: Evidence) -> list[Axis]:
    """The answers, differences and ratios on an axis each, in the order of the questions."""
    header, *details = tables.answers_table(evidence) or [[]]
    rows = [
        _Answered(one, said, dict(zip(header, of, strict=True)))
        for one, said, of in zip(evidence.answers, words.answers(evidence), details, strict=True)
    ]
    units = dict.fromkeys((*_UNITS.values(), _TIMES))
    by_unit = ([row for row in rows if row.unit == unit] for unit in units)
    return [_axis(of_unit) for of_unit in by_unit if of_unit]


class _Answered(NamedTuple):
    answer: Answer
    said: words.Said
    details: dict[str, str]

    @property
    def is_ratio(self) -> bool:
        return self.answer.question.about.is_ratio

    @property
    def better(self) -> int:
        """The sign of what is better."""
        return self.answer.question.about.better

    @property
    def unit(self) -> str:
        return _UNITS.get(self.answer.question.metric, _TIMES)

    @property
    def scaled(self) -> list[float]:
        """The effect and the ends of its interval, larger is better and 0 no effect."""
        values = [self.answer.effect, self.answer.low, self.answer.high]
        if self.is_ratio:
            values = [math.log(value) if value else -math.inf for value in values]
        return [self.better * value for value in values]


def _axis(rows: Sequence[_Answered]) -> Axis:
    is_ratio, better = rows[0].is_ratio, rows[0].better
    smallest = max(row.answer.question.smallest for row in rows)
    known = [value for row in rows for value in row.scaled if math.isfinite(value)]
    left, right = min([-smallest, *known]), max([smallest, *known])
    room = 0.05 * (right - left or 1)

    def place(scaled: float) -> float:
        share = (scaled - left + room) / (right - left + 2 * room)
        return round(100 * min(max(share, 0.0), 1.0), 2)

    scale = tables.unit(rows[0].answer.question)[1]
    ticks = _ratio_ticks(left, right) if is_ratio else _ticks(left, right, better, scale)
    return Axis(
        unit=rows[0].unit,
        none=place(0),
        ticks={label: place(value) for label, value in ticks.items()},
        rows=[_row(row, place) for row in rows],
    )


def _row(of: _Answered, place: Callable[[float], float]) -> Row:
    smallest, (effect, *ends) = of.answer.question.smallest, of.scaled
    low, high = sorted(ends)
    verdict = of.said.verdict or "Described"
    return Row(
        verdict=verdict,
        sign=SIGNS[verdict],
        said=of.said,
        details=of.details,
        margin=(place(-smallest), place(smallest)),
        interval=None if math.isnan(low) else (place(low), place(high)),
        effect=place(effect) if math.isfinite(effect) else None,
        endless=(low == -math.inf, high == math.inf),
    )


def _ticks(left: float, right: float, better: int, scale: int) -> dict[str, float]:
    values = MaxNLocator(_MOST_TICKS, steps=[1, 2, 5, 10]).tick_values(scale * left, scale * right)
    inside = [round(value, 6) for value in values if left <= value / scale <= right]
    return {f"{better * value:+g}" if value else "0": value / scale for value in inside}


def _ratio_ticks(left: float, right: float) -> dict[str, float]:
    low, high = math.exp(-right), math.exp(-left)
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    for factors in ((1, 1.2, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        values = [float(f"{factor}e{power}") for power in powers for factor in factors]
        inside = [value for value in values if low <= value <= high]
        if len(inside) <= _MOST_TICKS + 1:
            break
    some = inside[:: 1 + len(inside) // (_MOST_TICKS + 2)]  # of many powers of ten
    return {f"{value:.3g}": -math.log(value) for value in sorted({*some, 1.0})}
