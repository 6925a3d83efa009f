"""Figures of runs over time, and what all figures share; nothing is drawn on a screen.

Every function returns a `matplotlib.figure.Figure` of its own, made without pyplot and so without
state that threads would share; saved as PNG it is 1200 pixels wide. A variant's colour is the
caller's; the others are of the palette of Okabe and Ito (2008), which the colour-blind can tell
apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from pipeline.base import InputError

BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#5F5F5F"
GRID = "#E5E5E5"
# Drawing more would fill a band, not tell more.
MOST_LINES, MOST_DOTS, MOST_POINTS = 10, 120, 200
WIDTH, DOTS_PER_INCH = 8.0, 150  # inches; together 1200 pixels

Array = npt.NDArray[Any]


def learning_curve(curve: pd.DataFrame, best_epoch: int, title: str) -> Figure:
    """Loss and accuracy of one run, training and validation, with the best epoch marked.

    Args:
        curve: one row per epoch: epoch, loss, accuracy, val_loss, val_accuracy, and learning_rate,
            which is drawn too if it varies.
        best_epoch: from 1.
        title: what the run is.

    Raises:
        InputError: the curve has no epochs.
    """
    require_some("learning curve", curve)
    epoch, look = curve["epoch"], marker(curve)
    varies = "learning_rate" in curve and curve["learning_rate"].nunique() > 1
    figure = blank_figure(5.4 if varies else 4.0)
    rows = [["loss", "accuracy"], ["learning_rate", "learning_rate"]]
    panels: dict[str, Axes] = figure.subplot_mosaic(
        rows[: 1 + varies],  # type: ignore[arg-type]
        height_ratios=[3, 1.3][: 1 + varies],
    )
    for name, unit in (("loss", "Loss (nats per image)"), ("accuracy", "Accuracy (%)")):
        axes, scale = panels[name], 100 if name == "accuracy" else 1
        for column, label, color in (
            (name, "training", BLUE),
            (f"val_{name}", "validation", VERMILLION),
        ):
            axes.plot(epoch, scale * curve[column], color=color, label=label, **look)
        style(axes, "Epoch", unit)
    if varies:
        panels["learning_rate"].plot(epoch, curve["learning_rate"], color=GREEN, **look)
        style(panels["learning_rate"], "Epoch", "Learning rate")
    for axes in panels.values():
        axes.axvline(best_epoch, color=GREY, linestyle=":", label=f"best epoch, {best_epoch}")
        whole_numbers(axes)
    legend(figure, panels["loss"])
    figure.suptitle(title, fontsize=12)
    return figure


def draw_curves(
    axes: Axes, curves: pd.DataFrame, colors: Mapping[str, str], *, x: str, column: str
) -> None:
    """Draw the validation loss or accuracy of every variant.

    The mean over the seeds in a band from the lowest to the highest, as far as all the seeds go,
    and beyond that the thin lines of the first ten seeds.

    Args:
        axes: to draw on.
        curves: one row per run and epoch: run_id, variant, `x` and `column`.
        colors: a colour (hex) for each variant.
        x: `epoch` or `elapsed_seconds`.
        column: `val_loss` or `val_accuracy`.
    """
    scale = 100 if column == "val_accuracy" else 1
    for variant, group in curves.groupby("variant", sort=False):
        wide = scale * _aligned(group, x, column)
        _draw_mean(axes, wide, str(variant), colors.get(str(variant), GREY))
    _limit_to_bulk(axes, scale * curves[column], top=column == "val_loss")
    unit = "Validation loss (nats per image)" if scale == 1 else "Validation accuracy (%)"
    style(axes, "Epoch" if x == "epoch" else "Training time (s)", unit)
    if x == "epoch":
        whole_numbers(axes)


def _aligned(group: pd.DataFrame, x: str, column: str) -> pd.DataFrame:
    """A column per run, a row per epoch or moment; NaN before a run's first and after its last."""
    if x == "epoch":
        return group.pivot_table(index="epoch", columns="run_id", values=column)
    moments = np.unique(group[x])
    if len(moments) > MOST_POINTS:
        moments = moments[np.linspace(0, len(moments) - 1, MOST_POINTS).astype(int)]
    return pd.DataFrame(
        {
            run_id: np.interp(moments, run[x], run[column], left=np.nan, right=np.nan)
            for run_id, run in group.sort_values(x).groupby("run_id", sort=False)
        },
        index=moments,
    )


def _draw_mean(axes: Axes, wide: pd.DataFrame, variant: str, color: str) -> None:
    everyone = wide.notna().all(axis=1)
    shared = wide[everyone]
    if wide.shape[1] > 1:
        axes.fill_between(
            shared.index, shared.min(axis=1), shared.max(axis=1), color=color, alpha=0.18, lw=0
        )
        alone = wide.loc[shared.index[-1] :] if len(shared) else wide
        for run in alone.columns[alone.notna().sum() > 1][:MOST_LINES]:
            axes.plot(alone.index, alone[run], color=color, lw=0.7, alpha=0.5)
    axes.plot(shared.index, shared.mean(axis=1), color=color, label=variant, **marker(shared))


def _limit_to_bulk(axes: Axes, values: pd.Series, top: bool) -> None:
    """Keep a few wild values from flattening all the others."""
    finite = values[np.isfinite(values)]
    if finite.empty:
        return
    low, high = finite.quantile([0.0, 0.97]) if top else finite.quantile([0.03, 1.0])
    room = high - low
    if top and finite.max() > high + room:
        axes.set_ylim(low - 0.05 * room, high + 0.2 * room)
    elif not top and finite.min() < low - room:
        axes.set_ylim(low - 0.2 * room, high + 0.05 * room)


def draw_epoch_seconds(axes: Axes, groups: Mapping[str, Array], colors: Mapping[str, str]) -> None:
    """Draw how long the epochs of every variant took: a box, and dots for some of the epochs.

    Args:
        axes: to draw on.
        groups: the times of all epochs of each variant, in seconds, float of shape (n,).
        colors: a colour (hex) for each variant.
    """
    for place, (variant, seconds) in enumerate(groups.items()):
        color = colors.get(variant, GREY)
        shown = thinned(seconds, MOST_DOTS)
        axes.scatter(shown, place + jitter(len(shown)), s=9, color=color, alpha=0.45, lw=0)
        axes.boxplot(
            seconds,
            positions=[place],
            orientation="horizontal",
            widths=0.6,
            showfliers=False,
            manage_ticks=False,
            boxprops={"color": color, "lw": 1.4},
            whiskerprops={"color": color},
            capprops={"color": color},
            medianprops={"color": "black", "lw": 1.8},
        )
    usual = max((np.quantile(values, 0.75) for values in groups.values() if values.size), default=1)
    beyond = sum(int((seconds > 1.6 * usual).sum()) for seconds in groups.values())
    # From 0, so that the lengths compare as the times do; a first epoch, which compiles the
    # program, can be many times as long as the others.
    axes.set_xlim(0, 1.6 * usual)
    note = f"; {beyond} longer epochs off the scale" if beyond else ""
    name_rows(axes, groups)
    style(axes, f"Time per epoch (s), with the median{note}", "")


def thinned(values: Array, most: int) -> Array:
    """At most so many of some values, taken evenly from all of them."""
    if len(values) <= most:
        return values
    return values[np.linspace(0, len(values) - 1, most).astype(int)]


def jitter(count: int) -> Array:
    """Offsets that spread dots evenly and always in the same way, by the golden ratio."""
    return ((np.arange(count) * 0.618034) % 1 - 0.5) * 0.5


def name_rows(axes: Axes, names: Any) -> None:
    axes.set_yticks(range(len(names)), list(names))
    axes.set_ylim(len(names) - 0.5, -0.5)


def activation_statistics(statistics: Mapping[str, tuple[Array, Array]], title: str) -> Figure:
    """Mean and standard deviation of the activations through the hidden layers.

    A network that self-normalises (Klambauer et al. 2017) stays near the faint lines, a mean of 0
    and a standard deviation of 1.

    Args:
        statistics: for each moment, such as `at initialisation`, the means and the standard
            deviations of the hidden layers, both of shape (layers,).
        title: what the network is.

    Raises:
        InputError: there are no statistics, or not as many means as standard deviations.
    """
    require_some("activation statistics", statistics)
    figure = blank_figure(4.0)
    panels = figure.subplots(1, 2)
    palette = (BLUE, VERMILLION, GREEN, GREY)
    markers = "osD^"
    for place, (moment, (means, deviations)) in enumerate(statistics.items()):
        require_same_length(f"activation statistics {moment}", means, deviations)
        look = {"color": palette[place % 4], "marker": markers[place % 4], "ms": 4, "lw": 1.5}
        layers = np.arange(1, len(means) + 1)
        for axes, values in zip(panels, (means, deviations), strict=True):
            axes.plot(layers, values, label=moment, **look)
    for axes, level, unit in (
        (panels[0], 0, "Mean activation"),
        (panels[1], 1, "Standard deviation of activations"),
    ):
        axes.axhline(level, color=GREY, lw=1, alpha=0.6, zorder=0)
        whole_numbers(axes)
        style(axes, "Hidden layer", unit)
    figure.suptitle(title, fontsize=12)
    legend(figure, panels[0])
    return figure


def blank_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty white figure; its size is in inches."""
    layout = ConstrainedLayoutEngine(wspace=0.04, hspace=0.04)
    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout, facecolor="white")


def style(axes: Axes, x: str, y: str, *, grid: bool = True, small: bool = False) -> None:
    """Label the axes and give them the look that all the figures share."""
    axes.set_xlabel(x, fontsize=10)
    axes.set_ylabel(y, fontsize=10)
    axes.tick_params(labelsize=9)
    if small:
        axes.tick_params(axis="y", labelsize=7)
    axes.spines[["top", "right"]].set_visible(not grid)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(color=GRID, lw=0.7)


def whole_numbers(axes: Axes) -> None:
    """Tick the x axis at whole numbers only."""
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def legend(figure: Figure, axes: Axes) -> None:
    """Put the labels of one pair of axes below the figure."""
    handles, labels = axes.get_legend_handles_labels()
    drawn = figure.legend(
        handles, labels, loc="outside lower center", ncols=min(len(labels), 5), frameon=False
    )
    for line in drawn.get_lines():
        line.set_linewidth(2.5)


def marker(points: Sequence | pd.DataFrame | Array) -> dict[str, Any]:
    """How to draw a line: with dots where it has too few points to be seen."""
    return {"lw": 1.8, "marker": "o" if len(points) < 3 else None, "ms": 4}


def require_some(subject: str, values: Any) -> None:
    """Refuse nothing to draw, with an `InputError`."""
    if not len(values):
        raise InputError(
            subject, expected="at least one", received="none", action="Give some to draw."
        )


def require_same_length(subject: str, values: Any, others: Any) -> None:
    """Refuse nothing to draw and lengths that differ, with an `InputError`."""
    require_some(subject, values)
    if len(values) != len(others):
        raise InputError(
            subject,
            expected="arrays of the same length",
            received=f"{len(values)} and {len(others)}",
            action="Give one entry for each.",
        )
