"""Figures of what training takes: of an epoch, and until the target.

Of nothing there are no panels; no curves and no runs are refused with an `InputError`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from pipeline.comparisons.colors import GREY
from pipeline.report import drawing
from pipeline.report.drawing import Array, Colors, Look, Panel

MOST_DOTS = 120  # Drawing more would fill a row, not tell more.


def epoch_seconds_panel(curves: pd.DataFrame, colors: Colors) -> Panel:
    """How long epochs took, from curves with variant and epoch_seconds: a box, dots for some."""
    drawing.require_some("curves", curves)
    groups = _groups(curves.dropna(subset="epoch_seconds"), "epoch_seconds")
    usual = max((np.quantile(values, 0.75) for values in groups.values() if values.size), default=1)
    beyond = sum(int((seconds > 1.6 * usual).sum()) for seconds in groups.values())
    note = f"\nlonger epochs off the scale: {beyond}" if beyond else ""
    box: Look = {"orientation": "horizontal", "widths": 0.6, "showfliers": False}
    box |= {"manage_ticks": False, "medianprops": {"color": "black", "lw": 1.8}}

    def draw(axes: Axes) -> None:
        for place, variant, color in _rows(axes, groups, colors):
            seconds = groups[variant]
            dots = _dots(axes, seconds, place, s=9, color=color, alpha=0.45)
            drawing.assign(dots, variant, "epoch")
            line: Look = {"color": color, "lw": 1.2}
            look = {"boxprops": line, "whiskerprops": line, "capprops": line, **box}
            parts = axes.boxplot(seconds, positions=[place], **look)
            drawing.assign([one for of in parts.values() for one in of], variant)
            drawing.assign(parts["medians"], variant, "median")
        # From 0, so that the lengths compare as the times do; a first epoch, which compiles the
        # program, can be many times as long as the others.
        axes.set_xlim(0, 1.6 * usual)
        drawing.style(axes, f"Time per epoch (s), with the median{note}", "")

    medians = {name: np.median(values) for name, values in groups.items() if values.size}
    said = ", ".join(f"{name} {medians[name]:.2f} s" for name in _ascending(medians))
    alt = f"Median time of an epoch, the shortest first: {said or 'not known'}."
    return Panel("epoch_seconds", draw, alt, size=(4.4, 1.2 + 0.42 * len(groups)))


def time_to_target_panel(runs: pd.DataFrame, colors: Colors) -> Panel:
    """How long each run trained until the target: a dot per run.

    Runs have variant, and seconds_to_target, NaN for a run that never reached it.
    """
    drawing.require_some("runs", runs)
    groups = _groups(runs, "seconds_to_target")
    never = {name: int(np.isnan(values).sum()) for name, values in groups.items()}
    longest = runs["seconds_to_target"].max()
    medians = {
        name: float(np.median(np.where(np.isnan(values), np.inf, values)))
        for name, values in groups.items()
    }

    def draw(axes: Axes) -> None:
        edge: Look = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
        for place, variant, color in _rows(axes, groups, colors):
            seconds = groups[variant]
            reached = seconds[~np.isnan(seconds)]
            spread = 0.25 * (len(reached) > 5)
            dots = _dots(axes, reached, place, spread, s=28, color=color, alpha=0.6)
            drawing.assign(dots, variant, "run")
            if np.isfinite(median := medians[variant]):
                line = axes.plot([median] * 2, [place - 0.3, place + 0.3], color=color, lw=2.5)
                drawing.assign(line, variant, "median")
            if never[variant]:
                text = f"never: {never[variant]} of {len(seconds)}"
                drawing.assign(axes.text(1, place, text, fontsize=10, color=GREY, **edge), variant)
        axes.set_xlim(0, 1.3 * (1 if np.isnan(longest) else longest))
        drawing.style(axes, "Training time (s), with the median", "")

    said = [
        f"{name} {medians[name]:.3g} s" if np.isfinite(medians[name]) else f"{name} never"
        for name in _ascending(medians)
    ]
    missed = ", ".join(f"{name} {count}" for name, count in never.items() if count)
    alt = f"Median training time until the target, the shortest first: {', '.join(said)}; "
    alt += f"runs that never reached it: {missed or 'none'}."
    return Panel("time_to_target", draw, alt, size=(4.4, 1.1 + 0.42 * len(groups)))


def _ascending(values: Mapping[str, float]) -> list[str]:
    return sorted(values, key=values.__getitem__)


def _groups(table: pd.DataFrame, column: str) -> dict[str, Array]:
    groups = table.groupby("variant", sort=False)[column]
    return {str(variant): values.to_numpy(dtype=float) for variant, values in groups}


def _rows(axes: Axes, groups: dict[str, Array], colors: Colors) -> Iterator[tuple[int, str, str]]:
    """Name a row for each variant, from the top; yields its place, name and colour."""
    axes.set_yticks(range(len(groups)), list(groups))
    axes.set_ylim(len(groups) - 0.5, -0.5)
    for place, variant in enumerate(groups):
        yield place, variant, colors.get(variant, GREY)


def _dots(axes: Axes, values: Array, place: int, spread: float = 0.5, **look: Any) -> Artist:
    """Draw some of the values, spread evenly and always in the same way, by the golden ratio."""
    shown = values[drawing.evenly(len(values), MOST_DOTS)]
    offsets = (np.arange(len(shown)) * 0.618034) % 1 - 0.5
    return axes.scatter(shown, place + spread * offsets, lw=0, **look)
