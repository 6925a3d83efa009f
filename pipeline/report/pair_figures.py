"""Figures of two variants side by side: curves, accuracy by class and activations, as panels."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes

from pipeline.answers.evidence import Evidence
from pipeline.answers.pairs import Pair
from pipeline.comparisons.colors import GREY
from pipeline.report import comparison_figures, drawing
from pipeline.report.drawing import Array, Colors, Panel

MOST_CLASSES = 12  # those in which the two differ most
ALL_DRAWN = 6  # variants; of more, only the pairs that are asked about have figures
SIZE = (4.0, 2.8)


def pair_panels(evidence: Evidence, pair: Pair, place: int) -> list[Panel]:
    """What can be drawn of two variants; `place` tells them apart from other pairs."""
    if len(evidence.summary) > ALL_DRAWN and not pair.asked:
        return []
    of_both = evidence.curves[evidence.curves["variant"].isin(pair.names)]
    panels: list[Panel] = []
    if len(of_both):  # what was taken whole, or diverged at once, has none
        panels += comparison_figures.curve_panels(of_both, evidence.colors, "epoch")
    panels += _class_panel(evidence, pair) + _activation_panel(evidence, pair)
    return [
        Panel(f"pair_{place}_{panel.name}", panel.draw, panel.alt, size=SIZE) for panel in panels
    ]


def _class_panel(evidence: Evidence, pair: Pair) -> list[Panel]:
    images = evidence.images
    if images is None or pair.only_right is None:
        return []
    ours, theirs = (100 * images.class_accuracies(name) for name in pair.names)
    apart = ours - theirs
    known = np.flatnonzero(~np.isnan(apart))
    most = known[np.argsort(-np.abs(apart[known]), kind="stable")[:MOST_CLASSES]]
    shown = most[np.argsort(-apart[most], kind="stable")]
    names = [images.class_names[index] for index in shown]
    draw = partial(
        _draw_classes,
        accuracies={name: of[shown] for name, of in zip(pair.names, (ours, theirs), strict=True)},
        names=names,
        colors=evidence.colors,
        title="" if len(shown) == len(known) else f"The {len(shown)} classes that differ most",
    )
    ends = {shown[0], shown[-1]}
    said = ", ".join(
        f"{images.class_names[index]} {ours[index]:.1f}% against {theirs[index]:.1f}%"
        for index in ends
    )
    alt = f"Accuracy by class of {pair.one} against {pair.other}; they differ most in {said}."
    return [Panel("class_accuracy", draw, alt)]


def _draw_classes(
    axes: Axes,
    accuracies: dict[str, Array],
    names: Sequence[str],
    colors: Colors,
    title: str,
) -> None:
    """A row for each class, a dot for each variant, and a line between the two."""
    rows = range(len(names))
    ours, theirs = accuracies.values()
    axes.hlines(rows, ours, theirs, color=GREY, lw=1.2, zorder=1)
    for variant, values in accuracies.items():
        of = drawing.look(variant, colors)
        dots = axes.scatter(values, rows, s=26, color=of["color"], marker=of["marker"], zorder=2)
        drawing.assign(dots, variant, "class")
    axes.set_yticks(rows, names, parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    drawing.style(axes, "Accuracy within the class (%)", "", title=title)


def _activation_panel(evidence: Evidence, pair: Pair) -> list[Panel]:
    """The last moment that both have logged: that after training."""
    of = [evidence.activations.get(name, {}) for name in pair.names]
    shared = [moment for moment in of[0] if moment in of[1]]
    if not shared:
        return []
    at = {name: one[shared[-1]] for name, one in zip(pair.names, of, strict=True)}
    last = "; ".join(
        f"{name} has mean {one['mean'][-1]:.2f} and deviation {one['standard_deviation'][-1]:.2f}"
        for name, one in at.items()
        if one["mean"]
    )
    alt = f"Mean and standard deviation of the activations {shared[-1]} by hidden layer; in the "
    alt += f"last layer {last}."
    draw = partial(
        _draw_activations, at=at, colors=evidence.colors, title=f"Activations {shared[-1]}"
    )
    return [Panel("activations", draw, alt)]


def _draw_activations(axes: Axes, at: dict, colors: Colors, title: str) -> None:
    """A mean in a band of one standard deviation."""
    for level in (-1, 0, 1):
        axes.axhline(level, color=GREY, lw=1, linestyle="--", zorder=0)
    for variant, of in at.items():
        of_variant = drawing.look(variant, colors)
        mean, deviation = np.array(of["mean"]), np.array(of["standard_deviation"])
        layers = np.arange(1, len(mean) + 1)
        band = mean - deviation, mean + deviation
        area = axes.fill_between(layers, *band, color=of_variant["color"], alpha=0.18, lw=0)
        drawing.assign(area, variant, "deviation")
        line = axes.plot(layers, mean, **of_variant | drawing.marker(mean))
        drawing.assign(line, variant, "mean")
    drawing.style(axes, "Hidden layer", "Activation", title=title, whole=True)
