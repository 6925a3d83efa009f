"""Figures of what accuracy takes: training time, and images to train with.

Of nothing there are no panels; no runs are refused with an `InputError`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pipeline.answers.families import Family
from pipeline.report import drawing
from pipeline.report.drawing import Colors, Look, Panel

SIZE = (4.4, 3.3)
WIDE = 8  # of times: how many times the shortest is the longest on a linear axis at most
NEAREST, TOP = 0.085, 0.97  # of two names beside each other, and of any, by the height of the axes
GAP, CHARACTER = 0.03, 0.025  # from a point to its name, and of one, by the width of the axes


def accuracy_by_time_panels(
    timed: pd.DataFrame, summary: pd.DataFrame, colors: Colors
) -> list[Panel]:
    """What accuracy a training of every variant buys, with what time.

    A dot for every run; larger, a variant's mean test accuracy in its 95% confidence interval, at
    the median training time. Tables are as in `answers.summary`. Runs that other work disturbed are
    left out of the times, unless a variant has no others.
    """
    drawing.require_some("runs", timed)
    known = timed[np.isfinite(timed["test_accuracy"]) & (timed["train_seconds"] > 0)]
    disturbed = known["disturbed"].astype(bool)
    runs = known[~disturbed | disturbed.groupby(known["variant"]).transform("all")]
    if runs.empty:  # they measured neither
        return []
    seconds = runs.groupby("variant", sort=False)["train_seconds"].agg(["min", "median", "max"])
    rows = summary.set_index("variant").join(seconds, how="inner")
    shortest, longest = rows["min"].min(), rows["max"].max()
    crowded = len(rows) > drawing.CROWD

    def draw(axes: Axes) -> None:
        for name, row in rows.iterrows():
            look = drawing.look(str(name), colors)
            of_variant = runs[runs["variant"] == name]
            _draw_runs(axes, of_variant["train_seconds"], of_variant, look, str(name))
            _draw_mean(axes, row["median"], row, look, str(name))
            axes.lines[-1].set_label(str(name) if crowded else "")
        axes.margins(y=0.12)
        if longest > WIDE * shortest:
            axes.set_xscale("log")
            axes.set_xlim(shortest / 1.3, longest * 1.3)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.xaxis.set_minor_formatter("")
        else:
            axes.set_xlim(0, 1.1 * longest)
        drawing.style(axes, "Training time (s)", "Test accuracy (%)")
        if not crowded:
            _name(axes, rows, colors)

    said = [
        f"{variant} {row['test_accuracy']:.1%} for {row['median']:.3g} s"
        for variant, row in rows.sort_values("test_accuracy", ascending=False).iterrows()
    ]
    alt = f"Mean test accuracy for the median training time, the best first: {', '.join(said)}."
    return [Panel("accuracy_by_time", draw, alt, size=SIZE)]


def _draw_runs(axes: Axes, x: pd.Series | float, runs: pd.DataFrame, look: Look, name: str) -> None:
    accuracies = 100 * runs["test_accuracy"]
    at = np.broadcast_to(x, accuracies.shape)
    dots = axes.scatter(at, accuracies, s=14, color=look["color"], alpha=0.5, lw=0)
    drawing.assign(dots, name, "run")


def _draw_mean(axes: Axes, x: float, row: pd.Series, look: Look, name: str) -> None:
    """A mean accuracy in its interval."""
    mean, half_width = 100 * row[["test_accuracy", "test_accuracy_half_width"]].astype(float)
    if np.isfinite(half_width):
        ends = [mean - half_width, mean + half_width]
        line = axes.plot([x, x], ends, color=look["color"], lw=1.8)
        drawing.assign(line, name, "95% interval")
    dot: Look = {"color": look["color"], "marker": look["marker"], "ms": 7}
    drawing.assign(axes.plot([x], [mean], **dot), name, "mean")


def _name(axes: Axes, rows: pd.DataFrame, colors: Colors) -> None:
    """Every variant beside its runs, where there is more room; of names that would touch, apart."""
    heights = 100 * rows["test_accuracy"]
    to_axes = axes.transData - axes.transAxes
    left, middle, right = (
        to_axes.transform(np.stack([rows[of], heights], axis=1).astype(float))
        for of in ("min", "median", "max")
    )
    labels = []
    for name, first, mean, last in zip(map(str, rows.index), left, middle, right, strict=True):
        length = CHARACTER * len(name)
        # Beside its runs, or where these leave no room beside their mean.
        sides = [(last[0] + GAP, False), (first[0] - GAP - length, True)]
        sides += [(mean[0] + GAP, False), (mean[0] - GAP - length, True)]
        begin, is_left = next((of for of in sides if 0 <= of[0] <= 1 - length), sides[2])
        labels.append(_Label(name, begin, begin + length, mean[1], tuple(mean), is_left))
    for label, height in zip(labels, _apart(labels), strict=True):
        color = drawing.look(label.name, colors)["color"]
        line: Look = {"arrowstyle": "-", "color": color, "lw": 0.7, "shrinkA": 1, "shrinkB": 1}
        text = axes.annotate(
            label.name,
            xy=label.of,
            xytext=(label.end if label.is_left else label.begin, height),
            xycoords="axes fraction",
            ha="right" if label.is_left else "left",
            va="center",
            fontsize=10,
            parse_math=False,
            arrowprops=line,
        )
        drawing.assign(filter(None, [text, text.arrow_patch]), label.name)


class _Label(NamedTuple):
    """A name beside a point; places are fractions of the axes."""

    name: str
    begin: float
    end: float
    height: float  # that it would stand at
    of: tuple[float, float]
    is_left: bool  # of the point

    def touches(self, other: "_Label") -> bool:
        """Whether it does at the same height."""
        return self.begin < other.end and other.begin < self.end


def _apart(labels: Sequence[_Label]) -> list[float]:
    """The heights of names: those that would touch are moved up, or down where there is no room."""
    heights = {label: label.height for label in labels}
    order = sorted(labels, key=heights.__getitem__)
    for place, label in enumerate(order):
        below = [heights[one] + NEAREST for one in order[:place] if one.touches(label)]
        heights[label] = max([heights[label], *below])
    for place, label in reversed(list(enumerate(order))):
        above = [heights[one] - NEAREST for one in order[place + 1 :] if one.touches(label)]
        heights[label] = min([heights[label], TOP, *above])
    return [heights[label] for label in labels]


def accuracy_by_images_panels(
    families: Sequence[Family], timed: pd.DataFrame, summary: pd.DataFrame, colors: Colors
) -> list[Panel]:
    """How accuracy grows with the images to train with, a line for each family of variants."""
    if not families:
        return []
    rows = summary.set_index("variant")
    numbers = sorted({number for family in families for number in family.variants})

    def draw(axes: Axes) -> None:
        for family in families:
            look = drawing.look(next(iter(family.variants.values())), colors)
            means = 100 * rows["test_accuracy"].loc[list(family.variants.values())]
            axes.plot(list(family.variants), means, label=family.name, lw=1.8, **look)
            for number, name in family.variants.items():
                _draw_runs(axes, number, timed[timed["variant"] == name], look, name)
                _draw_mean(axes, number, rows.loc[name], look, name)
        axes.set_xscale("log")
        axes.set_xticks(numbers, [f"{number:,}" for number in numbers])
        axes.minorticks_off()
        axes.legend(frameon=False, fontsize=10)
        drawing.style(axes, "Training images of each class", "Test accuracy (%)")

    said = [
        f"{family.name} "
        + ", ".join(
            f"{rows['test_accuracy'][name]:.1%} with {n:,}" for n, name in family.variants.items()
        )
        for family in families
    ]
    alt = f"Mean test accuracy by the training images of each class: {'; '.join(said)}."
    return [Panel("accuracy_by_images", draw, alt, size=SIZE)]
