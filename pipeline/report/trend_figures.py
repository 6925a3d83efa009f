"""Figures over nights: how accurate and how fast every variant has been, alarms marked."""

from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, date2num
from matplotlib.ticker import FixedLocator

from pipeline.report import drawing
from pipeline.report.drawing import Colors, Look, Panel

MOST_DATES = 4  # below the axis, on a phone
FULL_LINE, MANY = 1.8, 6  # the width of a line, and from how many variants on it is thinner
ALARM = "black"  # the page's ink, which no variant has


class _Shown(NamedTuple):
    """A column of the table over nights, as it is drawn."""

    column: str
    label: str
    scale: float
    unit: str
    title: str


_ACCURACY = _Shown("test_accuracy", "Test accuracy (%)", 100, "%", "Mean test accuracy")
_SECONDS = _Shown("median_epoch_seconds", "Time per epoch (s)", 1, " s", "Median time of an epoch")


def trend_panels(trend: pd.DataFrame, colors: Colors) -> list[Panel]:
    """Mean test accuracy in its 95% interval, and seconds per epoch, by the date of the night.

    Of a table with the columns `answers.night.TREND_COLUMNS`; of what no night knows there is no
    panel.
    """
    placed = _placed(trend)
    panels = []
    for shown in (_ACCURACY, _SECONDS):
        known = placed[np.isfinite(placed[shown.column].astype(float))]
        if len(known):
            draw = partial(_draw, trend=placed, colors=colors, shown=shown)
            name = f"{shown.column}_by_night"
            panels.append(Panel(name, draw, _in_words(known, placed, shown), size=(4.4, 3.2)))
    return panels


def _placed(trend: pd.DataFrame) -> pd.DataFrame:
    """The table with `day`, when a night began in days since 1970, and `at`, where it is drawn.

    Of a single night, the variants are beside one another, within its date.
    """
    day = trend["night"].map(date2num).astype(float)
    if trend["night"].nunique() > 1:
        return trend.assign(day=day, at=day)
    place, _ = pd.factorize(trend["variant"])
    noon = np.floor(day) + 0.5
    return trend.assign(
        day=noon, at=noon + 0.8 * ((place + 0.5) / (place.max(initial=0) + 1) - 0.5)
    )


def _in_words(known: pd.DataFrame, trend: pd.DataFrame, shown: _Shown) -> str:
    """What every variant came to in the first and in the last night, and when alarms rang."""
    ends = known.groupby("variant", sort=False)[shown.column].agg(["first", "last"])
    said = [
        f"{variant} {_figure(first, shown)} and {_figure(last, shown)}"
        for variant, (first, last) in zip(ends.index, ends.to_numpy(), strict=True)
    ]
    nights = trend["night"].nunique()
    alarms = trend.loc[trend["alarm"].astype(bool), "night"].nunique()
    return (
        f"{shown.title} in the first and the last of {nights} night{'s' * (nights != 1)}: "
        f"{'; '.join(said)}. Nights with an alarm: {alarms or 'none'}."
    )


def _figure(value: float, shown: _Shown) -> str:
    return f"{shown.scale * value:.{1 if shown is _ACCURACY else 2}f}{shown.unit}"


def _draw(axes: Axes, *, trend: pd.DataFrame, colors: Colors, shown: _Shown) -> None:
    many = trend["variant"].nunique() > MANY
    for variant, nights in trend.groupby("variant", sort=False):
        look = drawing.look(str(variant), colors)
        known = nights[np.isfinite(nights[shown.column].astype(float))]
        if shown is _ACCURACY:
            _draw_intervals(axes, known, str(variant), look["color"], alpha=0.08 if many else 0.16)
        line = look | {"label": str(variant), **drawing.marker(known)}
        line |= {
            "lw": FULL_LINE * (0.7 if many else 1),
            "marker": line["marker"] and look["marker"],
        }
        of = shown.scale * known[shown.column].astype(float)
        drawing.assign(axes.plot(known["at"], of, **line), str(variant), "night")
    axes.margins(y=0.12)
    if shown is _SECONDS:  # from 0, so that what is twice as high takes twice as long
        axes.set_ylim(0, 1.12 * trend[shown.column].max())
    drawing.style(axes, "Night", shown.label)
    _mark_alarms(axes, trend.loc[trend["alarm"].astype(bool), "day"].unique())
    _date(axes, trend["day"])


def _draw_intervals(
    axes: Axes, nights: pd.DataFrame, variant: str, color: str, *, alpha: float
) -> None:
    """The 95% intervals as a band; where there is but one, as a bar."""
    low, high = (100 * nights[end].astype(float) for end in ("low", "high"))
    of = np.isfinite(low) & np.isfinite(high)
    if of.sum() == 1:
        ends = [low[of].item(), high[of].item()]
        bar = axes.plot(nights["at"][of].repeat(2), ends, color=color, lw=1.4)
        drawing.assign(bar, variant, "95% interval")
    elif of.any():
        band = axes.fill_between(nights["at"], low, high, where=of, color=color, alpha=alpha, lw=0)
        drawing.assign(band, variant, "95% interval")


def _mark_alarms(axes: Axes, days: np.ndarray) -> None:
    """A triangle at the upper edge for every night with an alarm, and a shadow below it."""
    for day in days:
        axes.axvspan(day - 0.5, day + 0.5, color=ALARM, alpha=0.1, lw=0, zorder=0)
    edge: Look = {"transform": axes.get_xaxis_transform(), "marker": "v", "s": 22, "lw": 0}
    axes.scatter(days, np.full(len(days), 0.97), color=ALARM, **edge)


def _date(axes: Axes, days: pd.Series) -> None:
    """Write some dates below the axis, which has room for a few nights at least."""
    first, last = days.min(), days.max()
    dates = np.linspace(first, last, min(round(last - first) + 1, MOST_DATES))
    axes.xaxis.set_major_locator(FixedLocator(dates.tolist()))
    axes.xaxis.set_major_formatter(DateFormatter("%Y-%m-%d"))
    room = max(1.0, 0.06 * (last - first))
    axes.set_xlim(first - room, last + room)
