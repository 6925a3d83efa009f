"""Figures of the images and of how well they are classified; drawn as those of `figures`."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.base import InputError
from pipeline.report.run_figures import (
    BLUE,
    GREY,
    VERMILLION,
    WIDTH,
    Array,
    blank_figure,
    legend,
    marker,
    require_same_length,
    require_some,
    style,
    whole_numbers,
)

CLASSES_WITH_TEXT = 20  # More cells than 20 x 20 have no room for numbers.


def sample_images(
    images: Array, labels: Array, class_names: Sequence[str], columns: int = 10, rows: int = 5
) -> Figure:
    """A column of images for each of the first classes.

    Args:
        images: uint8, shape (n, height, width, channels); the first of each class are shown.
        labels: integers, shape (n,).
        class_names: the name of each label.
        columns: at most this many classes.
        rows: at most this many images of each.

    Raises:
        InputError: there are no images, or not as many labels.
    """
    require_same_length("images", images, labels)
    classes = np.unique(labels)[:columns]
    per_class = [np.flatnonzero(labels == label)[:rows] for label in classes]
    deepest = max(len(indices) for indices in per_class)
    wide = max(len(classes), 4)  # So that few classes do not make giant images.
    figure = blank_figure(WIDTH / wide * deepest + 0.4)
    grid = figure.subplots(deepest, wide, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for column, (label, indices) in enumerate(zip(classes, per_class, strict=True)):
        grid[0, column].set_title(class_names[label], fontsize=9, parse_math=False)
        for row, index in enumerate(indices):
            _show_image(grid[row, column], images[index])
    return figure


def uncertain_images(
    images: Array,
    labels: Array,
    mean_probabilities: Array,
    entropy: Array,
    class_names: Sequence[str],
    count: int = 12,
) -> Figure:
    """The images that the network is least certain of, the most uncertain first.

    Args:
        images: uint8, shape (n, height, width, channels).
        labels: the true classes, integers of shape (n,).
        mean_probabilities: shape (n, classes), the mean over the samples.
        entropy: of the mean probabilities, in nats, shape (n,).
        class_names: the name of each label.
        count: at most this many images.

    Raises:
        InputError: there are no images, or the lengths differ.
    """
    for other in (labels, mean_probabilities, entropy):
        require_same_length("images", images, other)
    order = np.argsort(-np.asarray(entropy), kind="stable")[:count]
    rows = -(-len(order) // 4)
    figure = blank_figure(2.55 * rows)
    grid = figure.subplots(rows, 4, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, index in zip(grid.flat, order, strict=False):
        top = np.argsort(-mean_probabilities[index], kind="stable")[:2]
        guesses = [f"{class_names[k]} {100 * mean_probabilities[index, k]:.0f}%" for k in top]
        _show_image(axes, images[index])
        right = top[0] == labels[index]
        text = f"true: {class_names[labels[index]]}\n{', '.join(guesses)}"
        axes.set_title(text, fontsize=9, color=BLUE if right else VERMILLION, parse_math=False)
        axes.text(
            0.5,
            -0.03,
            f"entropy {entropy[index]:.2f} nats",
            transform=axes.transAxes,
            ha="center",
            va="top",
            fontsize=8,
            color=GREY,
        )
    figure.suptitle("Blue: the first guess is right; orange: it is wrong", fontsize=10, color=GREY)
    return figure


def _show_image(axes: Axes, image: Array) -> None:
    axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)


def confusion_matrix(matrix: Array, class_names: Sequence[str], title: str) -> Figure:
    """Which classes are taken for which; colours are shares of the true class.

    Args:
        matrix: counts, shape (k, k), a row per true class and a column per predicted class.
        class_names: k names. Beyond 20 classes the cells have no numbers.
        title: what was classified by what.

    Raises:
        InputError: the matrix is not square, or there are not k names.
    """
    matrix = np.asarray(matrix)
    count = len(class_names)
    if matrix.shape != (count, count) or not count:
        raise InputError(
            "confusion matrix",
            expected=f"shape ({count}, {count}) for {count} class names",
            received=f"shape {matrix.shape}",
            action="Count every pair of a true and a predicted class.",
        )
    percent = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure = blank_figure(7.2)
    axes = figure.subplots()
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=max(percent.max(), 1))
    if count <= CLASSES_WITH_TEXT:
        size = 9 if count <= 12 else 6
        for (row, column), share in np.ndenumerate(percent):
            text = f"{matrix[row, column]}\n{share:.0f}%" if count <= 12 else f"{share:.0f}"
            color = "white" if share > 0.55 * percent.max() else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color)
    step = -(-count // 25)
    ticks = range(0, count, step)
    plain = {"parse_math": False}  # a class name may hold dollar signs
    axes.set_xticks(ticks, [class_names[tick] for tick in ticks], rotation=45, ha="right", **plain)
    axes.set_yticks(ticks, [class_names[tick] for tick in ticks], **plain)
    style(axes, "Predicted class", "True class", grid=False)
    axes.set_title(title, fontsize=12)
    figure.colorbar(image, ax=axes, label="Share of the true class (%)", shrink=0.8)
    return figure


def class_accuracy(accuracies: Array, class_names: Sequence[str]) -> Figure:
    """The accuracy within each class, the highest first, and their mean.

    Args:
        accuracies: fractions, shape (k,); NaN for a class without images.
        class_names: k names.

    Raises:
        InputError: there are no classes, or not as many names.
    """
    require_same_length("class accuracies", accuracies, class_names)
    percent = 100 * np.asarray(accuracies, dtype=float)
    order = np.argsort(-percent, kind="stable")  # NaNs come last.
    many = len(order) > 30
    figure = blank_figure(1.0 + (0.16 if many else 0.32) * len(order))
    axes = figure.subplots()
    bars = axes.barh(range(len(order)), np.nan_to_num(percent[order]), color=BLUE, height=0.75)
    labels = ["" if np.isnan(value) else f"{value:.1f}%" for value in percent[order]]
    # The white boxes keep the line of the mean from crossing the numbers.
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    axes.bar_label(bars, labels, padding=3, fontsize=7 if many else 9, bbox=box)
    if np.isfinite(percent).any():
        mean = np.nanmean(percent)
        axes.axvline(mean, color=VERMILLION, linestyle="--", label=f"mean, {mean:.1f}%", lw=1.2)
        figure.legend(loc="outside upper right", frameon=False, fontsize=9)
    axes.set_yticks(range(len(order)), [class_names[index] for index in order], parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.1, y=0.01)
    axes.set_xlim(left=0)
    style(axes, "Accuracy within the class (%)", "", small=many)
    axes.grid(visible=False, axis="y")
    return figure


def accuracy_by_samples(accuracies: Array, deterministic_accuracy: float) -> Figure:
    """The accuracy of MC Dropout by the number of samples that are averaged.

    Args:
        accuracies: fractions, shape (samples,): of the mean of 1, 2, ... samples.
        deterministic_accuracy: without dropout, a fraction.

    Raises:
        InputError: there are no accuracies.
    """
    require_some("accuracies", accuracies)
    figure = blank_figure(3.6)
    axes = figure.subplots()
    percent = 100 * np.asarray(accuracies, dtype=float)
    samples = np.arange(1, len(percent) + 1)
    axes.plot(samples, percent, color=BLUE, label="MC Dropout", **marker(percent))
    axes.axhline(
        100 * deterministic_accuracy, color=VERMILLION, linestyle="--", label="without dropout"
    )
    whole_numbers(axes)
    style(axes, "Number of samples averaged", "Accuracy (%)")
    axes.margins(y=0.1)
    legend(figure, axes)
    return figure


def reliability_diagram(bins: Mapping[str, tuple[Array, Array, Array]]) -> Figure:
    """Accuracy against confidence, a panel per model, with what is in each bin below.

    On the diagonal, confidence is as high as accuracy (Guo et al. 2017); the expected calibration
    error in the title is the mean distance from it.

    Args:
        bins: for each model, arrays of shape (bins,): mean confidence and accuracy (fractions, NaN
            in an empty bin) and the number of predictions.

    Raises:
        InputError: there are no models, or a model's arrays differ in length.
    """
    require_some("reliability bins", bins)
    figure = blank_figure(5.0)
    grid = figure.subplots(
        2, len(bins), sharex=True, sharey="row", squeeze=False, height_ratios=[3, 1]
    )
    for (above, below), (name, (confidence, accuracy, count)) in zip(
        grid.T, bins.items(), strict=True
    ):
        for other in (accuracy, count):
            require_same_length(f"reliability bins of {name}", confidence, other)
        confidence, accuracy, count = map(np.asarray, (confidence, accuracy, count))
        filled = count > 0
        gap = count[filled] * np.abs(confidence - accuracy)[filled]
        error = 100 * gap.sum() / max(count.sum(), 1)
        above.plot([0, 100], [0, 100], color=GREY, lw=1, linestyle="--")
        above.plot(100 * confidence[filled], 100 * accuracy[filled], color=BLUE, marker="o", ms=5)
        above.set_title(f"{name}: calibration error {error:.1f}%", fontsize=11)
        style(above, "", "Accuracy (%)" if above is grid[0, 0] else "")
        width = 0.9 * 100 / len(count)
        below.bar(100 * confidence[filled], count[filled], width=width, color=BLUE, alpha=0.5)
        below.set_xlim(0, 100)
        style(below, "Confidence (%)", "Predictions" if below is grid[1, 0] else "")
    return figure
