"""Figures of one run: its curves, and its activations through the layers."""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.report import drawing
from pipeline.report.drawing import BLUE, GREEN, GREY, VERMILLION, Array


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
    drawing.require_some("learning curve", curve)
    epoch, look = curve["epoch"], drawing.marker(curve)
    varies = "learning_rate" in curve and curve["learning_rate"].nunique() > 1
    figure = drawing.blank_figure(5.4 if varies else 4.0)
    rows: Any = [["loss", "accuracy"], ["learning_rate", "learning_rate"]][: 1 + varies]
    panels: dict[str, Axes] = figure.subplot_mosaic(rows, height_ratios=[3, 1.3][: 1 + varies])
    for name, unit in (("loss", "Loss (nats per image)"), ("accuracy", "Accuracy (%)")):
        axes, scale = panels[name], 100 if name == "accuracy" else 1
        axes.plot(epoch, scale * curve[name], color=BLUE, label="training", **look)
        axes.plot(epoch, scale * curve[f"val_{name}"], color=VERMILLION, label="validation", **look)
        drawing.style(axes, "Epoch", unit, whole=True)
    if varies:
        panels["learning_rate"].plot(epoch, curve["learning_rate"], color=GREEN, **look)
        drawing.style(panels["learning_rate"], "Epoch", "Learning rate", whole=True)
    for axes in panels.values():
        axes.axvline(best_epoch, color=GREY, linestyle=":", label=f"best epoch, {best_epoch}")
    drawing.legend(figure, panels["loss"])
    figure.suptitle(title, fontsize=12)
    return figure


def activation_statistics(statistics: Mapping[str, tuple[Array, Array]], title: str) -> Figure:
    """Mean and standard deviation of the activations through the hidden layers.

    Args:
        statistics: for each moment, such as `at initialisation`, the means and the standard
            deviations of the hidden layers, both of shape (layers,).
        title: what the network is.

    Raises:
        InputError: there are no statistics, or not as many means as standard deviations.
    """
    drawing.require_some("activation statistics", statistics)
    for moment, of in statistics.items():
        drawing.require_some(f"activation statistics {moment}", *of)
    figure = drawing.blank_figure(4.0)
    panels = figure.subplots(1, 2)
    colors = dict(zip(statistics, cycle(drawing.PALETTE), strict=False))
    for level, axes in enumerate(panels):
        lines = {moment: of[level] for moment, of in statistics.items()}
        drawing.draw_layers(axes, lines, colors, level=level)
    figure.suptitle(title, fontsize=12)
    drawing.legend(figure, panels[0])
    return figure
