"""What a finished model comes to on the test set, which nothing else reads."""

import math
from itertools import zip_longest

import numpy as np

from pipeline.comparisons import Variant
from pipeline.data.splits import Splits
from pipeline.tracking.runs import StepRun
from pipeline.uncertainty.calibration import negative_log_likelihood

MOST_WRONG, MOST_PAIRS = 8, 12  # pairs that are shown


def log_test(
    run: StepRun, variant: Variant, splits: Splits, probabilities: np.ndarray
) -> dict[str, float]:
    """Log what a model's probabilities on the test images come to; returns the metrics."""
    import tensorflow as tf

    from pipeline.report import run_figures

    labels, names = np.asarray(splits.y_test), splits.class_names
    # scikit-learn's comes to the same, and takes a second to import.
    recognized = probabilities.argmax(axis=1)
    matrix = tf.math.confusion_matrix(labels, recognized, splits.n_classes).numpy()
    accuracy = float(matrix.trace() / matrix.sum())
    accuracies, precisions = class_accuracy(matrix), class_precision(matrix)
    title = f"{variant.name}: test accuracy {accuracy:.1%}"
    run.log_figure(run_figures.confusion_matrix(matrix, names, title), "confusion_matrix.png")
    figure = run_figures.class_accuracy(accuracies, precisions, names, variant.color)
    run.log_figure(figure, "class_accuracy.png")
    for name, values in {"accuracy": accuracies, "precision": precisions}.items():
        known = (None if math.isnan(one) else one for one in values.tolist())  # JSON has no NaN
        run.log_dict(dict(zip(names, known, strict=True)), f"class_{name}.json")
    if splits.pairs:
        _log_pairs(run, splits, probabilities)
    return {
        "test_loss": negative_log_likelihood(probabilities, labels),
        "test_accuracy": accuracy,
        "test_precision": float(np.nanmean(precisions)),
    }


def class_accuracy(matrix: np.ndarray) -> np.ndarray:
    """The share of each class that is recognized, by rows; NaN for a class without images."""
    images = matrix.sum(axis=1)
    return np.where(images > 0, matrix.diagonal() / np.maximum(images, 1), np.nan)


def class_precision(matrix: np.ndarray) -> np.ndarray:
    """Of the images taken for each class, the share that is of it, by columns.

    It is 0 for a class that no image is taken for, and NaN if it has no images either.
    """
    taken = matrix.sum(axis=0)
    precision = matrix.diagonal() / np.maximum(taken, 1)
    return np.where(taken + matrix.sum(axis=1) > 0, precision, np.nan)


def _log_pairs(run: StepRun, splits: Splits, probabilities: np.ndarray) -> None:
    from pipeline.report import run_figures

    labels, guesses = np.asarray(splits.y_test), probabilities.argmax(axis=1)
    shown = shown_pairs(labels, probabilities)
    titles = [f"{splits.class_names[guesses[at]]} {probabilities[at].max():.2f}" for at in shown]
    wrong = np.flatnonzero(guesses[shown] != labels[shown]).tolist()
    images = np.stack([splits.x_test[place] for place in shown])
    title = "Test pairs, all of which are recognised"
    if wrong:
        title = (
            f"Test pairs: the {len(wrong)} most wrong, marked {run_figures.CROSS}, and right ones"
        )
    run.log_figure(run_figures.pairs(images, titles, title, wrong), "pairs.png")


def shown_pairs(labels: np.ndarray, probabilities: np.ndarray) -> list[int]:
    """Places of some pairs: the most wrong, then some that are right, of each class in turn."""
    of_true = probabilities[np.arange(len(labels)), labels]
    wrong = probabilities.argmax(axis=1) != labels
    most_wrong = [place for place in np.argsort(of_true, kind="stable") if wrong[place]]
    right = (np.flatnonzero(~wrong & (labels == one)) for one in np.unique(labels))
    in_turn = [place for places in zip_longest(*right) for place in places if place is not None]
    return [int(place) for place in [*most_wrong[:MOST_WRONG], *in_turn][:MOST_PAIRS]]
