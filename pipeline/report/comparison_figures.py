"""Figures of a comparison, as panels: each one alone as SVG, or all of a kind on one PNG.

A panel draws on the axes it is given. In the report every panel is an SVG of its own, so that a
phone shows them one below the other; as a PNG they share one figure. No curves, no runs and no
panels are refused with an `InputError`.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report import drawing, variant_drawing
from pipeline.report.drawing import GREY, GRID, Array, Colors, Look


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes of a comparison.

    Args:
        name: what it is called among all panels; letters, digits, hyphens and underscores.
        draw: draws it on axes.
        alt: what it shows, in words, for those who cannot see it.
        size: width and height in inches, alone.
    """

    name: str
    draw: Callable[[Axes], None]
    alt: str
    size: tuple[float, float] = (5.0, 3.4)


def sheet(panels: Sequence[Panel]) -> Figure:
    """One figure of some panels, two beside each other, with their labels below."""
    drawing.require_some("panels", panels)
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = drawing.blank_figure(rows * max(panel.size[1] for panel in panels) + 0.5)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        panel.draw(axes)
    for axes in list(grid.flat)[len(panels) :]:
        axes.axis("off")
    if grid[0, 0].get_legend_handles_labels()[1]:
        drawing.legend(figure, grid[0, 0])
    return figure


def svg(panel: Panel) -> str:
    """One panel as an `<svg>` element to put into a page, where it takes on the page's colours.

    Text and axes are in the colour of the surrounding text, the grid and notes in the custom
    properties `--grid` and `--muted`. There is no legend: the page has one for all its panels.
    """
    width, height = panel.size
    figure = drawing.blank_figure(height, width)
    panel.draw(figure.subplots())
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": panel.name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    element = buffer.getvalue()
    element = element[element.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    element = re.sub(r'( xmlns:\w+="[^"]*"| version="[^"]*")', "", element)
    # In a page, ids must differ between the figures, and the width is the page's.
    element = re.sub(r'\bid="', f'id="{panel.name}-', element)
    element = re.sub(r'(?:xlink:)?href="#', f'href="#{panel.name}-', element)
    element = element.replace("url(#", f"url(#{panel.name}-")
    element = re.sub(r'<svg width="[^"]*" height="[^"]*"', '<svg aria-hidden="true"', element)
    roles = {"#000000": "currentColor", GREY: "var(--muted)", GRID: "var(--grid)"}
    for color, role in roles.items():
        element = element.replace(color.lower(), role)
    return element


def curve_panels(curves: pd.DataFrame, colors: Colors, x: str) -> list[Panel]:
    """Validation loss and accuracy of every variant, by `epoch` or `elapsed_seconds`.

    Curves have a row per run and epoch: run_id, variant, val_loss, val_accuracy and `x`.
    """
    drawing.require_some("curves", curves)
    draw = partial(variant_drawing.draw_curves, curves=curves, colors=colors, x=x)
    lines = f"a line for each variant: {', '.join(map(str, curves['variant'].unique()))}"
    by = "epoch" if x == "epoch" else "training time"
    return [
        Panel(
            name=f"val_{name}_by_{x}",
            draw=partial(draw, column=f"val_{name}"),
            alt=f"Validation {name} by {by}, {lines}.",
        )
        for name in ("loss", "accuracy")
    ]


def epoch_seconds_panel(curves: pd.DataFrame, colors: Colors) -> Panel:
    """How long the epochs of every variant took, from curves with variant and epoch_seconds."""
    drawing.require_some("curves", curves)
    groups = _groups(curves.dropna(subset="epoch_seconds"), "epoch_seconds")
    medians = ", ".join(f"{name} {np.median(values):.2f} s" for name, values in groups.items())
    return Panel(
        name="epoch_seconds",
        draw=partial(variant_drawing.draw_epoch_seconds, groups=groups, colors=colors),
        alt=f"Time per epoch by variant, as boxes; the medians: {medians}.",
        size=(5.2, 1.2 + 0.42 * len(groups)),
    )


def time_to_baseline_panel(runs: pd.DataFrame, colors: Colors) -> Panel:
    """How long each run trained until the baseline's best validation loss: a dot per run.

    Runs are those of `summary.with_convergence`: variant, and seconds_to_baseline, NaN for a run
    that never reached it.
    """
    drawing.require_some("runs", runs)
    groups = _groups(runs, "seconds_to_baseline")
    never = {name: np.isnan(values).sum() for name, values in groups.items()}
    said = ", ".join(f"{name} {count}" for name, count in never.items() if count)
    return Panel(
        name="time_to_baseline",
        draw=partial(variant_drawing.draw_time_to_baseline, groups=groups, colors=colors),
        alt="Training time until the best validation loss of the baseline is reached, a dot per "
        f"run; runs that never reached it: {said or 'none'}.",
        size=(5.2, 1.1 + 0.42 * len(groups)),
    )


def _groups(table: pd.DataFrame, column: str) -> dict[str, Array]:
    groups = table.groupby("variant", sort=False)[column]
    return {str(variant): values.to_numpy(dtype=float) for variant, values in groups}


def search_panels(searches: Mapping[str, pd.DataFrame], colors: Colors) -> list[Panel]:
    """Learning rate against validation loss, a panel per variant on the same scale.

    The trials of a variant have learning_rate, value (NaN where there is none) and state
    (`COMPLETE`, `PRUNED`, `DIVERGED`, ...).
    """
    values = np.concatenate([[], *(trials["value"] for trials in searches.values())])
    finite = values[np.isfinite(values)]
    if not len(finite):
        return []
    low, median = finite.min(), np.median(finite)
    top = min(finite.max(), low + 4 * max(median - low, 1e-9))
    limits = (low - 0.08 * (top - low), top + 0.12 * (top - low))
    panels = []
    for place, (variant, trials) in enumerate(searches.items()):
        look: Look = {"color": colors.get(variant, GREY), "title": variant, "limits": limits}
        draw = partial(variant_drawing.draw_search, trials=trials, **look)
        alt = _search_in_words(variant, trials)
        panels.append(Panel(name=f"search_{place}", draw=draw, alt=alt, size=(4.0, 2.9)))
    return panels


def _search_in_words(variant: str, trials: pd.DataFrame) -> str:
    states = trials["state"].value_counts()
    counts = ", ".join(f"{count} {str(state).lower()}" for state, count in states.items())
    completed = trials[trials["state"] == "COMPLETE"]
    said = "none was completed."
    if len(completed):
        best = completed.loc[completed["value"].idxmin()]
        rate, loss = best["learning_rate"], best["value"]
        said = f"the best learning rate is {rate:.3g} with validation loss {loss:.3f}."
    return f"Search of {variant}: {len(trials)} trials ({counts}); {said}"


def layer_panels(
    activations: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]], colors: Colors
) -> list[Panel]:
    """Mean and standard deviation of the activations by hidden layer, a line per variant.

    There are, for each variant and moment (such as `at initialisation`), the lists `mean` and
    `standard_deviation`, a number per hidden layer.
    """
    moments = dict.fromkeys(moment for of in activations.values() for moment in of)
    panels = []
    for place, moment in enumerate(moments):
        at_moment = {name: of[moment] for name, of in activations.items() if moment in of}
        for level, statistic in enumerate(("mean", "standard_deviation")):
            words = statistic.replace("_", " ").capitalize()
            lines = {name: of[statistic] for name, of in at_moment.items()}
            look: Look = {"colors": colors, "level": level, "title": f"{words} {moment}"}
            draw = partial(drawing.draw_layers, lines=lines, **look)
            alt = f"{words} of the activations {moment} by hidden layer, a line for each variant: "
            alt += f"{', '.join(activations)}."
            panels.append(Panel(name=f"{statistic}_{place}", draw=draw, alt=alt))
    return panels


def uncertainty_panels(records: Mapping[str, Mapping[str, Any]], colors: Colors) -> list[Panel]:
    """MC Dropout: accuracy against samples, and a reliability diagram per variant.

    Records are what `mc_dropout` logged: deterministic_accuracy, accuracy_by_samples and
    calibration (for each model the lists confidence, accuracy and count, a number per bin; None in
    an empty bin).
    """
    if not records:
        return []
    accuracies = itemgetter("accuracy_by_samples", "deterministic_accuracy")
    lines = {variant: accuracies(record) for variant, record in records.items()}
    draw: Callable[[Axes], None] = partial(drawing.draw_samples, lines=lines, colors=colors)
    alt = f"Accuracy of MC Dropout against the number of samples averaged: {', '.join(records)}."
    panels = [Panel(name="mc_samples", draw=draw, alt=alt)]
    columns = itemgetter("confidence", "accuracy", "count")
    for place, (variant, record) in enumerate(records.items()):
        bins = {model: columns(of) for model, of in record["calibration"].items()}
        look: Look = {"color": colors.get(variant, GREY), "title": variant}
        draw = partial(drawing.draw_reliability, bins=bins, **look)
        alt = f"Reliability diagram of {variant}: accuracy against confidence, "
        alt += "with and without MC Dropout."
        panels.append(Panel(name=f"reliability_{place}", draw=draw, alt=alt))
    return panels
