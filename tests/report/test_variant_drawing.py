"""What is drawn of several variants: lines and bands, boxes and dots, their colours and scales."""

import numpy as np
import pandas as pd
import pytest
from drawn import labels_of, make_curve, xs, ys
from matplotlib.colors import same_color

from pipeline.report import drawing, variant_drawing

COLORS = {"elu": "#0072B2", "bn": "#D55E00"}


def curves_drawn(curves, x="epoch", column="val_loss"):
    axes = drawing.blank_figure(4.0).subplots()
    variant_drawing.draw_curves(axes, curves, COLORS, x=x, column=column)
    return axes


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
        assert max(len(xs(line)) for line in axes.lines) <= variant_drawing.MOST_POINTS


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


def test_epoch_seconds_has_a_row_per_variant_from_zero_and_counts_what_it_leaves_out():
    axes = drawing.blank_figure(4.0).subplots()
    groups = {"elu": np.full(6, 2.0), "bn": np.array([30.0, 2.0, 2.0, 2.0, 2.0, 2.0])}
    variant_drawing.draw_epoch_seconds(axes, groups, COLORS)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["elu", "bn"]
    assert axes.get_xlim() == pytest.approx((0, 3.2))
    assert axes.get_xlabel() == (
        "Time per epoch (s), with the median\nlonger epochs off the scale: 1"
    )
    elu, bn = axes.collections
    assert np.shape(elu.get_offsets()) == np.shape(bn.get_offsets()) == (6, 2)
    assert same_color(tuple(np.ravel(bn.get_facecolor())[:3]), COLORS["bn"])


def test_epoch_seconds_of_many_epochs_draws_some_dots_and_the_box_of_all():
    axes = drawing.blank_figure(4.0).subplots()
    seconds = np.linspace(1, 2, 100_000)
    variant_drawing.draw_epoch_seconds(axes, {"elu": seconds}, COLORS)
    (dots,) = axes.collections
    assert len(np.asarray(dots.get_offsets())) == variant_drawing.MOST_DOTS
    (median,) = [line for line in axes.lines if line.get_color() == "black"]
    assert xs(median) == pytest.approx([1.5, 1.5])
