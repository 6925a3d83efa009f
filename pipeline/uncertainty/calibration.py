"""How far to trust probabilities: calibration, and what MC Dropout changes; without TensorFlow.

Probabilities are of shape (n, classes), samples of them of shape (samples, n, classes), and labels,
the true classes, of shape (n,). All functions raise `InputError` for shapes that do not belong
together and where there are no images.

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

BINS = 15  # of equal width, bin m being ((m - 1) / BINS, m / BINS]; as many as Guo et al.


@dataclass(frozen=True, eq=False)  # Arrays have no single truth value to compare by.
class CalibrationBins:
    """What a reliability diagram shows, arrays of shape (BINS,).

    Attributes:
        confidence: mean confidence of the bin's predictions, NaN if it has none.
        accuracy: the share of them that is correct, NaN if it has none.
        count: how many predictions fell into the bin.
    """

    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]


class McNemarTest(NamedTuple):
    """How two classifiers differ on the same images.

    Attributes:
        only_a: images that only the first classifier has right.
        only_b: images that only the second classifier has right.
        p_value: two-sided, of a split at least as uneven if both were equally accurate; 1 if they
            never disagree.
    """

    only_a: int
    only_b: int
    p_value: float


def negative_log_likelihood(probabilities: Floats, labels: Labels) -> float:
    """Mean of -ln p(true class), in nats per image; p is at least the smallest normal float32."""
    _require_labels(probabilities.shape, labels)
    of_true_class = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.maximum(of_true_class, np.finfo(np.float32).tiny)).mean())


def calibration_bins(probabilities: Floats, labels: Labels) -> CalibrationBins:
    """Confidence and accuracy by bins of confidence, the probability of the predicted class.

    Source: Guo et al. (2017), section 2.
    """
    _require_labels(probabilities.shape, labels)
    confidence = probabilities.max(axis=1).astype(np.float64)
    correct = probabilities.argmax(axis=1) == labels
    # In the probabilities' precision, else a float32 0.2 lies above the edge of 0.2.
    edges = np.linspace(0, 1, BINS + 1)[1:-1].astype(probabilities.dtype)
    bin_of = np.searchsorted(edges, confidence, side="left")
    count = np.bincount(bin_of, minlength=BINS)
    divisor = np.where(count > 0, count, np.nan)
    return CalibrationBins(
        confidence=np.bincount(bin_of, weights=confidence, minlength=BINS) / divisor,
        accuracy=np.bincount(bin_of, weights=correct, minlength=BINS) / divisor,
        count=count,
    )


def expected_calibration_error(probabilities: Floats, labels: Labels) -> float:
    """Mean gap between confidence and accuracy over bins of confidence, 0 to 1.

    Source: Guo et al. (2017), equation 3.
    """
    bins = calibration_bins(probabilities, labels)
    filled = bins.count > 0
    gaps = np.abs(bins.accuracy - bins.confidence)
    return float(np.average(gaps[filled], weights=bins.count[filled]))


def accuracy_by_samples(samples: Floats, labels: Labels) -> npt.NDArray[np.float64]:
    """Accuracy of the mean of the first s samples, for s = 1 to all of them: shape (samples,)."""
    _require_labels(samples.shape[1:], labels)
    totals = accumulate(sample.astype(np.float64) for sample in samples)
    return np.array([np.mean(total.argmax(axis=1) == labels) for total in totals])


def mcnemar_exact(
    correct_a: npt.NDArray[np.bool_], correct_b: npt.NDArray[np.bool_]
) -> McNemarTest:
    """Whether two classifiers differ in accuracy on the same images: exact binomial, two-sided.

    Args:
        correct_a: shape (n,), which images the first classifier has right.
        correct_b: shape (n,), the same for the second.

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
    differ = only_a + only_b
    return McNemarTest(only_a, only_b, float(binomtest(only_a, differ).pvalue) if differ else 1.0)


def mc_summary(samples: Floats, deterministic: Floats, labels: Labels) -> dict[str, float]:
    """MC Dropout next to the same model's ordinary prediction, as metrics.

    Args:
        samples: probabilities, from `sampling.mc_probabilities`.
        deterministic: probabilities, from `model.predict`.
        labels: the true classes.

    Returns:
        mc_accuracy, mc_nll and mc_ece of the mean over samples; mc_gain, its accuracy less the
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
        raise InputError(
            "labels",
            expected=f"integer classes of shape (n,) for probabilities of shape {shape}, n > 0",
            received=f"dtype {labels.dtype} of shape {labels.shape}"
            + (f", from {labels.min()} to {labels.max()}" if labels.size else ""),
            action="Pass one class number per image.",
        )
