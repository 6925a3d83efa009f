"""What training takes: the panels of times, and of accuracy against time."""

import numpy as np
import pandas as pd
import pytest
from compared_runs import evidence_of, five_variants, make_run
from drawn import xs, ys
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.text import Text

from pipeline.report import drawing, time_figures
from pipeline.report.drawing import Panel

COLORS = {"elu": "#0072B2", "bn": "#D55E00", "alpha_dropout": "#CC79A7"}


def axes_of(panel: Panel) -> Axes:
    axes = drawing.blank_figure(3.0).subplots()
    panel.draw(axes)
    return axes


def by_time(rows):
    evidence = evidence_of(rows)
    return time_figures.accuracy_by_time_panels(evidence.timed, evidence.summary, COLORS)


def test_accuracy_by_time_is_a_mean_in_its_interval_at_a_mean_in_its_range():
    seconds, accuracies = (10.0, 12.0, 20.0), (0.48, 0.5, 0.52)
    rows = [
        make_run("elu", seed, train_seconds=one, test_accuracy=of)
        for seed, (one, of) in enumerate(zip(seconds, accuracies, strict=True))
    ]
    (panel,) = by_time(rows)
    axes = axes_of(panel)
    interval, spread, mean = axes.lines
    assert xs(interval) == [14, 14]
    assert ys(interval) == pytest.approx([50 - 4.968, 50 + 4.968], abs=0.001)
    assert (xs(spread), ys(spread)) == ([10, 20], [50, 50])
    assert (xs(mean), ys(mean), mean.get_marker()) == ([14], [50], "o")
    assert panel.alt == (
        "Mean test accuracy for the mean training time, the best first: elu 50.0% for 14 s."
    )


def test_accuracy_by_time_of_one_seed_has_no_interval_and_of_no_accuracy_no_panel():
    (panel,) = by_time([make_run("elu", 1)])
    assert len(axes_of(panel).lines) == 2
    assert by_time([make_run("elu", 1, test_accuracy=float("nan"))]) == []


def test_accuracy_by_time_names_every_variant_and_no_name_touches_another():
    alike = {"test_accuracy": 0.5, "train_seconds": 12.0}
    (panel,) = by_time([one | alike for one in five_variants([1, 2, 3])])
    figure = drawing.blank_figure(panel.size[1], panel.size[0])
    axes = figure.subplots()
    panel.draw(axes)
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(name) for name in axes.texts]  # without the line to it
    assert len(boxes) == 5
    assert not [box for box in boxes if box.count_overlaps(boxes) > 1]
    assert all(box.x1 <= axes.bbox.x1 for box in boxes)


def test_epoch_seconds_panel_says_the_medians_in_words():
    curves = pd.DataFrame({"variant": ["elu"] * 3, "epoch_seconds": [1.0, 2.0, 9.0]})
    panel = time_figures.epoch_seconds_panel(curves, COLORS)
    assert "elu 2.00 s" in panel.alt


def test_time_to_target_has_a_dot_per_run_that_reached_it_and_counts_the_others():
    runs = pd.DataFrame(
        {
            "variant": ["elu", "elu", "elu", "alpha_dropout", "alpha_dropout"],
            "seconds_to_target": [10.0, 14.0, np.nan, 20.0, np.nan],
        }
    )
    panel = time_figures.time_to_target_panel(runs, COLORS)
    axes = axes_of(panel)
    assert "elu 1, alpha_dropout 1" in panel.alt
    elu, alpha_dropout = axes.collections
    assert np.asarray(elu.get_offsets())[:, 0].tolist() == [10, 14]
    assert np.asarray(alpha_dropout.get_offsets())[:, 0].tolist() == [20]
    (median,) = axes.lines  # of the other variant it is never
    assert xs(median) == [14, 14]
    assert [text.get_text() for text in axes.texts] == ["never: 1 of 3", "never: 1 of 2"]
    assert axes.get_xlabel() == "Training time (s), with the median"


def test_time_to_target_that_nobody_reached_is_drawn_all_the_same():
    runs = pd.DataFrame({"variant": ["elu"], "seconds_to_target": [np.nan]})
    axes = axes_of(time_figures.time_to_target_panel(runs, COLORS))
    assert [text.get_text() for text in axes.texts] == ["never: 1 of 1"]


def seconds_drawn(groups):
    """The axes of the times per epoch of some variants."""
    frames = [pd.DataFrame({"variant": name, "epoch_seconds": of}) for name, of in groups.items()]
    return axes_of(time_figures.epoch_seconds_panel(pd.concat(frames), COLORS))


def test_epoch_seconds_has_a_row_per_variant_from_zero_and_counts_what_it_leaves_out():
    axes = seconds_drawn({"elu": np.full(6, 2.0), "bn": [30.0, 2.0, 2.0, 2.0, 2.0, 2.0]})
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["elu", "bn"]
    assert axes.get_xlim() == pytest.approx((0, 3.2))
    assert axes.get_xlabel() == (
        "Time per epoch (s), with the median\nlonger epochs off the scale: 1"
    )
    elu, bn = axes.collections
    assert np.shape(elu.get_offsets()) == np.shape(bn.get_offsets()) == (6, 2)
    assert same_color(tuple(np.ravel(bn.get_facecolor())[:3]), COLORS["bn"])


def test_epoch_seconds_of_many_epochs_draws_some_dots_and_the_box_of_all():
    axes = seconds_drawn({"elu": np.linspace(1, 2, 100_000)})
    (dots,) = axes.collections
    assert len(np.asarray(dots.get_offsets())) == time_figures.MOST_DOTS
    (median,) = [line for line in axes.lines if line.get_color() == "black"]
    assert xs(median) == pytest.approx([1.5, 1.5])
