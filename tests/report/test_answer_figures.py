"""The answers as a picture: every interval in its place, and by its verdict."""

import math
from pathlib import Path

import numpy as np
import pytest
from compared_runs import answer
from drawn import assert_saves_as_a_png_of_1200_pixels, xs, ys
from matplotlib.axes import Axes
from matplotlib.colors import same_color
from matplotlib.patches import Rectangle

from pipeline.answers.verdicts import Answer
from pipeline.comparisons import Question
from pipeline.comparisons.colors import BLUE, GREEN, GREY, VERMILLION
from pipeline.report import drawing
from pipeline.report.answer_figures import answer_panels

SPEED, CONVERGENCE = "median_epoch_seconds", "epochs_to_target"


def axes_of(*answers: Answer) -> Axes:
    (panel,) = answer_panels(answers)
    axes = drawing.blank_figure(3.0).subplots()
    panel.draw(axes)
    return axes


def band_of(axes: Axes) -> tuple[float, float]:
    """Where the band of the only answer begins and ends."""
    (band,) = axes.patches
    assert isinstance(band, Rectangle)
    return band.get_x(), band.get_x() + band.get_width()


def test_a_difference_is_a_dot_in_its_interval_in_points_with_its_margin_as_a_band() -> None:
    zero, interval, effect = axes_of(answer()).lines
    assert xs(zero) == [0, 0]
    assert xs(interval) == pytest.approx([2.1, 5.86])
    assert (xs(effect), ys(effect)) == ([pytest.approx(3.98)], [0])
    assert band_of(axes_of(answer())) == pytest.approx((-1, 1))


def test_a_ratio_is_on_a_logarithmic_axis_around_one() -> None:
    axes = axes_of(answer("worse", SPEED))
    one, interval, effect = axes.lines
    assert axes.get_xscale() == "log"
    assert xs(one) == [1, 1]
    assert xs(interval) == pytest.approx([1.12, 1.2])
    assert xs(effect) == [1.16]
    assert band_of(axes) == pytest.approx((1 / 1.05, 1.05))


def test_differences_and_ratios_are_apart_in_the_order_of_the_questions() -> None:
    given = [answer("worse", SPEED), answer(), answer("equal", CONVERGENCE)]
    differences, ratios = answer_panels(given)
    assert (differences.name, ratios.name) == ("differences", "ratios")
    assert [tick.get_text() for tick in axes_of(given[0], given[2]).get_yticklabels()] == [
        "bn over elu\ntime per epoch\nworse",
        "bn over elu\nepochs to the target\nequal",
    ]
    assert ratios.alt == (
        "Ratios with their intervals and margins. "
        "bn over elu, time per epoch: worse, 1.16 times (1.12 to 1.20); "
        "bn over elu, epochs to the target: equal, 1.16 times (1.12 to 1.20)."
    )


@pytest.mark.parametrize(
    ("verdict", "color"),
    [("better", GREEN), ("worse", VERMILLION), ("equal", BLUE), ("undecided", GREY), (None, GREY)],
)
def test_colour_is_that_of_the_verdict(verdict: str | None, color: str) -> None:
    assert all(same_color(line.get_color(), color) for line in axes_of(answer(verdict)).lines[1:])


@pytest.mark.parametrize(
    ("effect", "low", "high", "markers"),
    [
        (2.0, 1.4, math.inf, [">", "o"]),
        (0.5, 0.0, 0.7, ["<", "o"]),
        (math.inf, 1.4, math.inf, [">"]),
        (0.0, 0.0, 0.7, ["<"]),
        (2.0, 0.0, math.inf, ["<", ">", "o"]),
    ],
)
def test_an_interval_without_an_end_has_an_arrow_there(
    effect: float, low: float, high: float, markers: list[str]
) -> None:
    axes = axes_of(answer("undecided", CONVERGENCE, effect=effect, low=low, high=high))
    _, interval, *others = axes.lines
    assert [line.get_marker() for line in others] == markers
    assert np.isfinite(xs(interval)).all()
    limits = axes.get_xlim()
    assert all(limits[0] <= x <= limits[1] for x in xs(interval))


def test_an_answer_without_an_interval_has_no_row() -> None:
    unknown = answer("undecided", low=math.nan, high=math.nan, reason="fewer than 3 seeds")
    assert answer_panels([unknown]) == []
    mc = Question(variant="bn", reference="bn", metric="mc_gain")
    axes = axes_of(unknown, answer(question=mc))
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["bn with MC Dropout\nbetter"]


def test_both_panels_are_a_picture(tmp_path: Path) -> None:
    panels = answer_panels([answer(), answer("worse", SPEED)])
    assert_saves_as_a_png_of_1200_pixels(drawing.sheet(panels), tmp_path / "answers.png")
