"""What accuracy takes: the panels of accuracy against time, and against images to train with."""

import numpy as np
import pytest
from compared_runs import evidence_of, five_variants, make_run
from drawn import axes_of, labels_of, xs, ys
from matplotlib.collections import PathCollection
from matplotlib.text import Text

from pipeline.answers.families import families
from pipeline.report import accuracy_figures, drawing

COLORS = {"elu": "#0072B2", "bn": "#D55E00", "alpha_dropout": "#CC79A7"}


def by_time(rows):
    evidence = evidence_of(rows)
    return accuracy_figures.accuracy_by_time_panels(evidence.timed, evidence.summary, COLORS)


def dots(axes):
    """The places of the runs, by variant."""
    found = {}
    for one in axes.collections:
        found[one.get_gid().removeprefix("run:")] = np.asarray(one.get_offsets()).tolist()
    return found


def test_accuracy_by_time_has_a_dot_per_run_and_a_mean_in_its_interval_at_the_median_time():
    seconds, accuracies = (10.0, 12.0, 20.0), (0.48, 0.5, 0.52)
    rows = [
        make_run("elu", seed, train_seconds=one, test_accuracy=of)
        for seed, (one, of) in enumerate(zip(seconds, accuracies, strict=True))
    ]
    (panel,) = by_time(rows)
    axes = axes_of(panel)
    interval, mean = axes.lines
    assert xs(interval) == [12, 12]
    assert ys(interval) == pytest.approx([50 - 4.968, 50 + 4.968], abs=0.001)
    assert (xs(mean), ys(mean), mean.get_marker()) == ([12], [50], "o")
    assert dots(axes) == {"elu": [[10, 48], [12, 50], [20, 52]]}
    (runs,) = axes.findobj(PathCollection)
    assert mean.get_markersize() ** 2 > 2 * runs.get_sizes()[0]
    assert panel.alt == (
        "Mean test accuracy for the median training time, the best first: elu 50.0% for 12 s."
    )


def test_accuracy_by_time_leaves_out_disturbed_runs_where_there_are_others():
    rows = [
        make_run("elu", 1, train_seconds=10.0, disturbed=False),
        make_run("elu", 2, train_seconds=90.0, disturbed=True),
        make_run("bn", 1, train_seconds=30.0, disturbed=True),
    ]
    (panel,) = by_time(rows)
    assert dots(axes_of(panel)) == {"elu": [[10, 50]], "bn": [[30, 50]]}


@pytest.mark.parametrize(("longest", "scale"), [(40.0, "linear"), (100.0, "log")])
def test_accuracy_by_time_is_logarithmic_where_times_are_far_apart(longest, scale):
    (panel,) = by_time([make_run("elu", 1), make_run("bn", 1, train_seconds=longest)])
    axes = axes_of(panel)
    assert axes.get_xscale() == scale
    low, high = axes.get_xlim()
    assert low < 12
    assert high > longest


def test_accuracy_by_time_of_one_seed_has_no_interval_and_of_no_accuracy_no_panel():
    (panel,) = by_time([make_run("elu", 1)])
    assert len(axes_of(panel).lines) == 1
    assert by_time([make_run("elu", 1, test_accuracy=float("nan"))]) == []


LONG = [f"transfer_unfrozen_{number}" for number in (20, 100, 500)]


@pytest.mark.parametrize(
    "rows",
    [
        [one | {"test_accuracy": 0.5, "train_seconds": 12.0} for one in five_variants([1, 2, 3])],
        [make_run(name, 1, train_seconds=10.0 * k) for k, name in enumerate(LONG, start=1)],
        [make_run("alpha_dropout", seed, train_seconds=10.0 * seed) for seed in (1, 20, 50)],
        [make_run(f"variant_{k}", 1, test_accuracy=0.5 + k % 3 / 100) for k in range(9)],
    ],
)
def test_accuracy_by_time_names_every_variant_and_no_name_touches_another(rows):
    (panel,) = by_time(rows)
    figure = drawing.blank_figure(panel.size[1], panel.size[0])
    axes = figure.subplots()
    panel.draw(axes)
    figure.draw_without_rendering()
    boxes = [Text.get_window_extent(name) for name in axes.texts]  # without the line to it
    assert len(boxes) == len({row["variant"] for row in rows})
    assert not [box for box in boxes if box.count_overlaps(boxes) > 1]
    assert all(box.x1 <= axes.bbox.x1 and box.x0 >= axes.bbox.x0 for box in boxes)
    assert all(box.y1 <= axes.bbox.y1 and box.y0 >= axes.bbox.y0 for box in boxes)


def by_images(evidence):
    return accuracy_figures.accuracy_by_images_panels(
        families(evidence), evidence.timed, evidence.summary, COLORS
    )


def few_images(numbers=(20, 100, 500), settings=None):
    """Two networks, either trained with so many images of each class."""
    rows, per_class, of_each = [], {}, {}
    for name in ("scratch", "transfer"):
        for number in numbers:
            variant = name if number == 100 else f"{name}_{number}"
            rows += [
                make_run(variant, seed, test_accuracy=number / 1000 + seed / 100)
                for seed in (1, 2, 3)
            ]
            per_class[variant] = number
            of_each[variant] = {
                "reused_layers": 4 * (name == "transfer"),
                "images_per_class": number,
                "derived_from": f"of {variant}",
            }
    settings = of_each if settings is None else settings
    return evidence_of(rows, baseline="scratch", images_per_class=per_class, settings=settings)


def test_accuracy_by_images_has_a_line_per_family_at_the_numbers_of_images():
    (panel,) = by_images(few_images())
    axes = axes_of(panel)
    assert labels_of(axes) == ("Training images of each class", "Test accuracy (%)")
    assert axes.get_xscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["20", "100", "500"]
    assert axes.get_xticks().tolist() == [20, 100, 500]
    names = axes.get_legend_handles_labels()[1]
    assert axes.get_legend()
    assert names == ["scratch", "transfer"]
    lines = [line for line in axes.lines if line.get_label() in ("scratch", "transfer")]
    assert [xs(line) for line in lines] == [[20, 100, 500]] * 2
    assert ys(lines[0]) == pytest.approx([4, 12, 52])
    assert dots(axes)["transfer_500"] == [[500, pytest.approx(50 + k)] for k in (1, 2, 3)]
    assert "scratch 4.0% with 20, 12.0% with 100, 52.0% with 500; transfer" in panel.alt


def test_accuracy_by_images_is_not_drawn_where_all_have_as_many_or_settings_are_not_known():
    assert by_images(few_images(numbers=(100,))) == []
    assert by_images(few_images(settings={})) == []
