"""Figures of a comparison: what the report shows of several variants side by side, as panels.

Of nothing there are no panels; no curves and no runs are refused with an `InputError`.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import product
from operator import itemgetter
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pipeline.comparisons.colors import GREY
from pipeline.report import drawing
from pipeline.report.drawing import Array, Colors, Look, Panel

# Drawing more would fill a band, not tell more.
MOST_LINES, MOST_DOTS, MOST_POINTS = 10, 120, 200


def curve_panels(curves: pd.DataFrame, colors: Colors, x: str) -> list[Panel]:
    """Validation loss and accuracy of every variant, by `epoch` or `elapsed_seconds`.

    Curves have a row per run and epoch: run_id, variant, val_loss, val_accuracy and `x`.
    """
    drawing.require_some("curves", curves)
    by = "epoch" if x == "epoch" else "training time"
    lines = f"a line for each variant: {', '.join(map(str, curves['variant'].unique()))}"
    panels = []
    for name in ("loss", "accuracy"):
        draw = partial(_draw_curves, curves=curves, colors=colors, x=x, column=f"val_{name}")
        panels.append(Panel(f"val_{name}_by_{x}", draw, f"Validation {name} by {by}, {lines}."))
    return panels


def _draw_curves(axes: Axes, curves: pd.DataFrame, colors: Colors, *, x: str, column: str) -> None:
    """The mean of the seeds in a band from lowest to highest, as far as all go; then thin lines."""
    is_loss, by_epoch = column == "val_loss", x == "epoch"
    scale = 1 if is_loss else 100
    for variant, group in curves.groupby("variant", sort=False):
        color = colors.get(str(variant), GREY)
        # A column per run; a row per epoch, or per moment at which a run has finished one.
        wide = scale * group.pivot_table(index=x, columns="run_id", values=column)
        if not by_epoch:
            wide = wide.interpolate("index", limit_area="inside")
            wide = wide.iloc[_evenly(len(wide), MOST_POINTS)]
        shared = wide[wide.notna().all(axis=1)]
        if wide.shape[1] > 1:
            low, high = shared.min(axis=1), shared.max(axis=1)
            axes.fill_between(shared.index, low, high, color=color, alpha=0.18, lw=0)
            alone = wide.loc[shared.index[-1] :] if len(shared) else wide
            for run in alone.columns[alone.notna().sum() > 1][:MOST_LINES]:
                axes.plot(alone.index, alone[run], color=color, lw=0.7, alpha=0.5)
        look = {"color": color, "label": str(variant), **drawing.marker(shared)}
        axes.plot(shared.index, shared.mean(axis=1), **look)
    finite = scale * curves[column][np.isfinite(curves[column])]
    if len(finite):  # A few wild values must not flatten all the others.
        low, high = finite.quantile([0.0, 0.97] if is_loss else [0.03, 1.0])
        room = high - low
        if finite.max() > high + room or finite.min() < low - room:
            axes.set_ylim(low - 0.1 * room, high + 0.1 * room)
    unit = "Validation loss (nats per image)" if is_loss else "Validation accuracy (%)"
    drawing.style(axes, "Epoch" if by_epoch else "Training time (s)", unit, whole=by_epoch)


def _evenly(count: int, most: int) -> Array:
    """At most so many of some numbers from 0, taken evenly from all of them."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.intp)


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
        for place, color, seconds in _rows(axes, groups, colors):
            _draw_dots(axes, seconds, place, s=9, color=color, alpha=0.45)
            line: Look = {"color": color, "lw": 1.2}
            look = {"boxprops": line, "whiskerprops": line, "capprops": line, **box}
            axes.boxplot(seconds, positions=[place], **look)
        # From 0, so that the lengths compare as the times do; a first epoch, which compiles the
        # program, can be many times as long as the others.
        axes.set_xlim(0, 1.6 * usual)
        drawing.style(axes, f"Time per epoch (s), with the median{note}", "")

    medians = ", ".join(f"{name} {np.median(values):.2f} s" for name, values in groups.items())
    alt = f"Time per epoch by variant, as boxes; the medians: {medians}."
    return Panel("epoch_seconds", draw, alt, size=(5.2, 1.2 + 0.42 * len(groups)))


def time_to_target_panel(runs: pd.DataFrame, colors: Colors) -> Panel:
    """How long each run trained until the target: a dot per run.

    Runs have variant, and seconds_to_target, NaN for a run that never reached it.
    """
    drawing.require_some("runs", runs)
    groups = _groups(runs, "seconds_to_target")
    never = {name: int(np.isnan(values).sum()) for name, values in groups.items()}
    longest = runs["seconds_to_target"].max()

    def draw(axes: Axes) -> None:
        edge: Look = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center"}
        for place, color, seconds in _rows(axes, groups, colors):
            reached = seconds[~np.isnan(seconds)]
            missing, spread = len(seconds) - len(reached), 0.25 * (len(reached) > 5)
            _draw_dots(axes, reached, place, spread, s=28, color=color, alpha=0.6)
            median = np.median(np.where(np.isnan(seconds), np.inf, seconds))
            if np.isfinite(median):
                axes.plot([median] * 2, [place - 0.3, place + 0.3], color=color, lw=2.5)
            if missing:
                text = f"never: {missing} of {len(seconds)}"
                axes.text(1, place, text, fontsize=9, color=GREY, **edge)
        axes.set_xlim(0, 1.3 * (1 if np.isnan(longest) else longest))
        drawing.style(axes, "Training time (s), with the median", "")

    said = ", ".join(f"{name} {count}" for name, count in never.items() if count)
    alt = "Training time until the target is reached, a dot per run; "
    alt += f"runs that never reached it: {said or 'none'}."
    return Panel("time_to_target", draw, alt, size=(5.2, 1.1 + 0.42 * len(groups)))


def _groups(table: pd.DataFrame, column: str) -> dict[str, Array]:
    groups = table.groupby("variant", sort=False)[column]
    return {str(variant): values.to_numpy(dtype=float) for variant, values in groups}


def _rows(axes: Axes, groups: dict[str, Array], colors: Colors) -> Iterator[tuple[int, str, Array]]:
    """Name a row for each variant, from the top; yields its place, colour and values."""
    axes.set_yticks(range(len(groups)), list(groups))
    axes.set_ylim(len(groups) - 0.5, -0.5)
    for place, (variant, values) in enumerate(groups.items()):
        yield place, colors.get(variant, GREY), values


def _draw_dots(axes: Axes, values: Array, place: int, spread: float = 0.5, **look: Any) -> None:
    """Draw some of the values, spread evenly and always in the same way, by the golden ratio."""
    shown = values[_evenly(len(values), MOST_DOTS)]
    offsets = (np.arange(len(shown)) * 0.618034) % 1 - 0.5
    axes.scatter(shown, place + spread * offsets, lw=0, **look)


def search_panels(
    searches: Mapping[str, pd.DataFrame],
    colors: Colors,
    curves: Mapping[str, pd.DataFrame] = MappingProxyType({}),
) -> list[Panel]:
    """Learning rate against validation loss, a panel per variant on the same scale.

    The trials of a variant have learning_rate, value (NaN where there is none) and state
    (`COMPLETE`, `PRUNED`, `DIVERGED`, ...); the curve through them, learning_rate and val_loss. A
    search without a curve chose the rate of its best trial.
    """
    values = np.concatenate([[], *(trials["value"] for trials in searches.values())])
    finite = values[np.isfinite(values)]
    if not len(finite):
        return []
    low, median = finite.min(), np.median(finite)
    top = min(finite.max(), low + 4 * max(median - low, 1e-9))
    limits = np.array([low - 0.08 * (top - low), top + 0.12 * (top - low)])
    panels = []
    for place, (variant, trials) in enumerate(searches.items()):
        color = colors.get(variant, GREY)
        completed = trials[trials["state"] == "COMPLETE"].rename(columns={"value": "val_loss"})
        curve = curves.get(variant, completed.nsmallest(1, "val_loss"))
        draw = partial(_draw_search, trials=trials, curve=curve, color=color, title=variant)
        draw = partial(draw, limits=limits)
        states = trials["state"].value_counts()
        counts = ", ".join(f"{count} {str(state).lower()}" for state, count in states.items())
        chosen = "none was completed"
        if len(curve):
            rate, loss = curve.loc[curve["val_loss"].idxmin(), ["learning_rate", "val_loss"]]
            chosen = f"the chosen learning rate is {rate:.3g} with validation loss {loss:.3f}"
        alt = f"Search of {variant}: {len(trials)} trials ({counts}); {chosen}."
        panels.append(Panel(f"search_{place}", draw, alt, size=(4.0, 2.9)))
    return panels


def _draw_search(
    axes: Axes,
    trials: pd.DataFrame,
    curve: pd.DataFrame,
    color: str,
    title: str,
    limits: Array,
) -> None:
    """Learning rates and validation losses of trials, the curve, and its minimum as a line."""
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
    if len(curve):
        axes.plot(curve["learning_rate"], curve["val_loss"], color=color, lw=1.0, alpha=0.7)
        chosen = curve["learning_rate"][curve["val_loss"].idxmin()]
        axes.axvline(chosen, color=color, linestyle=":", lw=1.3, label="chosen")
    axes.set_xscale("log")
    axes.set_ylim(*limits)
    drawing.style(axes, "Learning rate", "Validation loss (nats per image)", title=title)


def layer_panels(activations: Mapping[str, Any], colors: Colors) -> list[Panel]:
    """From each variant's `activations.json`: their mean and standard deviation by hidden layer."""
    moments = dict.fromkeys(moment for of in activations.values() for moment in of)
    panels = []
    for (place, moment), level in product(enumerate(moments), (0, 1)):
        statistic = ("mean", "standard_deviation")[level]
        words = statistic.replace("_", " ").capitalize()
        of = {name: at[moment][statistic] for name, at in activations.items() if moment in at}
        look: Look = {"colors": colors, "level": level, "title": f"{words} {moment}"}
        alt = f"{words} of the activations {moment} by hidden layer, a line for each variant: "
        alt += f"{', '.join(activations)}."
        draw = partial(drawing.draw_layers, lines=of, **look)
        panels.append(Panel(f"{statistic}_{place}", draw, alt))
    return panels


def uncertainty_panels(records: Mapping[str, Mapping[str, Any]], colors: Colors) -> list[Panel]:
    """From each variant's `record.json`: accuracy against samples, and reliability diagrams."""
    if not records:
        return []
    of_record = itemgetter("accuracy_by_samples", "deterministic_accuracy")
    lines = {variant: of_record(record) for variant, record in records.items()}
    draw: Callable[[Axes], None] = partial(drawing.draw_samples, lines=lines, colors=colors)
    alt = f"Accuracy of MC Dropout against the number of samples averaged: {', '.join(records)}."
    panels = [Panel("mc_samples", draw, alt)]
    columns = itemgetter("confidence", "accuracy", "count")
    for place, (variant, record) in enumerate(records.items()):
        bins = {model: columns(of) for model, of in record["calibration"].items()}
        color = colors.get(variant, GREY)
        draw = partial(drawing.draw_reliability, bins=bins, color=color, title=variant)
        alt = f"Reliability diagram of {variant}: accuracy against confidence, with and without "
        alt += "MC Dropout."
        panels.append(Panel(f"reliability_{place}", draw, alt))
    return panels
