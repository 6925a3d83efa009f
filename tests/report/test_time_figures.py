"""What training takes: the panels of times."""

import numpy as np
import pandas as pd
import pytest
from drawn import axes_of, xs
from matplotlib.colors import same_color

from pipeline.report import time_figures

COLORS = {"elu": "#0072B2", "bn": "#D55E00", "alpha_dropout": "#CC79A7"}


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
