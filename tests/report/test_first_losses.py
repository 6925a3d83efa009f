"""The losses of the first epoch, smoothed."""

import numpy as np
import pytest

from pipeline.report import run_figures
from pipeline.report.first_losses import smoothed


@pytest.mark.parametrize(
    ("losses", "highest"),
    [
        ([1.0] * 30, 1.0),
        ([*[1.0] * 20, 11.0, *[1.0] * 20], 2.0),
        ([3.0, 1.0], 2.0),
        ([*[5.0] * 12, float("nan"), *[100.0] * 12], 5.0),
        ([5.0, float("inf"), 100.0], 5.0),
        ([float("nan")], float("nan")),
    ],
)
def test_the_highest_first_loss_is_of_ten_mini_batches_up_to_one_that_is_not_finite(
    losses: list[float], highest: float
) -> None:
    assert smoothed(np.array(losses)).max() == pytest.approx(highest, nan_ok=True)


def test_means_are_known_by_the_number_of_their_last_mini_batch() -> None:
    means = smoothed(np.arange(1.0, 13.0))
    assert list(means.index) == [10, 11, 12]
    assert list(means) == [5.5, 6.5, 7.5]


def test_the_figure_of_a_run_names_the_highest_that_is_compared() -> None:
    losses = np.array([*[5.0] * 12, float("inf"), *[100.0] * 12])
    figure = run_figures.first_losses(losses, "elu seed 1", "#0072B2")
    assert figure.get_suptitle() == "elu seed 1: highest mean of 10 5"
    np.testing.assert_array_equal(figure.axes[0].lines[1].get_xdata(), [10, 11, 12])
