"""How far to trust probabilities: calibration, entropy and what MC Dropout changes; no TensorFlow.

Source: Guo, Pleiss, Sun and Weinberger (2017), "On Calibration of Modern Neural Networks", ICML.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.base import InputError


@dataclass(frozen=True, eq=False)  # Arrays have no single truth value to compare by.
class CalibrationBins:
    """What a reliability diagram shows, one entry per confidence bin.

    Attributes:
        confidence: shape (bins,), mean confidence of the bin's predictions, NaN if it has none.
        accuracy: shape (bins,), the share of them that is correct, NaN if it has none.
        count: shape (bins,), how many predictions fell into the bin.
    """

    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]


class McNemarTest(NamedTuple):
    """How two classifiers differ on the same images.

    Attributes:
        only_a: images that only the first classifier has right.
        only_b: images that only the second classifier has right.
        p_value: two-sided, of a split at least as uneven if both were equally accurate.
    """

    only_a: int
    only_b: int
    p_value: float


def negative_log_likelihood(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> float:
    """Mean of -ln p(true class), in nats per image.

    Args:
        probabilities: shape (n, classes), clipped from below at the smallest normal float32.
        labels: shape (n,), the true classes.

    Raises:
        InputError: the shapes do not belong together, or there is nothing to average.
    """
    _require_labels(probabilities.shape, labels)
    of_true_class = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(of_true_class, np.finfo(np.float32).tiny)).mean())


def calibration_bins(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], bins: int = 15
) -> CalibrationBins:
    """Confidence and accuracy by bins of confidence, the probability of the predicted class.

    Args:
        probabilities: shape (n, classes).
        labels: shape (n,), the true classes.
        bins: how many bins of equal width, bin m being ((m - 1) / bins, m / bins].

    Raises:
        InputError: the shapes do not belong together, or `bins` is below 1.

    Source: Guo et al. (2017), section 2.
    """
    _require_labels(probabilities.shape, labels)
    if bins < 1:
        raise InputError(
            "bins",
            expected="an integer of 1 or more",
            received=repr(bins),
            action="Choose a larger number of bins.",
        )
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    # In the probabilities' precision, else a float32 0.2 lies above the edge of 0.2.
    edges = np.linspace(0, 1, bins + 1)[1:-1].astype(probabilities.dtype)
    bin_of = np.searchsorted(edges, confidence, side="left")
    count = np.bincount(bin_of, minlength=bins)
    divisor = np.where(count > 0, count, np.nan)
    return CalibrationBins(
        confidence=np.bincount(bin_of, weights=confidence, minlength=bins) / divisor,
        accuracy=np.bincount(bin_of, weights=correct, minlength=bins) / divisor,
        count=count,
    )


def expected_calibration_error(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over bins of confidence, 0 to 1.

    Args:
        probabilities: shape (n, classes).
        labels: shape (n,), the true classes.
        bins: how many bins of equal width.

    Raises:
        InputError: the shapes do not belong together, or `bins` is below 1.

    Source: Guo et al. (2017), equation 3.
    """
    found = calibration_bins(probabilities, labels, bins)
    filled = found.count > 0
    gaps = np.abs(found.accuracy - found.confidence)
    return float(np.average(gaps[filled], weights=found.count[filled]))


def predictive_entropy(probabilities: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """How undecided a prediction is, in nats: 0 for certainty, ln(classes) for no idea.

    Args:
        probabilities: shape (n, classes).

    Returns:
        Shape (n,).
    """
    from scipy.special import entr  # SciPy takes a second, which a rerun with nothing to do saves

    return entr(probabilities.astype(np.float64)).sum(axis=-1)


def mutual_information(samples: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """How much of the uncertainty the masks cause (epistemic), in nats, 0 where they agree.

    The entropy of the mean prediction less the mean entropy of the predictions.

    Args:
        samples: shape (samples, n, classes).

    Returns:
        Shape (n,), at least 0.

    Source: Houlsby et al. (2011), "Bayesian Active Learning for Classification and Preference
    Learning", equation 2.
    """
    total = predictive_entropy(samples.mean(axis=0, dtype=np.float64))
    within = np.mean([predictive_entropy(sample) for sample in samples], axis=0)
    return np.maximum(total - within, 0.0)  # Never negative but for rounding.


def accuracy_by_samples(
    samples: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]:
    """Accuracy of the mean of the first s samples, for s = 1 to all of them.

    Args:
        samples: shape (samples, n, classes).
        labels: shape (n,), the true classes.

    Returns:
        Shape (samples,).

    Raises:
        InputError: the shapes do not belong together.
    """
    _require_labels(samples.shape[1:], labels)
    total = np.zeros(samples.shape[1:])
    accuracies = np.empty(len(samples))
    for index, sample in enumerate(samples):
        total += sample
        accuracies[index] = np.mean(total.argmax(axis=1) == labels)
    return accuracies


def mcnemar_exact(
    correct_a: npt.NDArray[np.bool_], correct_b: npt.NDArray[np.bool_]
) -> McNemarTest:
    """Whether two classifiers differ in accuracy on the same images: exact binomial, two-sided.

    Args:
        correct_a: shape (n,), which images the first classifier has right.
        correct_b: shape (n,), the same for the second.

    Returns:
        The counts and a p-value, which is 1 if they never disagree.

    Raises:
        InputError: the shapes differ.

    Source: McNemar (1947), "Note on the sampling error of the difference between correlated
    proportions or percentages", in its exact form.
    """
    from scipy.stats import binomtest

    if correct_a.shape != correct_b.shape:
        raise InputError(
            "correct_b",
            expected=f"shape {correct_a.shape}, as correct_a",
            received=f"shape {correct_b.shape}",
            action="Judge both classifiers on the same images.",
        )
    only_a = int(np.count_nonzero(correct_a & ~correct_b))
    only_b = int(np.count_nonzero(correct_b & ~correct_a))
    if only_a + only_b == 0:
        return McNemarTest(only_a, only_b, 1.0)
    return McNemarTest(only_a, only_b, float(binomtest(only_a, only_a + only_b).pvalue))


def mc_summary(
    samples: npt.NDArray[np.floating],
    deterministic: npt.NDArray[np.floating],
    labels: npt.NDArray[np.integer],
) -> dict[str, float]:
    """MC Dropout next to the same model's ordinary prediction, as metrics.

    Args:
        samples: shape (samples, n, classes), from `uncertainty.mc_probabilities`.
        deterministic: shape (n, classes), from `model.predict`.
        labels: shape (n,), the true classes.

    Returns:
        mc_accuracy, mc_nll and mc_ece of the mean over samples; mc_gain, its accuracy less the
        ordinary one; test_nll and test_ece of the ordinary prediction; mcnemar_p of the pair.

    Raises:
        InputError: the shapes do not belong together.
    """
    _require_labels(samples.shape[1:], labels)
    _require_labels(deterministic.shape, labels)
    mean = samples.mean(axis=0, dtype=np.float64)
    mc_correct = mean.argmax(axis=1) == labels
    correct = deterministic.argmax(axis=1) == labels
    return {
        "mc_accuracy": float(mc_correct.mean()),
        "mc_nll": negative_log_likelihood(mean, labels),
        "mc_ece": expected_calibration_error(mean, labels),
        "mc_gain": float(mc_correct.mean() - correct.mean()),
        "test_nll": negative_log_likelihood(deterministic, labels),
        "test_ece": expected_calibration_error(deterministic, labels),
        "mcnemar_p": mcnemar_exact(mc_correct, correct).p_value,
    }


def _require_labels(shape: tuple[int, ...], labels: npt.NDArray[np.integer]) -> None:
    """Refuse labels that do not number the classes of one prediction per image."""
    count, classes = shape if len(shape) == 2 else (0, 0)
    fits = labels.shape == (count,) and count > 0 and np.issubdtype(labels.dtype, np.integer)
    if not fits or labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            "labels",
            expected=f"integer classes of shape (n,) for probabilities of shape {shape}, n > 0",
            received=f"dtype {labels.dtype} of shape {labels.shape}"
            + (f", from {labels.min()} to {labels.max()}" if labels.size else ""),
            action="Pass one class number per image.",
        )
