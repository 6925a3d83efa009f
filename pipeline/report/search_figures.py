"""Figures of learning-rate searches, as panels: of one in its run, of several in the report.

Trainings depend on searches and so on this module, which is why it is one of its own.
"""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from pipeline.comparisons.colors import GREY
from pipeline.report import drawing
from pipeline.report.drawing import Array, Colors, Look, Panel


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
        panels.append(Panel(f"search_{place}", draw, alt, size=(4.0, 2.8)))
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
        dots = axes.scatter(rates[chosen], height[chosen], s=36, lw=1.5, label=label, **look)
        drawing.assign(dots, title, label)
    if len(curve):
        line = axes.plot(curve["learning_rate"], curve["val_loss"], color=color, lw=1.0, alpha=0.7)
        drawing.assign(line, title, "curve")
        chosen = curve["learning_rate"][curve["val_loss"].idxmin()]
        axes.axvline(chosen, color=color, linestyle=":", lw=1.3, label="chosen")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:g}"))
    axes.set_ylim(*limits)
    drawing.style(axes, "Learning rate", "Validation loss (nats)", title=title)
