"""Figures that only some questions need: what they draw, and that they do without what is not."""

import numpy as np
import pandas as pd
import pytest
from compared_runs import evidence_of, make_curves, make_run
from drawn import axes_of, xs, ys

from pipeline.answers.summary import BLOWN_UP
from pipeline.comparisons.colors import in_order
from pipeline.report import drawing, page, question_figures
from pipeline.report.embedding import embedded

COLORS = {f"v{place}": f"#0000{place:02d}" for place in range(20)}
WHOLE = {
    "mean": [0.0, 0.1],
    "standard_deviation": [1.0, 0.9],
    "dead_units": [0.0, 0.25],
    "distinct_units": [100.0, 1.0],
    "rank": [90.0, 1.0],
    "gradient_norm": [0.1, 1e-9],
}
OF_BEFORE = {name: WHOLE[name] for name in ("mean", "standard_deviation")}
GRADIENTS = {"gradient_norm": [0.1, 0.2]}
BY_NUMBER = [
    {"samples": n, "microseconds": 20.0 * n, "accuracy": 0.5, "ece": 0.04} for n in (1.0, 10.0)
]


def test_layers_are_drawn_before_and_after_training_by_what_each_run_logged() -> None:
    moments = ("at initialisation", "after training")
    layers = {"v0": dict.fromkeys(moments, WHOLE), "v1": {"after training": OF_BEFORE}}
    panels = {one.name: one for one in question_figures.layers_panels(layers, COLORS)}
    assert len(panels) == 10
    dead = axes_of(panels["layers_dead_units_1"])
    assert [(line.get_label(), ys(line)) for line in dead.lines] == [("v0", [0.0, 25.0])]
    assert dead.get_ylabel() == "Dead units (%)"
    assert len(axes_of(panels["layers_standard_deviation_1"]).lines) == 2
    assert axes_of(panels["layers_gradient_norm_0"]).get_yscale() == "log"
    assert axes_of(panels["layers_rank_0"]).get_yscale() == "linear"
    older = {"v1": {"after training": OF_BEFORE}}
    assert [one.name for one in question_figures.layers_panels(older, COLORS)] == [
        "layers_standard_deviation_0"
    ]


def test_layers_are_drawn_as_far_as_they_are_finite_and_0_makes_no_axis_logarithmic() -> None:
    lost = {"standard_deviation": [2.0, np.inf], "gradient_norm": [np.nan, 0.0]}
    layers = {"v0": {"after training": lost}, "v1": {"after training": OF_BEFORE | GRADIENTS}}
    deviations, gradients = question_figures.layers_panels(layers, COLORS)
    for panel, expected in ((deviations, [2.0, np.nan]), (gradients, [np.nan, 0.0])):
        axes = axes_of(panel)
        np.testing.assert_equal(ys(axes.lines[0]), expected)
        assert axes.get_yscale() == "linear"
    assert deviations.alt.endswith("in the last layer: v0 inf, v1 0.9.")


def test_first_losses_are_those_of_the_run_whose_highest_is_the_median_as_far_as_finite() -> None:
    rising = np.linspace(2.0, 90.0, 300)
    late = np.concatenate([np.full(299, 2.0), [1000.0]])
    diverged = np.concatenate([np.full(40, 2.3), [np.inf], np.full(259, 2.3)])
    (panel,) = question_figures.first_losses_panels(
        {"v0": [late, np.full(300, 2.0), rising], "v1": [diverged], "v2": [np.full(300, np.nan)]},
        COLORS,
    )
    axes = axes_of(panel)
    assert axes.get_yscale() == "log"
    first, second = axes.lines
    assert len(xs(first)) == question_figures.MOST_POINTS
    assert ys(first)[-1] == pytest.approx(rising[-10:].mean())
    assert xs(second)[-1] == 40
    assert (first.get_label(), second.get_label()) == ("v0", "v1")
    assert "v1 2.3, v0 88.7." in panel.alt


def test_a_first_loss_that_has_blown_up_leaves_the_figure_to_others() -> None:
    losses = {"v0": [np.linspace(2.0, 1e9, 300)], "v1": [np.linspace(3.0, 2.0, 300)]}
    (panel,) = question_figures.first_losses_panels(losses, COLORS)
    axes = axes_of(panel)
    assert axes.get_ylim()[1] == BLOWN_UP
    assert max(ys(axes.lines[0])) > 1e8  # in the table it stays


def test_one_mini_batch_is_an_epoch_too() -> None:
    (panel,) = question_figures.first_losses_panels({"v0": [np.array([2.5])]}, COLORS)
    assert ys(axes_of(panel).lines[0]) == [2.5]


def test_what_no_run_has_logged_has_no_figure_and_breaks_no_page() -> None:
    evidence = evidence_of(
        [make_run("elu", seed) for seed in (1, 2)],
        figures=("layers", "first_losses", "sparsity", "inference"),
    )
    panels = page.sections(evidence)
    assert not {*evidence.figures} & panels.keys()
    assert 'id="sparsity"' not in page.html_report(evidence, {})


def test_sparsity_has_a_dot_for_every_run_and_a_table_with_sizes() -> None:
    rows = [
        make_run(name, seed, zero_weights=zero, compressed_megabytes=1.5, small_weights=0.95)
        for name, zero in {"elu": 0.0, "bn": 0.9}.items()
        for seed in (1, 2)
    ]
    rows += [make_run("selu", 1)]  # of an earlier version
    evidence = evidence_of(rows, figures=("sparsity",))
    panels = page.sections(evidence)
    (panel,) = panels["sparsity"]
    means = {line.get_label(): (xs(line), ys(line)) for line in axes_of(panel).lines}
    assert means == {"elu": ([0.0], [50.0]), "bn": ([90.0], [50.0])}
    html = page.html_report(evidence, {"sparsity": panels["sparsity"]})
    assert '<td data-column="Weights of 0">90.0%</td>' in html
    assert '<td data-column="Compressed (MB)">1.50</td>' in html


def test_a_prediction_is_drawn_plain_and_by_samples() -> None:
    rows = [make_run("elu", 1, inference_microseconds=20.0, ece=0.05), make_run("bn", 1)]
    evidence = evidence_of(
        rows, figures=("inference",), uncertainty={"elu": {"by_number": BY_NUMBER}}
    )
    accuracy, error = question_figures.inference_panels(
        evidence.summary, evidence.uncertainty, evidence.colors
    )
    plain, sampled = axes_of(error).lines
    assert (xs(plain), ys(plain)) == ([20.0], [5.0])
    assert (xs(sampled), ys(sampled)) == ([20.0, 200.0], [4.0, 4.0])
    assert axes_of(accuracy).get_xlabel() == (
        "Microseconds per image\nhollow: MC Dropout of 1 and 10 samples"
    )
    assert "plain" in embedded(accuracy).csv
    assert error.alt.endswith("MC Dropout: elu 5.0 in 20, 4.0 in 20, 4.0 in 200.")


def test_twenty_variants_are_told_apart_by_colour_marker_and_dash() -> None:
    of_each = in_order([""] * 20)
    colors = {f"v{place}": next(of_each) for place in range(20)}
    looks = [drawing.look(name, colors) for name in colors]
    for sign in ("marker", "linestyle"):  # a curve has no markers, a dot no dash
        assert len({(look["color"], look[sign]) for look in looks}) == 20
    axes = drawing.blank_figure(3.0).subplots()
    for name in colors:
        axes.plot([1, 2], [1, 2], label=f"a_rather_long_name_of_{name}")
    drawing.legend(figure := axes.figure, axes)  # type: ignore[arg-type]
    figure.canvas.draw()
    (found,) = figure.legends  # type: ignore[attr-defined]
    box = found.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_networks_that_took_no_epochs_break_no_figure_and_no_page() -> None:
    nothing = {"best_epoch": 0, "median_epoch_seconds": float("nan"), "train_seconds": 0.0}
    rows = [make_run("elu", 1), *(make_run(name, 1, **nothing) for name in ("bn", "selu"))]
    evidence = evidence_of(
        rows, curves=make_curves(pd.DataFrame(rows[:1])).assign(val_accuracy=0.5, epoch_seconds=2.0)
    )
    html = page.html_report(evidence, page.sections(evidence))
    assert "a network that is judged as it is has no epochs" in html
    of_none = evidence_of(rows[1:], curves=evidence.curves.iloc[:0], baseline="bn")
    html = page.html_report(of_none, page.sections(of_none))
    assert "curves-by-epoch" not in html
