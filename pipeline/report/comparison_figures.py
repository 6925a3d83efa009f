"""Figures of a comparison, as panels: each one alone as SVG, or all of a kind on one PNG.

A panel draws on the axes it is given. In the report every panel is an SVG of its own, so that a
phone shows them one below the other; as a PNG they share one figure. The variants' colours are the
caller's.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report.run_figures import (
    GREY,
    GRID,
    MOST_DOTS,
    Array,
    blank_figure,
    draw_curves,
    draw_epoch_seconds,
    jitter,
    legend,
    marker,
    name_rows,
    require_some,
    style,
    thinned,
    whole_numbers,
)

MARKERS = "osD^vPX"


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
    """One figure of some panels, two beside each other, with their labels below.

    Raises:
        InputError: there are no panels.
    """
    require_some("panels", panels)
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    height = max(panel.size[1] for panel in panels)
    figure = blank_figure(rows * height + 0.5)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, panel in zip(grid.flat, panels, strict=False):
        panel.draw(axes)
    for axes in list(grid.flat)[len(panels) :]:
        axes.axis("off")
    if grid[0, 0].get_legend_handles_labels()[1]:
        legend(figure, grid[0, 0])
    return figure


def svg(panel: Panel) -> str:
    """One panel as an `<svg>` element to put into a page, where it takes on the page's colours.

    Text and axes are in the colour of the surrounding text, the grid and notes in the custom
    properties `--grid` and `--muted`. There is no legend: the page has one for all its panels.
    """
    width, height = panel.size
    figure = blank_figure(height, width)
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
    for color, name in {
        "#000000": "currentColor",
        GREY.lower(): "var(--muted)",
        GRID.lower(): "var(--grid)",
    }.items():
        element = element.replace(color, name)
    return element


def curve_panels(curves: pd.DataFrame, colors: Mapping[str, str], x: str) -> list[Panel]:
    """Validation loss and accuracy of every variant.

    Args:
        curves: one row per run and epoch: run_id, variant, epoch, val_loss, val_accuracy and, for
            seconds, elapsed_seconds.
        colors: a colour (hex) for each variant.
        x: `epoch` or `elapsed_seconds`.

    Raises:
        InputError: there are no curves.
    """
    require_some("curves", curves)
    by = "epoch" if x == "epoch" else "training time"
    return [
        Panel(
            name=f"{column}_by_{x}",
            draw=partial(draw_curves, curves=curves, colors=colors, x=x, column=column),
            alt=f"{column.replace('val', 'Validation').replace('_', ' ')} by {by}, a line for "
            f"each variant: {', '.join(map(str, curves['variant'].unique()))}.",
        )
        for column in ("val_loss", "val_accuracy")
    ]


def epoch_seconds_panel(curves: pd.DataFrame, colors: Mapping[str, str]) -> Panel:
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
    medians = ", ".join(f"{name} {np.median(values):.2f} s" for name, values in groups.items())
    return Panel(
        name="epoch_seconds",
        draw=partial(draw_epoch_seconds, groups=groups, colors=colors),
        alt=f"Time per epoch by variant, as boxes; the medians: {medians}.",
        size=(5.2, 1.1 + 0.42 * len(groups)),
    )


def time_to_baseline_panel(runs: pd.DataFrame, colors: Mapping[str, str]) -> Panel:
    """How long each run trained until the baseline's best validation loss: a dot per run.

    Args:
        runs: one row per run, from `summary.with_convergence`: variant, seconds_to_baseline (NaN
            for a run that never reached it).
        colors: a colour (hex) for each variant.

    Raises:
        InputError: there are no runs.
    """
    require_some("runs", runs)
    groups = {
        str(variant): values.to_numpy(dtype=float)
        for variant, values in runs.groupby("variant", sort=False)["seconds_to_baseline"]
    }
    never = {name: int(np.isnan(values).sum()) for name, values in groups.items()}
    said = ", ".join(f"{name} {count}" for name, count in never.items() if count)
    return Panel(
        name="time_to_baseline",
        draw=partial(_draw_time_to_baseline, groups=groups, colors=colors),
        alt="Training time until the best validation loss of the baseline is reached, a dot per "
        f"run; runs that never reached it: {said or 'none'}.",
        size=(5.2, 1.1 + 0.42 * len(groups)),
    )


def _draw_time_to_baseline(
    axes: Axes, groups: Mapping[str, Array], colors: Mapping[str, str]
) -> None:
    for place, (variant, seconds) in enumerate(groups.items()):
        reached = seconds[~np.isnan(seconds)]
        shown = thinned(reached, MOST_DOTS)
        color = colors.get(variant, GREY)
        spread = jitter(len(shown)) * (0.5 if len(shown) > 5 else 0)
        axes.scatter(shown, place + spread, s=28, color=color, alpha=0.6, lw=0)
        if len(reached):
            mean = reached.mean()
            axes.plot([mean, mean], [place - 0.3, place + 0.3], color=color, lw=2.5)
        if len(reached) < len(seconds):
            text = f"never: {len(seconds) - len(reached)} of {len(seconds)}"
            axes.annotate(
                text,
                (1, place),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="center",
                fontsize=9,
                color=GREY,
            )
    largest = max((np.nanmax(v) for v in groups.values() if not np.isnan(v).all()), default=1)
    axes.set_xlim(0, 1.3 * largest)
    name_rows(axes, groups)
    style(axes, "Training time (s), with the mean", "")


def search_panels(searches: Mapping[str, pd.DataFrame], colors: Mapping[str, str]) -> list[Panel]:
    """Learning rate against validation loss, a panel per variant on the same scale.

    Args:
        searches: for each variant its trials: number, learning_rate, value (NaN where there is
            none) and state (`COMPLETE`, `PRUNED`, `DIVERGED`, ...).
        colors: a colour (hex) for each variant.
    """
    values = pd.concat([trials["value"] for trials in searches.values()]) if searches else None
    if values is None or not np.isfinite(values).any():
        return []
    finite = values[np.isfinite(values)]
    low, median = finite.min(), finite.median()
    top = min(finite.max(), low + 4 * max(median - low, 1e-9))
    limits = (low - 0.08 * (top - low), top + 0.12 * (top - low))
    return [
        Panel(
            name=f"search_{place}",
            draw=partial(
                _draw_search,
                trials=trials,
                variant=variant,
                color=colors.get(variant, GREY),
                limits=limits,
            ),
            alt=_search_in_words(variant, trials),
            size=(4.0, 2.9),
        )
        for place, (variant, trials) in enumerate(searches.items())
    ]


def _search_in_words(variant: str, trials: pd.DataFrame) -> str:
    states = trials["state"].value_counts()
    counts = ", ".join(f"{count} {str(state).lower()}" for state, count in states.items())
    said = f"Search of {variant}: {len(trials)} trials ({counts}); "
    completed = trials[trials["state"] == "COMPLETE"]
    if completed.empty:
        return said + "none was completed."
    best = completed.loc[completed["value"].idxmin()]
    return said + (
        f"the best learning rate is {best['learning_rate']:.3g} with validation loss "
        f"{best['value']:.3f}."
    )


def _draw_search(
    axes: Axes, trials: pd.DataFrame, variant: str, color: str, limits: tuple[float, float]
) -> None:
    top = limits[1] - 0.06 * (limits[1] - limits[0])
    # A value beyond the scale, or none at all, is shown at the upper edge.
    height = trials["value"].where(np.isfinite(trials["value"]), np.inf).clip(upper=top)
    complete = trials["state"] == "COMPLETE"
    pruned = trials["state"] == "PRUNED"
    looks: tuple[tuple[pd.Series, str, dict[str, Any]], ...] = (
        (complete, "completed", {"marker": "o", "color": color}),
        (pruned, "pruned", {"marker": "o", "facecolor": "none", "edgecolor": color}),
        (~complete & ~pruned, "diverged or failed", {"marker": "x", "color": color}),
    )
    for chosen, label, look in looks:
        rates = trials["learning_rate"][chosen]
        axes.scatter(rates, height[chosen], s=36, lw=1.5, label=label, **look)
    if complete.any():
        best = trials["learning_rate"][trials["value"].where(complete).idxmin()]
        axes.axvline(best, color=color, linestyle=":", lw=1.3, label="best")
    axes.set_xscale("log")
    axes.set_ylim(limits)
    axes.set_title(variant, fontsize=10)
    style(axes, "Learning rate", "Validation loss (nats per image)")


def layer_panels(
    activations: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]],
    colors: Mapping[str, str],
) -> list[Panel]:
    """Mean and standard deviation of the activations by hidden layer, a line per variant.

    Args:
        activations: for each variant and moment (such as `at initialisation`), the lists `mean` and
            `standard_deviation`, a number per hidden layer.
        colors: a colour (hex) for each variant.
    """
    moments = list(dict.fromkeys(moment for of in activations.values() for moment in of))
    return [
        Panel(
            name=f"{statistic}_{place}",
            draw=partial(
                _draw_layers,
                values={
                    name: of[moment][statistic] for name, of in activations.items() if moment in of
                },
                colors=colors,
                title=f"{statistic.replace('_', ' ').capitalize()} {moment}",
                level=0 if statistic == "mean" else 1,
            ),
            alt=f"{statistic.replace('_', ' ').capitalize()} of the activations {moment} by hidden "
            f"layer, a line for each variant: {', '.join(activations)}.",
        )
        for place, moment in enumerate(moments)
        for statistic in ("mean", "standard_deviation")
    ]


def _draw_layers(
    axes: Axes,
    values: Mapping[str, Sequence[float]],
    colors: Mapping[str, str],
    *,
    title: str,
    level: float,
) -> None:
    axes.axhline(level, color=GREY, lw=1, linestyle="--", zorder=0)
    for place, (variant, by_layer) in enumerate(values.items()):
        look: dict[str, Any] = {
            "color": colors.get(variant, GREY),
            "marker": MARKERS[place % len(MARKERS)],
        }
        # Thinner from line to line: one that lies on another does not hide it.
        thinner = 0.85**place
        layers = range(1, len(by_layer) + 1)
        axes.plot(layers, by_layer, label=variant, ms=6 * thinner, lw=2.4 * thinner, **look)
    whole_numbers(axes)
    axes.set_title(title, fontsize=10)
    style(axes, "Hidden layer", "Mean" if level == 0 else "Standard deviation")


def uncertainty_panels(
    records: Mapping[str, Mapping[str, Any]], colors: Mapping[str, str]
) -> list[Panel]:
    """MC Dropout: accuracy against samples, and a reliability diagram per variant.

    Args:
        records: for each variant what `mc_dropout` logged: deterministic_accuracy,
            accuracy_by_samples and calibration (for each model the lists confidence, accuracy and
            count, a number per bin; None in an empty bin).
        colors: a colour (hex) for each variant.
    """
    if not records:
        return []
    names = ", ".join(records)
    samples = Panel(
        name="mc_samples",
        draw=partial(_draw_samples, records=records, colors=colors),
        alt=f"Accuracy of MC Dropout against the number of samples averaged: {names}.",
    )
    return [
        samples,
        *(
            Panel(
                name=f"reliability_{place}",
                draw=partial(
                    _draw_reliability,
                    calibration=record["calibration"],
                    variant=variant,
                    color=colors.get(variant, GREY),
                ),
                alt=f"Reliability diagram of {variant}: accuracy against confidence, with and "
                "without MC Dropout.",
            )
            for place, (variant, record) in enumerate(records.items())
        ),
    ]


def _draw_samples(
    axes: Axes, records: Mapping[str, Mapping[str, Any]], colors: Mapping[str, str]
) -> None:
    for variant, record in records.items():
        color = colors.get(variant, GREY)
        percent = 100 * np.asarray(record["accuracy_by_samples"], dtype=float)
        samples = np.arange(1, len(percent) + 1)
        axes.plot(samples, percent, color=color, label=variant, **marker(percent))
        plain = 100 * record["deterministic_accuracy"]
        axes.axhline(plain, color=color, linestyle="--", lw=1.2)
    whole_numbers(axes)
    style(axes, "Number of samples averaged", "Test accuracy (%)")


def _draw_reliability(
    axes: Axes, calibration: Mapping[str, Mapping[str, Any]], variant: str, color: str
) -> None:
    axes.plot([0, 100], [0, 100], color=GREY, lw=1, linestyle=":")
    looks = ({"linestyle": "--", "mfc": "none", "lw": 1.2}, {"lw": 1.8})
    for place, (model, bins) in enumerate(calibration.items()):
        confidence = 100 * np.asarray(bins["confidence"], dtype=float)
        accuracy = 100 * np.asarray(bins["accuracy"], dtype=float)
        filled = np.asarray(bins["count"]) > 0
        look = looks[place % len(looks)]
        axes.plot(
            confidence[filled], accuracy[filled], marker="o", ms=5, color=color, label=model, **look
        )
    axes.legend(frameon=False, fontsize=9)
    axes.set_title(variant, fontsize=10)
    axes.set(xlim=(0, 100), ylim=(0, 100))
    style(axes, "Confidence (%)", "Accuracy (%)")
