"""How far to trust probabilities: calibration, and what MC Dropout changes; without TensorFlow.

Probabilities are of shape (n, classes), samples of them of shape (samples, n, classes), and labels,
the true classes, of shape (n,). `InputError` refuses shapes that do not belong together.

Source: Guo, Pleiss, Sun and Weinberger (2017), "On Calibration of Modern Neural Networks", ICML.
"""

from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.base import InputError

Floats: TypeAlias = npt.NDArray[np.floating]
Labels: TypeAlias = npt.NDArray[np.integer]
Right: TypeAlias = npt.NDArray[np.bool_]  # of shape (n,), whether a classifier has an image right

BINS = 15  # of equal width, bin m being ((m - 1) / BINS, m / BINS]; as many as Guo et al.


@dataclass(frozen=True, eq=False)  # Arrays have no single truth value to compare by.
class CalibrationBins:
    """What a reliability diagram shows, arrays of shape (BINS,)."""

    confidence: npt.NDArray[np.float64]  # the mean over the bin's predictions, NaN without any
    accuracy: npt.NDArray[np.float64]  # the share of them that is correct, NaN without any
    count: npt.NDArray[np.int64]


class McNemarTest(NamedTuple):
    """How two classifiers differ on the same images."""

    only_a: int  # images that only the first has right
    only_b: int
    p_value: float  # two-sided, of a split at least as uneven if both were equally accurate


def in_half_precision(probabilities: Floats) -> npt.NDArray[np.float16]:
    """Rounded to float16, with every image predicted to be of the class that it was."""
    rounded, predicted = probabilities.astype(np.float16), probabilities.argmax(axis=1)
    level = np.flatnonzero(rounded.argmax(axis=1) != predicted)  # rounding made two the same
    places = level, predicted[level]
    rounded[places] = np.nextafter(rounded[places], np.float16(2))
    return rounded


def negative_log_likelihood(probabilities: Floats, labels: Labels) -> float:
    """Mean of -ln p(true class), in nats per image; p is at least the smallest normal float32."""
    _require_labels(probabilities.shape, labels)
    of_true_class = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(of_true_class, np.finfo(np.float32).tiny)).mean())


def calibration_bins(probabilities: Floats, labels: Labels) -> CalibrationBins:
    """Confidence, the probability of the predicted class, and accuracy (Guo et al., section 2)."""
    _require_labels(probabilities.shape, labels)
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    # In the probabilities' precision, else a float32 0.2 lies above the edge of 0.2.
    edges = np.linspace(0, 1, BINS + 1)[1:-1].astype(probabilities.dtype)
    bin_of = np.searchsorted(edges, confidence, side="left")
    count = np.bincount(bin_of, minlength=BINS)
    divisor = np.where(count > 0, count, np.nan)
    sums = (np.bincount(bin_of, values, minlength=BINS) for values in (confidence, correct))
    mean_confidence, accuracy = (total / divisor for total in sums)
    return CalibrationBins(mean_confidence, accuracy, count)


def expected_calibration_error(probabilities: Floats, labels: Labels) -> float:
    """Mean gap between confidence and accuracy over bins, 0 to 1 (Guo et al., equation 3)."""
    bins = calibration_bins(probabilities, labels)
    filled = bins.count > 0
    gaps = np.abs(bins.accuracy - bins.confidence)[filled]
    return float(np.average(gaps, weights=bins.count[filled]))


def accuracy_by_samples(samples: Floats, labels: Labels) -> npt.NDArray[np.float64]:
    """Accuracy of the mean of the first s samples, for s = 1 to all of them: shape (samples,)."""
    _require_labels(samples.shape[1:], labels)
    totals = accumulate(sample.astype(np.float64) for sample in samples)
    return np.array([np.mean(total.argmax(axis=1) == labels) for total in totals])


def mcnemar_exact(correct_a: Right, correct_b: Right) -> McNemarTest:
    """Whether two classifiers differ in accuracy on the same images, those they have right given.

    Source: McNemar (1947), "Note on the sampling error of the difference between correlated
    proportions or percentages", in its exact form.
    """
    from scipy.stats import binomtest

    if correct_a.shape != correct_b.shape:
        expected, received = f"shape {correct_a.shape}, as correct_a", f"shape {correct_b.shape}"
        action = "Judge both classifiers on the same images."
        raise InputError("correct_b", expected=expected, received=received, action=action)
    only_a, only_b = int((correct_a & ~correct_b).sum()), int((correct_b & ~correct_a).sum())
    differ = only_a + only_b
    return McNemarTest(only_a, only_b, float(binomtest(only_a, differ).pvalue) if differ else 1.0)


def mc_summary(samples: Floats, deterministic: Floats, labels: Labels) -> dict[str, float]:
    """MC Dropout (`mc_probabilities`) next to the same model's ordinary `predict`, as metrics.

    They are mc_accuracy, mc_nll and mc_ece of the mean over samples; mc_gain, its accuracy less the
    ordinary one; test_nll and test_ece of the ordinary prediction; mcnemar_p of the pair.
    """
    mean = samples.mean(axis=0, dtype=np.float64)
    metrics = {}
    for name, probabilities in {"mc": mean, "test": deterministic}.items():
        metrics[f"{name}_nll"] = negative_log_likelihood(probabilities, labels)
        metrics[f"{name}_ece"] = expected_calibration_error(probabilities, labels)
    mc_correct, correct = (found.argmax(axis=1) == labels for found in (mean, deterministic))
    return {
        **metrics,
        "mc_accuracy": float(mc_correct.mean()),
        "mc_gain": float(mc_correct.mean() - correct.mean()),
        "mcnemar_p": mcnemar_exact(mc_correct, correct).p_value,
    }


def _require_labels(shape: tuple[int, ...], labels: Labels) -> None:
    """Refuse labels that do not number the classes of one prediction per image."""
    count, classes = shape if len(shape) == 2 else (0, 0)
    fits = labels.shape == (count,) and count > 0 and np.issubdtype(labels.dtype, np.integer)
    if not fits or labels.min() < 0 or labels.max() >= classes:
        expected = f"integer classes of shape (n,) for probabilities of shape {shape}, n > 0"
        span = f", from {labels.min()} to {labels.max()}" if labels.size else ""
        received = f"dtype {labels.dtype} of shape {labels.shape}{span}"
        action = "Pass one class number per image."
        raise InputError("labels", expected=expected, received=received, action=action)
