"""Figures that only some questions need, see `comparisons.declarations.FIGURES`, as panels.

Of what runs have not logged there are none.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pipeline.answers.summary import BLOWN_UP
from pipeline.base.phrases import listed
from pipeline.report import drawing
from pipeline.report.drawing import Array, Colors, Look, Panel
from pipeline.report.first_losses import smoothed

MOST_POINTS = 150  # of a line
WIDE = 10  # how many times the lowest is the highest on a linear axis at most
SIZE = (4.4, 3.3)
# Statistics of layers, with what an axis of them is called.
STATISTICS = {
    "standard_deviation": "Standard deviation of activations",
    "dead_units": "Dead units (%)",
    "distinct_units": "Distinct units",
    "rank": "Rank of activations",
    "gradient_norm": "Norm of the gradient",
}
OVER_POWERS = (STATISTICS["standard_deviation"], STATISTICS["gradient_norm"])  # of ten


def layers_panels(layers: Mapping[str, Any], colors: Colors) -> list[Panel]:
    """From each variant's `layers.json`: every statistic by hidden layer, before and after."""
    moments = dict.fromkeys(moment for of in layers.values() for moment in of)
    panels = []
    for statistic, unit in STATISTICS.items():
        for place, moment in enumerate(moments):
            scale = 100 if unit.endswith("%)") else 1
            of = {
                name: scale * np.asarray(at[moment][statistic], dtype=float)
                for name, at in layers.items()
                if at.get(moment, {}).get(statistic)
            }
            if of:
                draw = partial(_draw_layers, lines=of, colors=colors, unit=unit, title=moment)
                last = ", ".join(f"{name} {values[-1]:.3g}" for name, values in of.items())
                alt = f"{unit} by hidden layer {moment}; in the last layer: {last}."
                panels.append(Panel(f"layers_{statistic}_{place}", draw, alt))
    return panels


def _draw_layers(
    axes: Axes, lines: Mapping[str, Array], colors: Colors, unit: str, title: str
) -> None:
    known = {name: np.where(np.isfinite(of), of, np.nan) for name, of in lines.items()}
    drawing.draw_layers(axes, known, colors, unit=unit, title=title[:1].upper() + title[1:])
    if unit in OVER_POWERS and _is_wide(np.concatenate(list(lines.values()))):
        axes.set_yscale("log")


def _is_wide(values: Array) -> bool:
    known = values[np.isfinite(values) & (values > 0)]
    return bool(known.size and known.max() > WIDE * known.min())


def first_losses_panels(losses: Mapping[str, Sequence[Array]], colors: Colors) -> list[Panel]:
    """The losses of the first epoch's mini-batches by variant, of a typical run, smoothed."""
    lines = {name: line for name, of in losses.items() if (line := _typical(of)) is not None}
    if not lines:
        return []
    values = np.concatenate([line.to_numpy() for line in lines.values()])

    def draw(axes: Axes) -> None:
        for variant, line in lines.items():
            points = line.iloc[drawing.evenly(len(line), MOST_POINTS)]
            look = drawing.look(variant, colors) | {"marker": None}
            drawn = axes.plot(points.index, points, label=variant, **drawing.marker(points) | look)
            drawing.assign(drawn, variant, "typical run")
        if _is_wide(values):
            axes.set_yscale("log")
        axes.set_ylim(top=min(axes.get_ylim()[1], BLOWN_UP))
        drawing.style(axes, "Mini-batch of the first epoch", "Loss that is minimised", whole=True)

    highest = {name: float(line.max()) for name, line in lines.items()}
    said = ", ".join(f"{name} {highest[name]:.3g}" for name in sorted(highest, key=highest.get))  # type: ignore[arg-type]
    alt = f"Highest loss of the first epoch, the lowest first: {said}."
    return [Panel("first_losses", draw, alt, size=SIZE)]


def _typical(of: Sequence[Array]) -> pd.Series | None:
    """Of the run whose highest is the median, the mean of some mini-batches as far as it is finite.

    Runs overshoot at different mini-batches, where a median over the runs would show nothing.
    """
    lines = sorted((line for one in of if len(line := smoothed(one))), key=pd.Series.max)
    return lines[len(lines) // 2] if lines else None


def sparsity_panels(summary: pd.DataFrame, timed: pd.DataFrame, colors: Colors) -> list[Panel]:
    """Test accuracy against the share of weights that are 0; a dot for a run, larger the mean."""
    rows = summary[np.isfinite(summary["zero_weights"]) & np.isfinite(summary["test_accuracy"])]
    if rows.empty:
        return []

    def draw(axes: Axes) -> None:
        for row in rows.to_dict("records"):
            name = str(row["variant"])
            look, runs = drawing.look(name, colors), timed[timed["variant"] == name]
            shares, accuracies = 100 * runs["zero_weights"], 100 * runs["test_accuracy"]
            dots = axes.scatter(shares, accuracies, s=12, color=look["color"], alpha=0.5, lw=0)
            drawing.assign(dots, name, "run")
            dot: Look = {"color": look["color"], "marker": look["marker"], "ms": 7, "ls": ""}
            at = [100 * row["zero_weights"]], [100 * row["test_accuracy"]]
            drawing.assign(axes.plot(*at, label=name, **dot), name, "mean")
        axes.set_xlim(-3, 103)
        drawing.style(axes, "Weights that are 0 (%)", "Test accuracy (%)")

    said = ", ".join(
        f"{row['variant']} {row['test_accuracy']:.1%} with {row['zero_weights']:.1%}"
        for row in rows.sort_values("zero_weights").to_dict("records")
    )
    alt = f"Mean test accuracy by the share of weights that are 0: {said}."
    return [Panel("sparsity", draw, alt, size=SIZE)]


def inference_panels(
    summary: pd.DataFrame, uncertainty: Mapping[str, Mapping[str, Any]], colors: Colors
) -> list[Panel]:
    """What a prediction takes and comes to: plain, and by MC Dropout of some samples."""
    points = dict(_points(summary, uncertainty))
    if not points:
        return []
    units = {"accuracy": ("Test accuracy (%)", 100), "ece": ("Calibration error (points)", 100)}
    panels = []
    for metric, (unit, scale) in units.items():
        draw = partial(_draw_inference, points=points, metric=metric, scale=scale, colors=colors)
        said = "; ".join(
            f"{name} "
            + ", ".join(f"{scale * one[metric]:.1f} in {one['microseconds']:.3g}" for one in of)
            for name, of in points.items()
        )
        alt = f"{unit} by microseconds of an image, plain and then of MC Dropout: {said}."
        panels.append(Panel(f"inference_{metric}", partial(draw, unit=unit), alt, size=SIZE))
    return panels


def _points(
    summary: pd.DataFrame, uncertainty: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, list[Mapping[str, float]]]]:
    """Of each variant what a plain prediction comes to, then that of MC Dropout by samples."""
    for row in summary.to_dict("records"):
        if np.isfinite(row["inference_microseconds"]):
            plain = {"microseconds": row["inference_microseconds"], "samples": 0}
            plain |= {"accuracy": row["test_accuracy"], "ece": row["ece"]}
            sampled = uncertainty.get(str(row["variant"]), {}).get("by_number", ())
            yield str(row["variant"]), [plain, *sampled]


def _draw_inference(
    axes: Axes,
    points: Mapping[str, Sequence[Mapping[str, float]]],
    metric: str,
    unit: str,
    scale: int,
    colors: Colors,
) -> None:
    for name, (plain, *sampled) in points.items():
        look = drawing.look(name, colors)
        times = [one["microseconds"] for one in (plain, *sampled)]
        values = [scale * one[metric] for one in (plain, *sampled)]
        drawing.assign(axes.plot(times[:1], values[:1], label=name, ms=8, **look), name, "plain")
        if sampled:
            of: Look = {"ms": 5, "lw": 1.2, "mfc": "none", **look}
            drawing.assign(axes.plot(times[1:], values[1:], **of), name, "MC Dropout")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    numbers = sorted({int(one["samples"]) for _, *sampled in points.values() for one in sampled})
    hollow = f"\nhollow: MC Dropout of {listed(map(str, numbers))} samples"
    drawing.style(axes, f"Microseconds per image{hollow if numbers else ''}", unit)
