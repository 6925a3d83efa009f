"""Figures of the runs over time and of their comparison; nothing is drawn on a screen.

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

from pipeline.errors import InputError

BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#5F5F5F"
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


def comparison_curves(curves: pd.DataFrame, colors: Mapping[str, str], x: str = "epoch") -> Figure:
    """Validation loss and accuracy of every variant on the same axes.

    Over epochs: the mean over the seeds in a band from the lowest to the highest, as far as all the
    seeds go, and beyond that each seed's own thin line. Over seconds: a thin line per seed.

    Args:
        curves: one row per run and epoch: run_id, variant, epoch, val_loss, val_accuracy and, for
            seconds, elapsed_seconds.
        colors: a colour (hex) for each variant.
        x: `epoch` or `elapsed_seconds`.

    Raises:
        InputError: there are no curves, or `x` is another column.
    """
    require_some("curves", curves)
    if x not in ("epoch", "elapsed_seconds"):
        raise InputError(
            "x", expected="epoch or elapsed_seconds", received=repr(x), action="Choose one."
        )
    figure = blank_figure(4.2)
    panels = figure.subplots(1, 2)
    label = "Epoch" if x == "epoch" else "Training time (s)"
    for axes, column, scale, unit in (
        (panels[0], "val_loss", 1, "Validation loss (nats per image)"),
        (panels[1], "val_accuracy", 100, "Validation accuracy (%)"),
    ):
        for variant, group in curves.groupby("variant", sort=False):
            color = colors.get(str(variant), GREY)
            values = group.assign(value=scale * group[column])
            if x == "epoch":
                _draw_mean(axes, values, str(variant), color)
            else:
                _draw_runs(axes, values, str(variant), color)
        _limit_to_bulk(axes, scale * curves[column], top=column == "val_loss")
        style(axes, label, unit)
        if x == "epoch":
            whole_numbers(axes)
    legend(figure, panels[0])
    return figure


def _draw_mean(axes: Axes, group: pd.DataFrame, variant: str, color: str) -> None:
    by_epoch = group.pivot_table(index="epoch", columns="run_id", values="value")
    common = by_epoch.index <= group.groupby("run_id")["epoch"].max().min()
    shared = by_epoch[common]
    if by_epoch.shape[1] > 1:
        axes.fill_between(
            shared.index, shared.min(axis=1), shared.max(axis=1), color=color, alpha=0.18, lw=0
        )
        alone = by_epoch.iloc[max(common.sum() - 1, 0) :]
        for run in alone.columns[alone.notna().sum() > 1]:
            axes.plot(alone.index, alone[run], color=color, lw=0.7, alpha=0.5)
    axes.plot(shared.index, shared.mean(axis=1), color=color, label=variant, **marker(shared))


def _draw_runs(axes: Axes, group: pd.DataFrame, variant: str, color: str) -> None:
    for place, (_, run) in enumerate(group.sort_values("epoch").groupby("run_id", sort=False)):
        name = variant if place == 0 else None
        look = marker(run) | {"lw": 1.1}
        axes.plot(run["elapsed_seconds"], run["value"], color=color, label=name, **look)


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


def epoch_seconds(curves: pd.DataFrame, colors: Mapping[str, str]) -> Figure:
    """How long the epochs of every variant took: a box, and a dot per epoch.

    Args:
        curves: one row per run and epoch: variant, epoch_seconds.
        colors: a colour (hex) for each variant.

    Raises:
        InputError: there are no curves.
    """
    require_some("curves", curves)
    groups = {
        str(variant): values.dropna().to_numpy()
        for variant, values in curves.groupby("variant", sort=False)["epoch_seconds"]
    }
    figure = blank_figure(1.2 + 0.55 * len(groups))
    axes = figure.subplots()
    for place, (variant, seconds) in enumerate(groups.items()):
        color = colors.get(variant, GREY)
        # The golden ratio spreads the dots evenly and always in the same way.
        jitter = ((np.arange(len(seconds)) * 0.618034) % 1 - 0.5) * 0.5
        axes.scatter(seconds, place + jitter, s=9, color=color, alpha=0.45, lw=0)
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
    axes.set_yticks(range(len(groups)), list(groups))
    axes.invert_yaxis()
    style(axes, f"Time per epoch (s), with the median{note}", "")
    return figure


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


def blank_figure(height: float) -> Figure:
    """An empty white figure, 8 inches wide and `height` inches high."""
    layout = ConstrainedLayoutEngine(wspace=0.04, hspace=0.04)
    return Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH, layout=layout, facecolor="white")


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
        axes.grid(color="#E5E5E5", lw=0.7)


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
