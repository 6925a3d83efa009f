"""The figures of the runs and of their comparison; nothing is drawn on a screen.

Every function returns a `matplotlib.figure.Figure` of its own, made without pyplot and so without
state that threads would share; saved as PNG it is 1200 pixels wide. A variant's colour is the
caller's; the others are of the palette of Okabe and Ito (2008), which the colour-blind can tell
apart.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from pipeline.errors import InputError

BLUE, VERMILLION, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#5F5F5F"
WIDTH, DOTS_PER_INCH = 8.0, 150  # inches; together 1200 pixels
CLASSES_WITH_TEXT = 20  # More cells than 20 x 20 have no room for numbers.

Array = npt.NDArray[Any]


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
    _require_same_length("images", images, labels)
    classes = np.unique(labels)[:columns]
    per_class = [np.flatnonzero(labels == label)[:rows] for label in classes]
    deepest = max(len(indices) for indices in per_class)
    wide = max(len(classes), 4)  # So that few classes do not make giant images.
    figure = _figure(WIDTH / wide * deepest + 0.4)
    grid = figure.subplots(deepest, wide, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for column, (label, indices) in enumerate(zip(classes, per_class, strict=True)):
        grid[0, column].set_title(class_names[label], fontsize=9)
        for row, index in enumerate(indices):
            _show_image(grid[row, column], images[index])
    return figure


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
    _require_some("learning curve", curve)
    varies = "learning_rate" in curve and curve["learning_rate"].nunique() > 1
    figure = _figure(5.4 if varies else 4.0)
    rows = [["loss", "accuracy"], ["learning_rate", "learning_rate"]]
    panels: dict[str, Axes] = figure.subplot_mosaic(
        rows[: 1 + varies],  # type: ignore[arg-type]
        height_ratios=[3, 1.3][: 1 + varies],
    )
    for name, unit in (("loss", "Loss (nats per image)"), ("accuracy", "Accuracy (%)")):
        axes, scale = panels[name], 100 if name == "accuracy" else 1
        for column, label, color in (
            (name, "training", BLUE),
            (f"val_{name}", "validation", VERMILLION),
        ):
            axes.plot(
                curve["epoch"], scale * curve[column], color=color, label=label, **_marker(curve)
            )
        _style(axes, "Epoch", unit)
    if varies:
        panels["learning_rate"].plot(
            curve["epoch"], curve["learning_rate"], color=GREEN, **_marker(curve)
        )
        _style(panels["learning_rate"], "Epoch", "Learning rate")
    for axes in panels.values():
        axes.axvline(best_epoch, color=GREY, linestyle=":", label=f"best epoch, {best_epoch}")
        _whole_numbers(axes)
    _legend(figure, panels["loss"])
    figure.suptitle(title, fontsize=12)
    return figure


def comparison_curves(curves: pd.DataFrame, colors: Mapping[str, str], x: str = "epoch") -> Figure:
    """Validation loss and accuracy of every variant on the same axes.

    Over epochs: the mean over the seeds in a band from the lowest to the highest, as far as all the
    seeds go, and beyond that each seed's own thin line. Over seconds: a thin line per seed.

    Args:
        curves: one row per run and epoch: run_id, variant, epoch, val_loss, val_accuracy and, for
            seconds, elapsed_seconds.
        colors: a colour (hex) for each variant.
        x: `epoch` or `elapsed_seconds`.

    Raises:
        InputError: there are no curves, or `x` is another column.
    """
    _require_some("curves", curves)
    if x not in ("epoch", "elapsed_seconds"):
        raise InputError(
            "x", expected="epoch or elapsed_seconds", received=repr(x), action="Choose one."
        )
    figure = _figure(4.2)
    panels = figure.subplots(1, 2)
    label = "Epoch" if x == "epoch" else "Training time (s)"
    for axes, column, scale, unit in (
        (panels[0], "val_loss", 1, "Validation loss (nats per image)"),
        (panels[1], "val_accuracy", 100, "Validation accuracy (%)"),
    ):
        for variant, group in curves.groupby("variant", sort=False):
            color = colors.get(str(variant), GREY)
            values = group.assign(value=scale * group[column])
            if x == "epoch":
                _draw_mean(axes, values, str(variant), color)
            else:
                _draw_runs(axes, values, str(variant), color)
        _limit_to_bulk(axes, scale * curves[column], top=column == "val_loss")
        _style(axes, label, unit)
        if x == "epoch":
            _whole_numbers(axes)
    _legend(figure, panels[0])
    return figure


def _draw_mean(axes: Axes, group: pd.DataFrame, variant: str, color: str) -> None:
    by_epoch = group.pivot_table(index="epoch", columns="run_id", values="value")
    common = by_epoch.index <= group.groupby("run_id")["epoch"].max().min()
    shared = by_epoch[common]
    if by_epoch.shape[1] > 1:
        axes.fill_between(
            shared.index, shared.min(axis=1), shared.max(axis=1), color=color, alpha=0.18, lw=0
        )
        alone = by_epoch.iloc[max(common.sum() - 1, 0) :]
        for run in alone.columns[alone.notna().sum() > 1]:
            axes.plot(alone.index, alone[run], color=color, lw=0.7, alpha=0.5)
    axes.plot(shared.index, shared.mean(axis=1), color=color, label=variant, **_marker(shared))


def _draw_runs(axes: Axes, group: pd.DataFrame, variant: str, color: str) -> None:
    for place, (_, run) in enumerate(group.sort_values("epoch").groupby("run_id", sort=False)):
        name = variant if place == 0 else None
        axes.plot(
            run["elapsed_seconds"],
            run["value"],
            color=color,
            label=name,
            **_marker(run) | {"lw": 1.1},
        )


def _limit_to_bulk(axes: Axes, values: pd.Series, top: bool) -> None:
    """Keep a few wild values from flattening all the others."""
    finite = values[np.isfinite(values)]
    if finite.empty:
        return
    low, high = finite.quantile([0.0, 0.97]) if top else finite.quantile([0.03, 1.0])
    room = high - low
    if top and finite.max() > high + room:
        axes.set_ylim(low - 0.05 * room, high + 0.2 * room)
    elif not top and finite.min() < low - room:
        axes.set_ylim(low - 0.2 * room, high + 0.05 * room)


def epoch_seconds(curves: pd.DataFrame, colors: Mapping[str, str]) -> Figure:
    """How long the epochs of every variant took: a box, and a dot per epoch.

    Args:
        curves: one row per run and epoch: variant, epoch_seconds.
        colors: a colour (hex) for each variant.

    Raises:
        InputError: there are no curves.
    """
    _require_some("curves", curves)
    groups = {
        str(variant): values.dropna().to_numpy()
        for variant, values in curves.groupby("variant", sort=False)["epoch_seconds"]
    }
    figure = _figure(1.2 + 0.55 * len(groups))
    axes = figure.subplots()
    for place, (variant, seconds) in enumerate(groups.items()):
        color = colors.get(variant, GREY)
        # The golden ratio spreads the dots evenly and always in the same way.
        jitter = ((np.arange(len(seconds)) * 0.618034) % 1 - 0.5) * 0.5
        axes.scatter(seconds, place + jitter, s=9, color=color, alpha=0.45, lw=0)
        axes.boxplot(
            seconds,
            positions=[place],
            orientation="horizontal",
            widths=0.6,
            showfliers=False,
            manage_ticks=False,
            boxprops={"color": color, "lw": 1.4},
            whiskerprops={"color": color},
            capprops={"color": color},
            medianprops={"color": "black", "lw": 1.8},
        )
    usual = max((np.quantile(values, 0.75) for values in groups.values() if values.size), default=1)
    beyond = sum(int((seconds > 1.6 * usual).sum()) for seconds in groups.values())
    # From 0, so that the lengths compare as the times do; a first epoch, which compiles the
    # program, can be many times as long as the others.
    axes.set_xlim(0, 1.6 * usual)
    note = f"; {beyond} longer epochs off the scale" if beyond else ""
    axes.set_yticks(range(len(groups)), list(groups))
    axes.invert_yaxis()
    _style(axes, f"Time per epoch (s), with the median{note}", "")
    return figure


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
    figure = _figure(7.2)
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
    axes.set_xticks(ticks, [class_names[tick] for tick in ticks], rotation=45, ha="right")
    axes.set_yticks(ticks, [class_names[tick] for tick in ticks])
    _style(axes, "Predicted class", "True class", grid=False)
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
    _require_same_length("class accuracies", accuracies, class_names)
    percent = 100 * np.asarray(accuracies, dtype=float)
    order = np.argsort(-percent, kind="stable")  # NaNs come last.
    many = len(order) > 30
    figure = _figure(1.0 + (0.16 if many else 0.32) * len(order))
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
    axes.set_yticks(range(len(order)), [class_names[index] for index in order])
    axes.invert_yaxis()
    axes.margins(x=0.1, y=0.01)
    axes.set_xlim(left=0)
    _style(axes, "Accuracy within the class (%)", "", small=many)
    axes.grid(visible=False, axis="y")
    return figure


def activation_statistics(statistics: Mapping[str, tuple[Array, Array]], title: str) -> Figure:
    """Mean and standard deviation of the activations through the hidden layers.

    A network that self-normalises (Klambauer et al. 2017) stays near the faint lines, a mean of 0
    and a standard deviation of 1.

    Args:
        statistics: for each moment, such as `at initialisation`, the means and the standard
            deviations of the hidden layers, both of shape (layers,).
        title: what the network is.

    Raises:
        InputError: there are no statistics, or not as many means as standard deviations.
    """
    _require_some("activation statistics", statistics)
    figure = _figure(4.0)
    panels = figure.subplots(1, 2)
    palette = (BLUE, VERMILLION, GREEN, GREY)
    markers = "osD^"
    for place, (moment, (means, deviations)) in enumerate(statistics.items()):
        _require_same_length(f"activation statistics {moment}", means, deviations)
        look = {"color": palette[place % 4], "marker": markers[place % 4], "ms": 4, "lw": 1.5}
        layers = np.arange(1, len(means) + 1)
        for axes, values in zip(panels, (means, deviations), strict=True):
            axes.plot(layers, values, label=moment, **look)
    for axes, level, unit in (
        (panels[0], 0, "Mean activation"),
        (panels[1], 1, "Standard deviation of activations"),
    ):
        axes.axhline(level, color=GREY, lw=1, alpha=0.6, zorder=0)
        _whole_numbers(axes)
        _style(axes, "Hidden layer", unit)
    figure.suptitle(title, fontsize=12)
    _legend(figure, panels[0])
    return figure


def accuracy_by_samples(accuracies: Array, deterministic_accuracy: float) -> Figure:
    """The accuracy of MC Dropout by the number of samples that are averaged.

    Args:
        accuracies: fractions, shape (samples,): of the mean of 1, 2, ... samples.
        deterministic_accuracy: without dropout, a fraction.

    Raises:
        InputError: there are no accuracies.
    """
    _require_some("accuracies", accuracies)
    figure = _figure(3.6)
    axes = figure.subplots()
    percent = 100 * np.asarray(accuracies, dtype=float)
    samples = np.arange(1, len(percent) + 1)
    axes.plot(samples, percent, color=BLUE, label="MC Dropout", **_marker(percent))
    axes.axhline(
        100 * deterministic_accuracy, color=VERMILLION, linestyle="--", label="without dropout"
    )
    _whole_numbers(axes)
    _style(axes, "Number of samples averaged", "Accuracy (%)")
    axes.margins(y=0.1)
    _legend(figure, axes)
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
        _require_same_length("images", images, other)
    order = np.argsort(-np.asarray(entropy), kind="stable")[:count]
    rows = -(-len(order) // 4)
    figure = _figure(2.55 * rows)
    grid = figure.subplots(rows, 4, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, index in zip(grid.flat, order, strict=False):
        top = np.argsort(-mean_probabilities[index], kind="stable")[:2]
        guesses = [f"{class_names[k]} {100 * mean_probabilities[index, k]:.0f}%" for k in top]
        _show_image(axes, images[index])
        right = top[0] == labels[index]
        text = f"true: {class_names[labels[index]]}\n{', '.join(guesses)}"
        axes.set_title(text, fontsize=9, color=BLUE if right else VERMILLION)
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
    _require_some("reliability bins", bins)
    figure = _figure(5.0)
    grid = figure.subplots(
        2, len(bins), sharex=True, sharey="row", squeeze=False, height_ratios=[3, 1]
    )
    for (above, below), (name, (confidence, accuracy, count)) in zip(
        grid.T, bins.items(), strict=True
    ):
        for other in (accuracy, count):
            _require_same_length(f"reliability bins of {name}", confidence, other)
        confidence, accuracy, count = map(np.asarray, (confidence, accuracy, count))
        filled = count > 0
        gap = count[filled] * np.abs(confidence - accuracy)[filled]
        error = 100 * gap.sum() / max(count.sum(), 1)
        above.plot([0, 100], [0, 100], color=GREY, lw=1, linestyle="--")
        above.plot(100 * confidence[filled], 100 * accuracy[filled], color=BLUE, marker="o", ms=5)
        above.set_title(f"{name}: calibration error {error:.1f}%", fontsize=11)
        _style(above, "", "Accuracy (%)" if above is grid[0, 0] else "")
        width = 0.9 * 100 / len(count)
        below.bar(100 * confidence[filled], count[filled], width=width, color=BLUE, alpha=0.5)
        below.set_xlim(0, 100)
        _style(below, "Confidence (%)", "Predictions" if below is grid[1, 0] else "")
    return figure


def _figure(height: float) -> Figure:
    layout = ConstrainedLayoutEngine(wspace=0.04, hspace=0.04)
    return Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH, layout=layout, facecolor="white")


def _style(axes: Axes, x: str, y: str, *, grid: bool = True, small: bool = False) -> None:
    axes.set_xlabel(x, fontsize=10)
    axes.set_ylabel(y, fontsize=10)
    axes.tick_params(labelsize=9)
    if small:
        axes.tick_params(axis="y", labelsize=7)
    axes.spines[["top", "right"]].set_visible(not grid)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(color="#E5E5E5", lw=0.7)


def _whole_numbers(axes: Axes) -> None:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    legend = figure.legend(
        handles, labels, loc="outside lower center", ncols=min(len(labels), 5), frameon=False
    )
    for line in legend.get_lines():
        line.set_linewidth(2.5)


def _marker(points: Sequence | pd.DataFrame | Array) -> dict[str, Any]:
    """A line through a single point is invisible."""
    return {"lw": 1.8, "marker": "o" if len(points) < 3 else None, "ms": 4}


def _show_image(axes: Axes, image: Array) -> None:
    axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)


def _require_some(subject: str, values: Any) -> None:
    if not len(values):
        raise InputError(
            subject, expected="at least one", received="none", action="Give some to draw."
        )


def _require_same_length(subject: str, values: Any, others: Any) -> None:
    _require_some(subject, values)
    if len(values) != len(others):
        raise InputError(
            subject,
            expected="arrays of the same length",
            received=f"{len(values)} and {len(others)}",
            action="Give one entry for each.",
        )
