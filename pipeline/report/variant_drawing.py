"""What is drawn of several variants side by side, from what `comparison_figures` describes."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pipeline.report import drawing
from pipeline.report.drawing import GREY, Array, Colors, Look

Groups: TypeAlias = Mapping[str, Array]  # for each variant its values, of shape (n,)

# Drawing more would fill a band, not tell more.
MOST_LINES, MOST_DOTS, MOST_POINTS = 10, 120, 200


def draw_curves(axes: Axes, curves: pd.DataFrame, colors: Colors, *, x: str, column: str) -> None:
    """Draw the validation loss or accuracy of every variant.

    The mean over the seeds in a band from the lowest to the highest, as far as all the seeds go,
    and beyond that the thin lines of the first ten seeds.
    """
    is_loss, by_epoch = column == "val_loss", x == "epoch"
    scale = 1 if is_loss else 100
    for variant, group in curves.groupby("variant", sort=False):
        color = colors.get(str(variant), GREY)
        _draw_mean(axes, scale * _aligned(group, x, column), str(variant), color)
    finite = scale * curves[column][np.isfinite(curves[column])]
    if len(finite):  # A few wild values must not flatten all the others.
        low, high = finite.quantile([0.0, 0.97] if is_loss else [0.03, 1.0])
        room = high - low
        if finite.max() > high + room or finite.min() < low - room:
            axes.set_ylim(low - 0.1 * room, high + 0.1 * room)
    unit = "Validation loss (nats per image)" if is_loss else "Validation accuracy (%)"
    drawing.style(axes, "Epoch" if by_epoch else "Training time (s)", unit, whole=by_epoch)


def _aligned(group: pd.DataFrame, x: str, column: str) -> pd.DataFrame:
    """A column per run, a row per epoch or moment; NaN before a run's first and after its last."""
    if x == "epoch":
        return group.pivot_table(index="epoch", columns="run_id", values=column)
    moments = _thinned(np.unique(group[x]), MOST_POINTS)
    runs = {
        run_id: np.interp(moments, run[x], run[column], left=np.nan, right=np.nan)
        for run_id, run in group.sort_values(x).groupby("run_id", sort=False)
    }
    return pd.DataFrame(runs, index=moments)


def _draw_mean(axes: Axes, wide: pd.DataFrame, variant: str, color: str) -> None:
    shared = wide[wide.notna().all(axis=1)]
    if wide.shape[1] > 1:
        low, high = shared.min(axis=1), shared.max(axis=1)
        axes.fill_between(shared.index, low, high, color=color, alpha=0.18, lw=0)
        alone = wide.loc[shared.index[-1] :] if len(shared) else wide
        for run in alone.columns[alone.notna().sum() > 1][:MOST_LINES]:
            axes.plot(alone.index, alone[run], color=color, lw=0.7, alpha=0.5)
    look = drawing.marker(shared)
    axes.plot(shared.index, shared.mean(axis=1), color=color, label=variant, **look)


def draw_epoch_seconds(axes: Axes, groups: Groups, colors: Colors) -> None:
    """Draw how long the epochs of every variant took: a box, and dots for some of the epochs."""
    for place, color, seconds in _rows(axes, groups, colors):
        _draw_dots(axes, seconds, place, s=9, color=color, alpha=0.45)
        look = {"color": color, "lw": 1.2}
        parts: Look = dict.fromkeys(("boxprops", "whiskerprops", "capprops"), look)
        axes.boxplot(
            seconds,
            positions=[place],
            orientation="horizontal",
            widths=0.6,
            showfliers=False,
            manage_ticks=False,
            medianprops={"color": "black", "lw": 1.8},
            **parts,
        )
    usual = max((np.quantile(values, 0.75) for values in groups.values() if values.size), default=1)
    beyond = sum(int((seconds > 1.6 * usual).sum()) for seconds in groups.values())
    # From 0, so that the lengths compare as the times do; a first epoch, which compiles the
    # program, can be many times as long as the others.
    axes.set_xlim(0, 1.6 * usual)
    note = f"\nlonger epochs off the scale: {beyond}" if beyond else ""
    drawing.style(axes, f"Time per epoch (s), with the median{note}", "")


def draw_time_to_baseline(axes: Axes, groups: Groups, colors: Colors) -> None:
    """Draw how long each run trained until the baseline's best loss, NaN for one that never did."""
    for place, color, seconds in _rows(axes, groups, colors):
        reached = seconds[~np.isnan(seconds)]
        _draw_dots(axes, reached, place, 0.25 * (len(reached) > 5), s=28, color=color, alpha=0.6)
        if len(reached):
            axes.plot([reached.mean()] * 2, [place - 0.3, place + 0.3], color=color, lw=2.5)
        if len(reached) < len(seconds):
            text = f"never: {len(seconds) - len(reached)} of {len(seconds)}"
            at_edge: Look = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
            axes.text(1, place, text, fontsize=9, color=GREY, **at_edge)
    largest = max((np.nanmax(v) for v in groups.values() if not np.isnan(v).all()), default=1)
    axes.set_xlim(0, 1.3 * largest)
    drawing.style(axes, "Training time (s), with the mean", "")


def _rows(axes: Axes, groups: Groups, colors: Colors) -> Iterator[tuple[int, str, Array]]:
    """Name a row for each variant, from the top; yields its place, colour and values."""
    axes.set_yticks(range(len(groups)), list(groups))
    axes.set_ylim(len(groups) - 0.5, -0.5)
    for place, (variant, values) in enumerate(groups.items()):
        yield place, colors.get(variant, GREY), values


def _draw_dots(axes: Axes, values: Array, place: int, spread: float = 0.5, **look: Any) -> None:
    """Draw some of the values, spread evenly and always in the same way, by the golden ratio."""
    shown = _thinned(values, MOST_DOTS)
    offsets = (np.arange(len(shown)) * 0.618034) % 1 - 0.5
    axes.scatter(shown, place + spread * offsets, lw=0, **look)


def _thinned(values: Array, most: int) -> Array:
    """At most so many of some values, taken evenly from all of them."""
    return values[np.linspace(0, len(values) - 1, min(len(values), most)).round().astype(int)]


def draw_search(
    axes: Axes, trials: pd.DataFrame, color: str, *, title: str, limits: tuple[float, float]
) -> None:
    """Draw the learning rates and validation losses of trials, and the best rate as a line."""
    top = limits[1] - 0.06 * (limits[1] - limits[0])
    # A value beyond the scale, or none at all, is shown at the upper edge.
    height = trials["value"].where(np.isfinite(trials["value"]), np.inf).clip(upper=top)
    rates = trials["learning_rate"]
    complete, pruned = (trials["state"] == state for state in ("COMPLETE", "PRUNED"))
    looks: dict[str, tuple[pd.Series, Look]] = {
        "completed": (complete, {"color": color}),
        "pruned": (pruned, {"facecolor": "none", "edgecolor": color}),
        "diverged or failed": (~complete & ~pruned, {"marker": "x", "color": color}),
    }
    for label, (chosen, look) in looks.items():
        axes.scatter(rates[chosen], height[chosen], s=36, lw=1.5, label=label, **look)
    if complete.any():
        best = rates[trials["value"].where(complete).idxmin()]
        axes.axvline(best, color=color, linestyle=":", lw=1.3, label="best")
    axes.set_xscale("log")
    axes.set_ylim(limits)
    drawing.style(axes, "Learning rate", "Validation loss (nats per image)", title=title)
