"""Figures of searches: what they draw of trials, and the rate that was chosen."""

import numpy as np
import pandas as pd
from drawn import axes_of, labels_of, xs, ys

from pipeline.report import search_figures

COLORS = {"elu": "#0072B2", "alpha_dropout": "#CC79A7"}


def trials(**columns: list) -> pd.DataFrame:
    usual = {
        "number": [0, 1, 2, 3],
        "learning_rate": [1e-4, 1e-3, 1e-2, 1e-1],
        "value": [0.6, 0.5, 0.9, np.nan],
        "state": ["COMPLETE", "COMPLETE", "PRUNED", "DIVERGED"],
    }
    return pd.DataFrame(usual | columns)


def test_search_shows_completed_pruned_and_diverged_trials_apart_on_a_log_axis():
    (panel,) = search_figures.search_panels({"elu": trials()}, COLORS)
    axes = axes_of(panel)
    assert axes.get_xscale() == "log"
    assert labels_of(axes) == ("Learning rate", "Validation loss (nats)")
    completed, pruned, diverged = axes.collections
    assert np.asarray(completed.get_offsets()).tolist() == [[1e-4, 0.6], [1e-3, 0.5]]
    assert np.asarray(pruned.get_offsets()).tolist() == [[1e-2, 0.9]]
    assert len(pruned.get_facecolor()) == 0  # a hollow dot
    ((rate, height),) = np.asarray(diverged.get_offsets())
    assert rate == 1e-1
    assert 0.9 < height < axes.get_ylim()[1]  # at the upper edge, as it has no value
    assert xs(axes.lines[-1]) == [1e-3, 1e-3]  # the best
    assert panel.alt == (
        "Search of elu: 4 trials (2 complete, 1 pruned, 1 diverged); the chosen learning rate is "
        "0.001 with validation loss 0.500."
    )


def test_the_chosen_rate_is_where_the_curve_through_the_trials_is_lowest():
    curve = pd.DataFrame({"learning_rate": [1e-4, 5e-4, 1e-3], "val_loss": [0.6, 0.52, 0.55]})
    (panel,) = search_figures.search_panels({"elu": trials()}, COLORS, {"elu": curve})
    line, chosen = axes_of(panel).lines
    assert (xs(line), ys(line)) == ([1e-4, 5e-4, 1e-3], [0.6, 0.52, 0.55])
    assert xs(chosen) == [5e-4, 5e-4]
    assert "the chosen learning rate is 0.0005 with validation loss 0.520" in panel.alt


def test_searches_share_their_scale_and_a_wild_value_does_not_stretch_it():
    wild = trials(value=[0.6, 0.5, 1e9, 0.7], state=["COMPLETE"] * 4)
    panels = search_figures.search_panels({"elu": trials(), "alpha_dropout": wild}, COLORS)
    first, second = (axes_of(panel) for panel in panels)
    assert first.get_ylim() == second.get_ylim()
    assert second.get_ylim()[1] < 3
    heights = np.asarray(second.collections[0].get_offsets())[:, 1]
    assert heights.max() < second.get_ylim()[1]


def test_a_search_without_a_completed_trial_has_no_best_rate():
    hopeless = trials(state=["PRUNED", "PRUNED", "PRUNED", "DIVERGED"])
    (panel,) = search_figures.search_panels({"elu": hopeless}, COLORS)
    assert not axes_of(panel).lines
    assert panel.alt == "Search of elu: 4 trials (3 pruned, 1 diverged); none was completed."


def test_no_search_has_no_panel():
    assert search_figures.search_panels({}, COLORS) == []
    assert search_figures.search_panels({"elu": trials(value=[np.nan] * 4)}, COLORS) == []
