"""What the figures of one run show: axes with units, lines; and that they save as PNG."""

import numpy as np
import pytest
from drawn import assert_saves_as_a_png_of_1200_pixels, labels_of, make_curve, xs, ys

from pipeline.base import InputError
from pipeline.report import run_figures


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


DRAWN = {
    "learning_curve": lambda: run_figures.learning_curve(make_curve(), 3, "elu"),
    "activation_statistics": lambda: run_figures.activation_statistics(
        {"at initialisation": (np.zeros(20), np.ones(20))}, "selu"
    ),
}


@pytest.mark.parametrize("name", DRAWN)
def test_figure_saves_as_a_png_of_1200_pixels(name, tmp_path):
    assert_saves_as_a_png_of_1200_pixels(DRAWN[name](), tmp_path / "figure.png")


def test_learning_curve_has_loss_and_accuracy_and_marks_the_best_epoch():
    figure = run_figures.learning_curve(make_curve(), 4, "elu, seed 1")
    loss, accuracy = figure.axes
    assert labels_of(loss) == ("Epoch", "Loss (nats per image)")
    assert labels_of(accuracy) == ("Epoch", "Accuracy (%)")
    assert legend_of(figure) == ["training", "validation", "best epoch, 4"]
    assert xs(loss.lines[2]) == [4, 4]
    assert ys(accuracy.lines[1])[0] == pytest.approx(5.0)  # percent
    assert figure.get_suptitle() == "elu, seed 1"


def test_learning_curve_draws_the_learning_rate_only_if_it_varies():
    rates = np.linspace(0.001, 0.01, 6)
    figure = run_figures.learning_curve(make_curve(learning_rate=rates), 4, "one_cycle")
    assert len(figure.axes) == 3
    assert labels_of(figure.axes[2]) == ("Epoch", "Learning rate")
    assert ys(figure.axes[2].lines[0]) == rates.tolist()


def test_activation_statistics_number_the_layers_from_one_and_mark_zero_and_one():
    means, deviations = np.linspace(0, 0.1, 20), np.linspace(1, 1.2, 20)
    figure = run_figures.activation_statistics(
        {"at initialisation": (means, deviations), "at the best epoch": (means, deviations)},
        "selu",
    )
    left, right = figure.axes
    assert labels_of(left) == ("Hidden layer", "Mean activation")
    assert labels_of(right) == ("Hidden layer", "Standard deviation of activations")
    assert legend_of(figure) == ["at initialisation", "at the best epoch"]
    assert xs(left.lines[1]) == list(range(1, 21))
    assert ys(right.lines[2]) == deviations.tolist()
    assert [ys(axes.lines[0])[0] for axes in (left, right)] == [0, 1]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: run_figures.learning_curve(make_curve(epochs=0), 1, "elu"),
        lambda: run_figures.activation_statistics({}, "selu"),
        lambda: run_figures.activation_statistics({"now": (np.zeros(2), np.ones(3))}, "selu"),
    ],
)
def test_refused_input(draw):
    with pytest.raises(InputError, match=r"expected .*; received"):
        draw()
