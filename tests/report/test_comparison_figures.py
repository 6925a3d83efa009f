"""The panels of the report: what they draw of several variants, and together as PNG."""

import math

import numpy as np
import pandas as pd
import pytest
from drawn import assert_saves_as_a_png_of_1200_pixels, axes_of, labels_of, make_curve, xs, ys
from matplotlib.axes import Axes
from matplotlib.colors import same_color

from pipeline.base import InputError
from pipeline.report import comparison_figures, drawing
from pipeline.report.drawing import Panel

COLORS = {"elu": "#0072B2", "bn": "#D55E00", "alpha_dropout": "#CC79A7"}


def line_panel(name: str = "line", label: str = "elu") -> Panel:
    def draw(axes: Axes) -> None:
        axes.plot([1, 2], [3, 4], color=COLORS["elu"], label=label)
        drawing.style(axes, "Epoch", "Loss & <more>")

    return Panel(name, draw, alt="A line.")


def record(accuracies: tuple[float, ...] = (0.4, 0.5)) -> dict:
    bins = {"confidence": [None, 0.5, 0.9], "accuracy": [None, 0.4, 0.8], "count": [0, 10, 30]}
    return {
        "deterministic_accuracy": 0.48,
        "accuracy_by_samples": list(accuracies),
        "calibration": {"deterministic": bins, "MC Dropout": bins},
    }


# As PNG


@pytest.mark.parametrize("count", [1, 2, 3])
def test_sheet_of_panels_saves_as_a_png_of_1200_pixels_with_one_legend(count, tmp_path):
    figure = drawing.sheet([line_panel(str(number)) for number in range(count)])
    assert_saves_as_a_png_of_1200_pixels(figure, tmp_path / "sheet.png")
    assert len([axes for axes in figure.axes if axes.lines]) == count
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["elu"]


def test_sheet_without_panels_is_refused():
    with pytest.raises(InputError, match="panels"):
        drawing.sheet([])


# What the panels draw


def test_curve_panels_are_the_loss_and_the_accuracy():
    curves = pd.DataFrame(
        {
            "run_id": "a",
            "variant": "elu",
            "epoch": [1, 2],
            "elapsed_seconds": [2.0, 4.0],
            "val_loss": [2.0, 1.0],
            "val_accuracy": [0.3, 0.4],
        }
    )
    loss, accuracy = comparison_figures.curve_panels(curves, COLORS, "elapsed_seconds")
    assert (xs(axes_of(loss).lines[0]), ys(axes_of(loss).lines[0])) == ([2, 4], [2, 1])
    assert ys(axes_of(accuracy).lines[0]) == [30, 40]
    assert loss.alt == (
        "Lowest validation loss of a run, mean over the seeds, the best first: elu 1.000 after 4 s."
    )
    with pytest.raises(InputError, match="curves"):
        comparison_figures.curve_panels(curves[:0], COLORS, "epoch")


def test_layers_are_numbered_from_one_with_a_line_per_variant_and_the_level_to_stay_at():
    def moments(mean: float) -> dict:
        return {
            when: {"mean": [mean] * 20, "standard_deviation": [1.0] * 20}
            for when in ("at initialisation", "after training")
        }

    activations = {"elu": moments(0.5), "alpha_dropout": moments(0.1)}
    panels = comparison_figures.layer_panels(activations, COLORS)
    axes = [axes_of(panel) for panel in panels]
    assert [one.get_title() for one in axes] == [
        "Mean at initialisation",
        "Standard deviation at initialisation",
        "Mean after training",
        "Standard deviation after training",
    ]
    level, elu, alpha_dropout = axes[0].lines
    assert ys(level) == [0, 0]
    assert ys(axes[1].lines[0]) == [1, 1]
    assert (xs(elu), ys(elu)) == (list(range(1, 21)), [0.5] * 20)
    assert same_color(alpha_dropout.get_color(), COLORS["alpha_dropout"])
    assert elu.get_marker() != alpha_dropout.get_marker()
    assert labels_of(axes[0]) == ("Hidden layer", "Mean activation")
    assert panels[0].alt == (
        "Mean of the activations at initialisation: how far it is from 0 in the hidden layer where "
        "it is farthest, the nearest first: alpha_dropout 0.10, elu 0.50."
    )


def test_activations_far_from_the_level_leave_the_figure_to_those_near_it():
    activations = {
        name: {"at initialisation": {"mean": [0.1, mean], "standard_deviation": [1.0, 1.5]}}
        for name, mean in (("elu", -0.5), ("small_weights", 1e7))
    }
    mean, deviation = map(axes_of, comparison_figures.layer_panels(activations, COLORS))
    low, high = mean.get_ylim()
    assert (low, high) == (pytest.approx(-5), 5)
    assert ys(mean.lines[2]) == [0.1, 1e7]  # in the table it stays
    assert 1.5 < deviation.get_ylim()[1] < 2


def test_activations_that_are_not_finite_are_farthest_from_the_level():
    activations = {
        name: {"after training": {"mean": [0.1, mean], "standard_deviation": [1.0, 1.0]}}
        for name, mean in (("diverged", math.nan), ("elu", -0.5))
    }
    mean, _ = comparison_figures.layer_panels(activations, COLORS)
    assert mean.alt.endswith("the nearest first: elu 0.50, diverged not finite.")


def test_uncertainty_is_accuracy_by_samples_and_a_reliability_diagram_per_variant():
    panels = comparison_figures.uncertainty_panels({"alpha_dropout": record()}, COLORS)
    samples, reliability = (axes_of(panel) for panel in panels)
    assert labels_of(samples) == ("Number of samples averaged", "Test accuracy (%)")
    averaged, without = samples.lines
    assert (xs(averaged), ys(averaged)) == ([1, 2], [40, 50])
    assert ys(without)[0] == pytest.approx(48)
    assert labels_of(reliability) == ("Confidence (%)", "Accuracy (%)")
    diagonal, deterministic, mc_dropout = reliability.lines
    assert xs(diagonal) == ys(diagonal) == [0, 100]
    assert (xs(deterministic), ys(deterministic)) == ([50, 90], [40, 80])  # no empty bin
    assert deterministic.get_linestyle() != mc_dropout.get_linestyle()
    assert same_color(mc_dropout.get_color(), COLORS["alpha_dropout"])
    assert panels[0].alt == (
        "Test accuracy of MC Dropout: alpha_dropout 50.0% with 2 samples, 48.0% without dropout."
    )
    assert panels[1].alt == (
        "How far confidence is from accuracy in alpha_dropout, on average: "
        "10.0 points for deterministic, 10.0 points for MC Dropout."
    )


def test_no_uncertainty_has_no_panel():
    assert comparison_figures.uncertainty_panels({}, COLORS) == []


# Curves and times


def curves_drawn(curves, x="epoch", column="val_loss"):
    panels = comparison_figures.curve_panels(curves, COLORS, x)
    return axes_of(panels[("val_loss", "val_accuracy").index(column)])


def labels_drawn(axes):
    return axes.get_legend_handles_labels()[1]


def test_curves_over_epochs_average_as_far_as_all_seeds_go():
    curves = pd.concat(
        [make_curve(seed=1, epochs=4), make_curve(seed=2, epochs=6, offset=0.2), make_curve("bn")]
    )
    axes = curves_drawn(curves)
    assert labels_of(axes) == ("Epoch", "Validation loss (nats per image)")
    assert labels_drawn(axes) == ["elu", "bn"]
    tail, elu, bn = axes.lines  # the tail is the seed that went on alone
    assert xs(elu) == [1, 2, 3, 4]
    assert ys(elu) == pytest.approx(2.1 / np.arange(1, 5) + 0.1)
    assert (np.isfinite(ys(tail)).sum(), xs(tail)[0], xs(tail)[-1]) == (3, 4, 6)
    assert xs(bn) == [1, 2, 3, 4, 5, 6]
    assert same_color(elu.get_color(), COLORS["elu"])
    assert same_color(bn.get_color(), COLORS["bn"])
    (band,) = axes.collections  # one seed has no band
    edges = np.asarray(band.get_paths()[0].vertices)[:, 1]
    assert (edges.min(), edges.max()) == pytest.approx((2.1 / 4, 2.1 + 0.2))


def test_curves_of_accuracy_are_in_percent():
    axes = curves_drawn(make_curve(), column="val_accuracy")
    assert labels_of(axes) == ("Epoch", "Validation accuracy (%)")
    assert ys(axes.lines[0]) == pytest.approx(45 - 40 / np.arange(1, 7))


def test_curves_over_seconds_average_the_seeds_between_their_epochs():
    slow = make_curve(seed=2, epochs=3, offset=0.2)
    slow["elapsed_seconds"] = [3.0, 6.0, 9.0]
    axes = curves_drawn(pd.concat([make_curve(seed=1, epochs=3), slow]), "elapsed_seconds")
    assert axes.get_xlabel() == "Training time (s)"
    *tails, mean = axes.lines
    assert xs(mean) == [3, 4, 6]  # before 3 s only one seed has finished an epoch
    fast = np.interp([3, 4, 6], [2, 4, 6], 2.1 / np.arange(1, 4))
    slower = np.interp([3, 4, 6], [3, 6, 9], 2.1 / np.arange(1, 4) + 0.2)
    assert ys(mean) == pytest.approx((fast + slower) / 2)
    assert [xs(tail)[-1] for tail in tails] == [9]


def test_curves_of_seeds_that_were_never_trained_at_the_same_time_are_thin_lines():
    late = make_curve(seed=2)
    late["elapsed_seconds"] += 100
    axes = curves_drawn(pd.concat([make_curve(seed=1), late]), "elapsed_seconds")
    first, second, mean = axes.lines
    assert xs(mean) == []
    assert np.isfinite(ys(first)).sum() == np.isfinite(ys(second)).sum() == 6


def test_curves_of_many_seeds_are_thinned_to_a_mean_a_band_and_ten_lines():
    curves = pd.concat([make_curve(seed=seed, epochs=20 + seed) for seed in range(60)])
    for x in ("epoch", "elapsed_seconds"):
        axes = curves_drawn(curves, x)
        assert len(axes.lines) == 11
        assert max(len(xs(line)) for line in axes.lines) <= comparison_figures.MOST_POINTS


def test_a_run_of_one_epoch_is_shown_as_a_dot():
    for x in ("epoch", "elapsed_seconds"):
        (line,) = curves_drawn(make_curve(epochs=1), x).lines
        assert line.get_marker() == "o"
        assert len(xs(line)) == 1


def test_curves_are_not_flattened_by_a_wild_loss():
    curve = make_curve(epochs=100)
    curve.loc[50, "val_loss"] = 1e6
    curve.loc[51, "val_loss"] = float("inf")
    assert curves_drawn(curve).get_ylim()[1] < 10


def test_a_variant_without_a_colour_is_grey():
    (line,) = curves_drawn(make_curve("new")).lines
    assert same_color(line.get_color(), drawing.GREY)


def dash_of(line):
    return line._unscaled_dash_pattern  # which Matplotlib has no public word for


def test_a_variant_has_the_same_colour_dash_and_marker_in_every_figure_and_no_two_alike():
    curves = pd.concat([make_curve("bn"), make_curve("elu")])  # in another order than the colours
    bn, elu = curves_drawn(curves).lines
    lines = {"elu": [0.1] * 3, "bn": [0.2] * 3}
    axes = drawing.blank_figure(3.0).subplots()
    drawing.draw_layers(axes, lines, COLORS, level=0)
    _, elu_layers, bn_layers = axes.lines
    for one, other in ((bn, bn_layers), (elu, elu_layers)):
        assert same_color(one.get_color(), other.get_color())
        assert dash_of(one) == dash_of(other)
    assert dash_of(elu) != dash_of(bn)
    assert (elu_layers.get_marker(), bn_layers.get_marker()) == ("o", "s")
    seven = dict.fromkeys("0123456", "#0072B2")
    looks = [drawing.look(name, seven) for name in seven]
    assert [len({look[of] for look in looks}) for of in ("marker", "linestyle")] == [7, 7]


def test_training_panels_are_of_what_was_logged_of_every_variant():
    curves = pd.concat([make_curve("elu"), make_curve("bn")])
    loss, accuracy = comparison_figures.training_panels(curves, COLORS)
    assert (loss.name, accuracy.name) == ("train_loss_by_epoch", "train_accuracy_by_epoch")
    axes = axes_of(accuracy)
    assert labels_of(axes) == ("Epoch", "Training accuracy (%)")
    assert [line.get_label() for line in axes.lines] == ["elu", "bn"]
    assert accuracy.alt.startswith("Highest training accuracy of a run, mean over the seeds")
    assert labels_of(axes_of(loss)) == ("Epoch", "Training loss (nats per image)")
    old = curves.assign(loss=float("nan")).drop(columns="accuracy")
    assert comparison_figures.training_panels(old, COLORS) == []
