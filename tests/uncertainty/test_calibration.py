"""Metrics of probabilities, against other libraries and by hand."""

import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from pipeline.base import InputError
from pipeline.uncertainty.calibration import (
    McNemarTest,
    accuracy_by_samples,
    calibration_bins,
    expected_calibration_error,
    in_half_precision,
    mc_summary,
    mcnemar_exact,
    negative_log_likelihood,
)

# Sure to 0.98, 0.94, 0.7 and 0.55.
FOUR = np.array([[0.98, 0.02], [0.94, 0.06], [0.3, 0.7], [0.55, 0.45]])


@pytest.fixture
def predictions():
    """Random probabilities (50, 4) in float32 and labels."""
    generator = np.random.default_rng(5)
    probabilities = generator.dirichlet(np.ones(4), size=50).astype(np.float32)
    return probabilities, generator.integers(0, 4, 50)


def test_half_precision_keeps_which_class_every_image_is_predicted_to_be():
    generator = np.random.default_rng(5)
    close = generator.normal(0, 1e-4, (10_000, 3))
    probabilities = np.exp(close) / np.exp(close).sum(axis=1, keepdims=True)
    rounded = in_half_precision(probabilities)
    assert rounded.dtype == np.float16
    assert (probabilities.astype(np.float16).argmax(axis=1) != probabilities.argmax(axis=1)).any()
    np.testing.assert_array_equal(rounded.argmax(axis=1), probabilities.argmax(axis=1))
    np.testing.assert_allclose(rounded, probabilities, rtol=2e-3)
    np.testing.assert_array_equal(in_half_precision(np.eye(3)), np.eye(3))


def test_negative_log_likelihood_equals_sklearn(predictions):
    probabilities, labels = predictions
    exact = probabilities / probabilities.sum(axis=1, keepdims=True, dtype=np.float64)
    expected = sklearn.metrics.log_loss(labels, exact, labels=range(4))

    assert negative_log_likelihood(probabilities, labels) == pytest.approx(expected, rel=1e-6)


def test_negative_log_likelihood_of_an_impossible_class_is_finite():
    impossible = negative_log_likelihood(np.array([[1.0, 0.0]], np.float32), np.array([1]))

    assert impossible == pytest.approx(126 * math.log(2))  # The smallest normal float32: 2^-126.


def test_calibration_bins_by_hand():
    bins = calibration_bins(FOUR, np.array([0, 1, 1, 0]))

    filled = [8, 10, 14]  # from 8/15, 10/15 and 14/15
    np.testing.assert_array_equal(np.flatnonzero(bins.count), filled)
    np.testing.assert_array_equal(bins.count[filled], [1, 1, 2])
    np.testing.assert_allclose(bins.confidence[filled], [0.55, 0.7, 0.96])
    np.testing.assert_allclose(bins.accuracy[filled], [1, 1, 0.5])
    assert np.isnan(np.delete([bins.confidence, bins.accuracy], filled, axis=1)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_confidence_on_an_edge_belongs_to_the_bin_below(dtype):
    probabilities = np.array([[0.2] * 5, [0.6, 0.4, 0, 0, 0], [1.0, 0, 0, 0, 0]], dtype)

    bins = calibration_bins(probabilities, np.array([0, 0, 0]))

    # 0.2 is 3/15 and 0.6 is 9/15: the upper edges of the third and the ninth bin.
    np.testing.assert_array_equal(np.flatnonzero(bins.count), [2, 8, 14])


def test_expected_calibration_error_by_hand():
    error = expected_calibration_error(FOUR, np.array([0, 1, 1, 0]))

    # Gaps 0.45 (one image), 0.3 (one) and 0.46 (two).
    assert error == pytest.approx((0.45 + 0.3 + 2 * 0.46) / 4)


def test_expected_calibration_error_equals_a_loop_over_bins(predictions):
    probabilities, labels = predictions
    expected = 0.0
    for index in range(15):
        inside = [
            (row.max(), row.argmax() == label)
            for row, label in zip(probabilities, labels, strict=True)
            if index / 15 < row.max() <= (index + 1) / 15
        ]
        expected += abs(sum(c for c, _ in inside) - sum(r for _, r in inside)) / len(labels)

    assert expected_calibration_error(probabilities, labels) == pytest.approx(expected, rel=1e-5)


def test_perfect_calibration_has_no_error():
    # Confidence 0.75, right in three of four; confidence 0.5, right in one of two.
    probabilities = np.array([[0.75, 0.25]] * 4 + [[0.5, 0.5]] * 2, np.float32)

    assert expected_calibration_error(probabilities, np.array([0, 0, 0, 1, 0, 1])) == 0.0


def test_accuracy_by_samples_equals_the_mean_of_each_prefix():
    generator = np.random.default_rng(2)
    samples = generator.dirichlet(np.ones(3), size=(12, 40)).astype(np.float32)
    labels = generator.integers(0, 3, 40)

    accuracies = accuracy_by_samples(samples, labels)

    assert accuracies.shape == (12,)
    expected = [(samples[:s].mean(axis=0).argmax(axis=1) == labels).mean() for s in range(1, 13)]
    np.testing.assert_allclose(accuracies, expected)


def test_mcnemar_exact_equals_the_binomial_by_hand():
    correct_a = np.array([True] * 8 + [False] * 2 + [True] * 5 + [False] * 3)
    correct_b = np.array([False] * 8 + [True] * 2 + [True] * 5 + [False] * 3)

    test = mcnemar_exact(correct_a, correct_b)

    # Two of ten or fewer, and as many at the other end: 2 * (1 + 10 + 45) / 2^10.
    assert test[:2] == (8, 2)
    assert test.p_value == pytest.approx(112 / 1024)
    assert test.p_value == pytest.approx(2 * scipy.stats.binom.cdf(2, 10, 0.5))
    assert mcnemar_exact(correct_b, correct_a) == McNemarTest(2, 8, test.p_value)


def test_mcnemar_exact_without_disagreement_is_1():
    correct = np.array([True, False, True])

    assert mcnemar_exact(correct, correct) == McNemarTest(0, 0, 1.0)


def test_mcnemar_exact_refuses_different_images():
    with pytest.raises(InputError, match="correct_b"):
        mcnemar_exact(np.array([True, False]), np.array([True]))


def test_mc_summary_by_hand():
    deterministic = np.array([[0.6, 0.4], [0.6, 0.4], [0.4, 0.6]])
    samples = np.array(
        [[[0.9, 0.1], [0.5, 0.5], [0.4, 0.6]], [[0.7, 0.3], [0.3, 0.7], [0.2, 0.8]]], np.float32
    )
    summary = mc_summary(samples, deterministic, np.array([0, 1, 0]))

    # The mean of the samples: (0.8, 0.2), (0.4, 0.6), (0.3, 0.7).
    expected = {
        "mc_accuracy": 2 / 3,
        "mc_nll": -math.log(0.8 * 0.6 * 0.3) / 3,
        "mc_ece": (0.2 + 0.4 + 0.7) / 3,
        "mc_gain": 1 / 3,
        "test_nll": -math.log(0.6 * 0.4 * 0.4) / 3,
        "test_ece": 0.6 - 1 / 3,
        "mcnemar_p": 1.0,  # One image apart.
    }
    assert summary == pytest.approx(expected, rel=1e-6)
    assert all(type(value) is float for value in summary.values())


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros((3, 1), int),
        np.zeros(2, int),
        np.array([0, 1, 2]),
        np.array([0, 1, -1]),
        np.zeros(3, float),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels):
    probabilities = np.full((3, 2), 0.5)
    for metric in (negative_log_likelihood, expected_calibration_error, calibration_bins):
        with pytest.raises(InputError, match="labels"):
            metric(probabilities, labels)
    with pytest.raises(InputError, match="labels"):
        accuracy_by_samples(probabilities[None], labels)
    with pytest.raises(InputError, match="labels"):
        mc_summary(probabilities[None], probabilities, labels)


def test_metrics_do_not_import_tensorflow():
    program = (
        "import sys, numpy as np, pipeline.uncertainty.calibration as c;"
        "c.mc_summary(np.full((2, 3, 4), .25), np.full((3, 4), .25), np.array([0, 1, 2]));"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
