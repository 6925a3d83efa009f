"""Numbers as trackers are given them: few digits, and none that counts is lost."""

import math

import numpy as np
import pytest

from pipeline.base.rounding import single_precision, three_digits


def test_what_was_computed_in_single_precision_loses_nothing_and_has_few_digits() -> None:
    computed = np.random.default_rng(0).lognormal(-5, 3, 1000).astype(np.float32)
    told = [single_precision(float(value)) for value in computed]
    assert np.array_equal(np.array(told, np.float32), computed)
    assert all(float(f"{value:.9g}") == value for value in told)
    assert single_precision(0.9100000262460437) == 0.91


@pytest.mark.parametrize("value", [0.5333, -0.001, 508210, 2**24 + 1, 0])
def test_accuracies_and_counts_are_told_as_they_are(value: float) -> None:
    assert single_precision(value) == value
    assert isinstance(single_precision(value), float)


def test_a_loss_that_is_infinite_stays_so() -> None:
    assert single_precision(math.inf) == math.inf


@pytest.mark.parametrize(
    ("rate", "expected"), [(0.00015848931924611134, 0.000158), (1e-5, 1e-5), (0.0998, 0.0998)]
)
def test_a_rate_has_three_digits(rate: float, expected: float) -> None:
    assert three_digits(rate) == expected
