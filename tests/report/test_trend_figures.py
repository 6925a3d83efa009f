"""Figures over nights, from a single one to many."""

import numpy as np
import pandas as pd
import pytest
from drawn import axes_of, labels_of, xs, ys
from made_nights import NAMES, nights

from pipeline.report import drawing
from pipeline.report.embedding import embedded
from pipeline.report.trend_figures import trend_panels

COLORS = dict(zip(NAMES, ("#0072B2", "#D55E00"), strict=True))


def drawn(trend: pd.DataFrame, series: str, place: int = 0) -> dict[str, list[float]]:
    """What is drawn of every variant, by its name."""
    axes = axes_of(trend_panels(trend, COLORS)[place])
    named = {str(line.get_gid()): ys(line) for line in axes.lines}
    return {gid.split(":")[1]: of for gid, of in named.items() if gid.startswith(series)}


def test_accuracy_and_seconds_are_lines_in_the_colours_of_variants() -> None:
    panels = trend_panels(nights(60), COLORS)
    assert [panel.name for panel in panels] == [
        "test_accuracy_by_night",
        "median_epoch_seconds_by_night",
    ]
    accuracy, seconds = map(axes_of, panels)
    assert labels_of(accuracy) == ("Night", "Test accuracy (%)")
    assert labels_of(seconds) == ("Night", "Time per epoch (s)")
    assert [line.get_color() for line in accuracy.lines] == [*COLORS.values()]
    assert ys(seconds.lines[0]) == [1.0] * 60
    assert seconds.get_ylim()[0] == 0  # twice as high is twice as long
    assert len(accuracy.collections) == 2 + 1  # bands, and alarms


def test_a_night_is_a_date_in_the_figure_and_in_its_data() -> None:
    panel = trend_panels(nights(60), COLORS)[0]
    axes = axes_of(panel)
    dates = [axes.xaxis.get_major_formatter()(tick) for tick in axes.get_xticks()]
    assert (dates[0], dates[-1], len(dates)) == ("2026-10-01", "2026-11-29", 4)
    found = embedded(panel)
    header, *rows = found.csv.splitlines()
    assert header == "variant,series,Night,Test accuracy (%)"
    assert {"elu,night,2026-10-01,50", 'bn,"95% interval, maximum",2026-11-29,62'} <= {*rows}
    assert len(rows) == 60 * 2 * 3  # the line, and the edges of its band
    assert "&quot;date&quot;: true" in found.svg


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_nights_are_marked_and_have_a_date_each(count: int) -> None:
    axes = axes_of(trend_panels(nights(count), COLORS)[0])
    assert len(axes.get_xticks()) == count
    marked = [line for line in axes.lines if str(line.get_gid()).startswith("night:")]
    assert [line.get_marker() not in (None, "None") for line in marked] == [count < 3] * 2


def test_of_a_single_night_variants_and_their_intervals_stand_beside_one_another() -> None:
    axes = axes_of(trend_panels(nights(1), COLORS)[0])
    at = {line.get_gid(): xs(line) for line in axes.lines}
    assert at["night:elu"] != at["night:bn"]
    assert at["95% interval:elu"] == at["night:elu"] * 2
    assert {int(x) for of in at.values() for x in of} == {20727}  # within its date


def test_alarms_are_marked_above_their_nights_and_said() -> None:
    panel = trend_panels(nights(10, alarms=(4, 5)), COLORS)[0]
    axes = axes_of(panel)
    marks = axes.collections[-1]
    assert np.ma.getdata(marks.get_offsets())[:, 0] == pytest.approx(
        [20727 + place + 2 / 24 for place in (4, 5)]
    )
    assert marks.get_gid() is None  # it is no data of a variant
    assert panel.alt == (
        "Mean test accuracy in the first and the last of 10 nights: elu 50.0% and 50.0%; "
        "bn 60.0% and 60.0%. Nights with an alarm: 2."
    )


def test_gaps_are_crossed_by_lines_and_what_no_night_knows_has_no_figure() -> None:
    trend = nights(4)
    trend.loc[trend["night"] == trend["night"].unique()[1], ["low", "high"]] = np.nan
    trend["median_epoch_seconds"] = np.nan
    trend.loc[2, "test_accuracy"] = np.nan  # of elu, in that night
    assert {name: len(of) for name, of in drawn(trend, "night").items()} == {"elu": 3, "bn": 4}
    (panel,) = trend_panels(trend, COLORS)
    assert "nan" not in embedded(panel).csv
    assert trend_panels(nights(0), COLORS) == []


def test_a_variant_that_came_later_begins_later() -> None:
    trend = nights(5)
    later = trend[(trend["variant"] == "elu") | (trend["night"] > trend["night"].unique()[2])]
    assert {name: len(of) for name, of in drawn(later, "night").items()} == {"elu": 5, "bn": 2}


def test_many_variants_have_thinner_lines() -> None:
    names = [f"variant_{place}" for place in range(12)]
    colors = dict.fromkeys(names, "#0072B2")
    many, few = nights(60, names=names), nights(60, names=names[:6])
    widths = [axes_of(trend_panels(one, colors)[0]).lines[0].get_linewidth() for one in (many, few)]
    assert widths[0] < widths[1]
    assert drawing.look("variant_3", colors) != drawing.look("variant_4", colors)
