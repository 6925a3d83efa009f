"""Figures of one run: its curves, activations, images, classes and, with MC Dropout, uncertainty.

All that is drawn of a run has its variant's colour, as everywhere, and is told apart by its line;
what belongs to no variant is grey or black. Titles say what a figure comes to. Nothing to draw, and
not as many of one thing as of another, is refused with an `InputError`.
"""

import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.base import InputError
from pipeline.comparisons.colors import GREY, VERMILLION
from pipeline.report import drawing
from pipeline.report.drawing import Array, Look
from pipeline.report.first_losses import WIDTH, smoothed
from pipeline.report.thumbnails import picture, taken_for

CLASSES_WITH_TEXT = 20  # More cells than 20 x 20 have no room for numbers.
BARE = {"frame_on": False, "xticks": (), "yticks": ()}
LINE_LENGTH = 26  # characters that fit above an image
CROSS = "\N{MULTIPLICATION X}"  # marks what is wrong
DASHED: Look = {"linestyle": (0, (4, 2)), "lw": 1.2}


def learning_curve(curve: pd.DataFrame, best_epoch: int, title: str, color: str) -> Figure:
    """Loss and accuracy of one run, training and validation, with the best epoch (from 1) marked.

    The curve has a row per epoch: epoch, loss, accuracy, val_loss, val_accuracy, and learning_rate,
    which is drawn too if it varies.
    """
    drawing.require_some("learning curve", curve)
    epoch, look = curve["epoch"], drawing.marker(curve)
    varies = "learning_rate" in curve and curve["learning_rate"].nunique() > 1
    figure = drawing.blank_figure(5.4 if varies else 4.0)
    rows: Any = [["loss", "accuracy"], ["learning_rate", "learning_rate"]][: 1 + varies]
    panels: dict[str, Axes] = figure.subplot_mosaic(rows, height_ratios=[3, 1.3][: 1 + varies])
    for name, unit in (("loss", "Loss (nats per image)"), ("accuracy", "Accuracy (%)")):
        axes, scale = panels[name], 100 if name == "accuracy" else 1
        axes.plot(epoch, scale * curve[name], color=color, label="training", **look | DASHED)
        axes.plot(epoch, scale * curve[f"val_{name}"], color=color, label="validation", **look)
        drawing.style(axes, "Epoch", unit, whole=True)
    if varies:
        panels["learning_rate"].plot(epoch, curve["learning_rate"], color=GREY, **look)
        drawing.style(panels["learning_rate"], "Epoch", "Learning rate", whole=True)
    for axes in panels.values():
        axes.axvline(best_epoch, color=GREY, linestyle=":", label=f"best epoch, {best_epoch}")
    drawing.legend(figure, panels["loss"])
    best = curve.loc[epoch == best_epoch, "val_accuracy"].mean()
    figure.suptitle(f"{title}: validation accuracy {best:.1%} at epoch {best_epoch}", fontsize=12)
    return figure


def first_losses(losses: Array, title: str, color: str) -> Figure:
    """The losses of an epoch's mini-batches, and their moving mean, on a logarithmic axis."""
    drawing.require_some("losses", losses)
    figure = drawing.blank_figure(3.6)
    axes, numbers = figure.subplots(), np.arange(1, len(losses) + 1)
    axes.plot(numbers, losses, color=color, lw=0.7, alpha=0.4, label="mini-batch")
    means, mean = smoothed(losses), f"mean of {WIDTH}"
    axes.plot(means.index, means, color=color, label=mean, **drawing.marker(means))
    axes.set_yscale("log")
    drawing.style(axes, "Mini-batch of the first epoch", "Loss that is minimised", whole=True)
    drawing.legend(figure, axes)
    figure.suptitle(f"{title}: highest {mean} {means.max():.3g}", fontsize=12)
    return figure


# Of the layers, those that have no level to stay at.
LAYER_UNITS = {"rank": "Rank of activations", "gradient_norm": "Gradient norm of the kernel"}


def layer_statistics(
    layers: Mapping[str, Mapping[str, Sequence[float]]], title: str, color: str
) -> Figure:
    """Statistics of the hidden layers by name, of all layers each, at some moments.

    The last moment is drawn solid, those before it dashed.
    """
    drawing.require_some("layer statistics", layers)
    for moment, of in layers.items():
        drawing.require_some(f"layer statistics {moment}", *of.values())
    figure = drawing.blank_figure(7.0)
    colors = dict.fromkeys(layers, color)
    names = ("mean", "standard_deviation", *LAYER_UNITS)
    for level, (name, axes) in enumerate(zip(names, figure.subplots(2, 2).flat, strict=True)):
        lines = {moment: of[name] for moment, of in layers.items()}
        unit = LAYER_UNITS.get(name, "")
        drawing.draw_layers(axes, lines, colors, level=None if unit else level, unit=unit)
        *before, last = axes.get_legend_handles_labels()[0]
        last.set_linestyle("-")
        for line in before:
            line.set(markerfacecolor="none", **DASHED)
        known = np.abs([one for values in lines.values() for one in values if one])
        if unit and len(known) and known.max() > 100 * known.min():
            axes.set_yscale("symlog", linthresh=known.min())  # a gradient may be 0
    moment, of = list(layers.items())[-1]
    found = f"standard deviation {of['standard_deviation'][-1]:.2f} in the last layer {moment}"
    if dead := np.mean(of["dead_units"]):
        figure.axes[names.index("rank")].set_title(
            f"{dead:.1%} of units dead {moment}", fontsize=10
        )
    figure.suptitle(f"{title}; {found}", fontsize=12)
    drawing.legend(figure, figure.axes[0])
    return figure


def sample_images(images: Array, labels: Array, class_names: Sequence[str]) -> Figure:
    """A column for each of the first ten classes, with the first five images of each."""
    drawing.require_some("images", images, labels)
    classes = np.unique(labels)[:10]
    per_class = [np.flatnonzero(labels == label)[:5] for label in classes]
    deepest = max(len(indices) for indices in per_class)
    wide = max(len(classes), 4)  # So that few classes do not make giant images.
    figure = drawing.blank_figure(drawing.WIDTH / wide * deepest + 0.4)
    grid = figure.subplots(deepest, wide, squeeze=False, subplot_kw=BARE)
    for column, label, indices in zip(grid.T, classes, per_class, strict=False):
        column[0].set_title(class_names[label], fontsize=9, parse_math=False)
        for axes, index in zip(column, indices, strict=False):
            _show_image(axes, images[index])
    return figure


def uncertain_images(
    images: Array, labels: Array, probabilities: Array, entropy: Array, class_names: Sequence[str]
) -> Figure:
    """The 12 images whose mean probabilities have the highest entropy (nats), the highest first."""
    drawing.require_some("images", images, labels, probabilities, entropy)
    order = np.argsort(-np.asarray(entropy), kind="stable")[:12]
    rows = -(-len(order) // 4)
    figure = drawing.blank_figure((2.9 if images.ndim == 4 else 2.0) * rows)  # pairs are wide
    grid = figure.subplots(rows, 4, squeeze=False, subplot_kw=BARE)
    for axes, index in zip(grid.flat, order, strict=False):
        _show_image(axes, images[index])
        guess, second = np.argsort(-probabilities[index], kind="stable")[:2]
        true, shares = class_names[labels[index]], probabilities[index]
        text = textwrap.fill(taken_for(true, class_names[guess], shares[guess]), LINE_LENGTH)
        axes.set_title(text, fontsize=9, parse_math=False)
        next_one = textwrap.fill(f"next {class_names[second]} ({shares[second]:.0%})", LINE_LENGTH)
        below = f"{next_one}\nentropy {entropy[index]:.2f} nats"
        axes.set_xlabel(below, fontsize=8, color=GREY, parse_math=False)
    right = np.mean(
        np.argmax(np.asarray(probabilities)[order], axis=1) == np.asarray(labels)[order]
    )
    text = f"The most uncertain test images: {right:.0%} of these {len(order)} are recognised"
    figure.suptitle(text, fontsize=12)
    return figure


def pairs(
    images: Array, titles: Sequence[str], title: str = "", wrong: Collection[int] = ()
) -> Figure:
    """Pairs of images, (n, 2, h, w, c), four in a row, each under what is said of it.

    Those at the places of the `wrong` ones are marked.
    """
    drawing.require_some("pairs", images, titles)
    rows = -(-len(images) // 4)
    figure = drawing.blank_figure(1.6 * rows + 0.4)
    grid = figure.subplots(rows, 4, squeeze=False, subplot_kw=BARE)
    for place, (axes, pair, text) in enumerate(zip(grid.flat, images, titles, strict=False)):
        _show_image(axes, pair)
        if place in wrong:
            text = f"{CROSS} {text}"
            axes.set_frame_on(True)
            axes.spines[:].set(color=VERMILLION, linewidth=3)
        axes.set_title(textwrap.fill(text, LINE_LENGTH), fontsize=9, parse_math=False)
    figure.suptitle(title, fontsize=12)
    return figure


def _show_image(axes: Axes, image: Array) -> None:
    image = picture(image)
    axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)


def confusion_matrix(matrix: Array, class_names: Sequence[str], title: str) -> Figure:
    """Which classes are taken for which: counts, by rows of true and columns of predicted ones."""
    count = len(class_names)
    if matrix.shape != (count, count) or not count:
        expected = f"shape ({count}, {count}) for {count} class names"
        shape, action = f"shape {matrix.shape}", "Count every pair of a true and a predicted class."
        raise InputError("confusion matrix", expected=expected, received=shape, action=action)
    percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure = drawing.blank_figure(7.2)
    axes = figure.subplots()
    image = axes.imshow(percent, cmap="Greys", vmin=0, vmax=max(percent.max(), 1))
    few, look = count <= 12, Look(ha="center", va="center")
    for (row, column), share in np.ndenumerate(percent) if count <= CLASSES_WITH_TEXT else ():
        text = f"{matrix[row, column]}\n{share:.0f}%" if few else f"{share:.0f}"
        color = "white" if share > 0.55 * percent.max() else "black"
        axes.text(column, row, text, fontsize=9 if few else 6, color=color, **look)
    ticks = range(0, count, -(-count // 25))
    names = [class_names[tick] for tick in ticks]
    # A class name may hold dollar signs.
    axes.set_xticks(ticks, names, rotation=45, ha="right", parse_math=False)
    axes.set_yticks(ticks, names, parse_math=False)
    drawing.style(axes, "Predicted class", "True class", grid=False)
    axes.set_title(
        f"{title}{_mostly_confused(percent, class_names)}", fontsize=12, parse_math=False
    )
    figure.colorbar(image, ax=axes, label="Share of the true class (%)", shrink=0.8)
    return figure


def _mostly_confused(percent: Array, class_names: Sequence[str]) -> str:
    """The two classes of which the largest share is taken for the other."""
    mistaken = percent * (1 - np.eye(len(percent)))
    true, guess = (int(one) for one in np.unravel_index(mistaken.argmax(), mistaken.shape))
    if not mistaken.any():
        return ""
    share = mistaken[true, guess]
    return f"\nmost often {class_names[true]} is taken for {class_names[guess]} ({share:.0f}%)"


def class_accuracy(
    accuracies: Array, precisions: Array, class_names: Sequence[str], color: str
) -> Figure:
    """The accuracy and precision (fractions; NaN: not known) of each class, best accuracy first."""
    drawing.require_some("class accuracies", accuracies, precisions, class_names)
    percent = {"accuracy": 100 * np.asarray(accuracies, dtype=float)}
    percent["precision"] = 100 * np.asarray(precisions, dtype=float)
    order = np.argsort(-percent["accuracy"], kind="stable")  # NaNs come last.
    height, size = (0.28, 7) if len(order) > 30 else (0.46, 9)
    figure = drawing.blank_figure(1.3 + height * len(order))
    axes = figure.subplots()
    # White boxes keep the lines of the means from crossing the numbers.
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.3}
    looks: list[tuple[Look, str]] = [({}, "--"), ({"alpha": 0.4}, ":")]
    for (name, values), (look, line), shift in zip(
        percent.items(), looks, (-0.2, 0.2), strict=True
    ):
        shown = values[order]
        look |= {"height": 0.4, "color": color, "label": name}
        bars = axes.barh(np.arange(len(order)) + shift, np.nan_to_num(shown), **look)
        labels = ["" if np.isnan(value) else f"{value:.1f}%" for value in shown]
        axes.bar_label(bars, labels, padding=3, fontsize=size, bbox=box)
        if np.isfinite(shown).any():
            mean = np.nanmean(shown)
            label = f"mean {name}, {mean:.1f}%"
            axes.axvline(mean, color="black", linestyle=line, label=label, lw=1.2)
    known = [place for place in order if np.isfinite(percent["accuracy"][place])]
    if known:
        ends = [f"{class_names[at]} {percent['accuracy'][at]:.1f}%" for at in (known[0], known[-1])]
        figure.suptitle("Best recognised {}, worst {}".format(*ends), fontsize=12, parse_math=False)
    drawing.legend(figure, axes)
    axes.set_yticks(range(len(order)), [class_names[index] for index in order], parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.1, y=0.01)
    axes.set_xlim(left=0)
    drawing.style(axes, "Of its images, recognised; of what is taken for it, right (%)", "")
    axes.tick_params(axis="y", labelsize=size)
    axes.grid(visible=False, axis="y")
    return figure


def accuracy_by_samples(accuracies: Array, deterministic_accuracy: float, color: str) -> Figure:
    """The accuracies (fractions) of the mean of 1, 2, ... samples, beside that without dropout."""
    drawing.require_some("accuracies", accuracies)
    figure = drawing.blank_figure(3.6)
    axes = figure.subplots()
    lines = {"MC Dropout": (accuracies, deterministic_accuracy)}
    drawing.draw_samples(axes, lines, {"MC Dropout": color}, plain="without dropout")
    drawing.legend(figure, axes)
    text = f"MC Dropout: {accuracies[-1]:.2%}, without dropout {deterministic_accuracy:.2%}"
    figure.suptitle(text, fontsize=12)
    return figure


def reliability_diagram(bins: Mapping[str, tuple[Array, Array, Array]], color: str) -> Figure:
    """Accuracy against confidence, a panel per model, with what is in each bin below.

    The calibration error is the mean distance from the diagonal; bins are as in `drawing`.
    """
    drawing.require_some("reliability bins", bins)
    figure = drawing.blank_figure(5.0)
    shared: Look = {"sharex": True, "sharey": "row", "height_ratios": [3, 1]}
    grid = figure.subplots(2, len(bins), squeeze=False, **shared)
    for (above, below), (name, of) in zip(grid.T, bins.items(), strict=True):
        drawing.require_some(f"reliability bins of {name}", *of)
        confidence, accuracy, count = map(np.asarray, of)
        filled = count > 0
        error = 100 * np.nansum(count * np.abs(confidence - accuracy)) / max(count.sum(), 1)
        title = f"{name}: calibration error {error:.1f}%"
        drawing.draw_reliability(above, {name: of}, color, title=title)
        look: Look = {"width": 90 / len(count), "color": color, "alpha": 0.5}
        below.bar(100 * confidence[filled], count[filled], **look)
        drawing.style(below, "Confidence (%)", "Predictions")
    for axes in grid.flat:
        axes.label_outer()
    return figure
