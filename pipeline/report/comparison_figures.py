"""Figures of a comparison: what the report shows of several variants side by side, as panels.

Of nothing there are no panels; no curves and no runs are refused with an `InputError`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from pipeline.comparisons.colors import GREY
from pipeline.report import drawing
from pipeline.report.drawing import Colors, Look, Panel

MOST_LINES, MOST_POINTS = 10, 100  # Drawing more would fill a band, not tell more.
FARTHEST = 5.0  # activations from what self-normalises, so that those near it can be told apart


def curve_panels(curves: pd.DataFrame, colors: Colors, x: str) -> list[Panel]:
    """Validation loss and accuracy of every variant, by `epoch` or `elapsed_seconds`.

    Curves have a row per run and epoch: run_id, variant, val_loss, val_accuracy and `x`.
    """
    drawing.require_some("curves", curves)
    return [_curve_panel(curves, colors, x, column) for column in ("val_loss", "val_accuracy")]


def training_panels(curves: pd.DataFrame, colors: Colors) -> list[Panel]:
    """The same on the training images, `loss` and `accuracy`, by epoch; those that were logged."""
    columns = [one for one in ("loss", "accuracy") if one in curves and curves[one].notna().any()]
    return [_curve_panel(curves, colors, "epoch", column) for column in columns]


def _curve_panel(curves: pd.DataFrame, colors: Colors, x: str, column: str) -> Panel:
    draw = partial(_draw_curves, curves=curves, colors=colors, x=x, column=column)
    name = column if column.startswith("val_") else f"train_{column}"
    return Panel(f"{name}_by_{x}", draw, _best(curves, x, column))


def _what(column: str) -> str:
    split, _, name = column.rpartition("_")
    return f"{'validation' if split else 'training'} {name}"


def _best(curves: pd.DataFrame, x: str, column: str) -> str:
    """What every variant comes to in its best epoch, in words, the best first."""
    is_loss, by_epoch = column.endswith("loss"), x == "epoch"
    known = curves[np.isfinite(curves[column])]
    places = known.groupby("run_id")[column].agg("idxmin" if is_loss else "idxmax")
    best = known.loc[places].groupby("variant", sort=False)[[column, x]].mean()
    said = [
        f"{variant} {value:.3f}" if is_loss else f"{variant} {value:.1%}"
        for variant, value in best[column].items()
    ]
    at = [f" at epoch {of:.0f}" if by_epoch else f" after {of:.3g} s" for of in best[x]]
    order = np.argsort(best[column] if is_loss else -best[column], kind="stable")
    what = f"{'Lowest' if is_loss else 'Highest'} {_what(column)}"
    listed = ", ".join(said[place] + at[place] for place in order) or "not known"
    return f"{what} of a run, mean over the seeds, the best first: {listed}."


def _draw_curves(axes: Axes, curves: pd.DataFrame, colors: Colors, *, x: str, column: str) -> None:
    """The mean of the seeds in a band from lowest to highest, as far as all go; then thin lines."""
    is_loss, by_epoch = column.endswith("loss"), x == "epoch"
    scale = 1 if is_loss else 100
    crowded = curves["variant"].nunique() > drawing.CROWD
    for variant, group in curves.groupby("variant", sort=False):
        of_variant = drawing.look(str(variant), colors)
        color = of_variant["color"]
        # A column per run; a row per epoch, or per moment at which a run has finished one.
        wide = scale * group.pivot_table(index=x, columns="run_id", values=column)
        if not by_epoch:
            wide = wide.interpolate("index", limit_area="inside")
            wide = wide.iloc[drawing.evenly(len(wide), MOST_POINTS)]
        shared = wide[wide.notna().all(axis=1)]
        if wide.shape[1] > 1 and not crowded:
            low, high = shared.min(axis=1), shared.max(axis=1)
            band = axes.fill_between(shared.index, low, high, color=color, alpha=0.18, lw=0)
            drawing.assign(band, str(variant), "seeds")
            alone = wide.loc[shared.index[-1] :] if len(shared) else wide
            for run in alone.columns[alone.notna().sum() > 1][:MOST_LINES]:
                drawn = axes.plot(alone.index, alone[run], color=color, lw=0.7, alpha=0.5)
                drawing.assign(drawn, str(variant), "one seed")
        look = of_variant | {"label": str(variant), **drawing.marker(shared)}
        look |= {"lw": 1.3} if crowded else {}
        mean = axes.plot(shared.index, shared.mean(axis=1), **look)
        drawing.assign(mean, str(variant), "mean")
    finite = scale * curves[column][np.isfinite(curves[column])]
    if len(finite):  # A few wild values must not flatten all the others.
        low, high = finite.quantile([0.0, 0.97] if is_loss else [0.03, 1.0])
        room = high - low
        if finite.max() > high + room or finite.min() < low - room:
            axes.set_ylim(low - 0.1 * room, high + 0.1 * room)
    unit = f"{_what(column).capitalize()} ({'nats per image' if is_loss else '%'})"
    drawing.style(axes, "Epoch" if by_epoch else "Training time (s)", unit, whole=by_epoch)


def layer_panels(activations: Mapping[str, Any], colors: Colors) -> list[Panel]:
    """From each variant's `activations.json`: their mean and standard deviation by hidden layer."""
    moments = dict.fromkeys(moment for of in activations.values() for moment in of)
    panels = []
    for (place, moment), level in product(enumerate(moments), (0, 1)):
        statistic = ("mean", "standard_deviation")[level]
        words = statistic.replace("_", " ").capitalize()
        of = {name: at[moment][statistic] for name, at in activations.items() if moment in at}
        look: Look = {"colors": colors, "title": f"{words} {moment}"}
        away = {name: np.abs(np.array(values) - level) for name, values in of.items()}
        farthest = {name: np.nan_to_num(values, nan=np.inf).max() for name, values in away.items()}
        nearest = sorted(farthest, key=farthest.__getitem__)
        said = ", ".join(
            f"{name} {farthest[name]:.2f}" if np.isfinite(farthest[name]) else f"{name} not finite"
            for name in nearest
        )
        alt = f"{words} of the activations {moment}: how far it is from {level} in the hidden "
        alt += f"layer where it is farthest, the nearest first: {said}."
        draw = partial(_draw_near_level, level=level, lines=of, **look)
        panels.append(Panel(f"{statistic}_{place}", draw, alt))
    return panels


def _draw_near_level(axes: Axes, *, level: int, **drawn: Any) -> None:
    """Lines by hidden layer; those that go far from the level leave the figure to the others."""
    drawing.draw_layers(axes, level=level, **drawn)
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, level - FARTHEST), min(high, level + FARTHEST))


def uncertainty_panels(records: Mapping[str, Mapping[str, Any]], colors: Colors) -> list[Panel]:
    """From each variant's `record.json`: accuracy against samples, and reliability diagrams."""
    if not records:
        return []
    of_record = itemgetter("accuracy_by_samples", "deterministic_accuracy")
    lines = {variant: of_record(record) for variant, record in records.items()}
    draw: Callable[[Axes], None] = partial(drawing.draw_samples, lines=lines, colors=colors)
    said = [
        f"{variant} {fractions[-1]:.1%} with {len(fractions)} samples, {plain:.1%} without dropout"
        for variant, (fractions, plain) in lines.items()
    ]
    alt = f"Test accuracy of MC Dropout: {'; '.join(said)}."
    panels = [Panel("mc_samples", draw, alt)]
    columns = itemgetter("confidence", "accuracy", "count")
    for place, (variant, record) in enumerate(records.items()):
        bins = {model: columns(of) for model, of in record["calibration"].items()}
        color = colors.get(variant, GREY)
        draw = partial(drawing.draw_reliability, bins=bins, color=color, title=variant)
        gaps = [f"{_gap(of):.1f} points for {model}" for model, of in bins.items()]
        alt = f"How far confidence is from accuracy in {variant}, on average: {', '.join(gaps)}."
        panels.append(Panel(f"reliability_{place}", draw, alt))
    return panels


def _gap(bins: tuple[Any, Any, Any]) -> float:
    """The expected calibration error by bins of confidence, accuracy and count, in points."""
    confidence, accuracy, count = (np.asarray(one, dtype=float) for one in bins)
    return float(100 * np.nansum(np.abs(confidence - accuracy) * count) / count.sum())
