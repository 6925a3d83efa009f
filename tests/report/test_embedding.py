"""A panel in a page: its SVG, and the table of what it draws."""

import html
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes

from pipeline.report import drawing
from pipeline.report.drawing import Panel
from pipeline.report.embedding import embedded

COLORS = {"elu": "#0072B2"}


def line_panel(name: str = "line") -> Panel:
    def draw(axes: Axes) -> None:
        line = axes.plot([1, 2], [3, 4.00000049], color=COLORS["elu"], label="elu")
        drawing.assign(line, "elu", "mean")
        drawing.assign(axes.fill_between([1, 2], [2, 3], [4, 5]), "elu", "seeds")
        drawing.assign(axes.scatter([1, 2], [6, np.nan]), "elu", "run")
        drawing.assign(axes.axhline(3), "elu")  # which is no data
        drawing.style(axes, "Epoch", "Loss & <more>\nnot said")

    return Panel(name, draw, alt="A line.")


def test_svg_is_one_element_that_takes_on_the_colours_of_the_page():
    text = embedded(line_panel()).svg
    element = ElementTree.fromstring(text)  # well-formed: what it says is escaped
    assert element.tag.endswith("svg")
    assert element.get("viewBox") is not None
    assert element.get("width") is None
    assert "Loss & <more>" in "".join(element.itertext())
    assert "currentColor" in text
    assert "var(--grid)" in text
    assert COLORS["elu"].lower() in text
    assert "#000000" not in text
    assert "#ffffff" not in text


def test_numbers_that_are_written_keep_their_digits_and_places_have_two():
    def draw(axes: Axes) -> None:
        axes.plot([1 / 3, 2 / 3], [1 / 7, 2 / 7])
        axes.set_xticks([0.5], ["0.0001"])

    text = embedded(Panel("digits", draw, alt="A line.")).svg
    assert ">0.0001</text>" in text
    assert not re.search(
        r"\.\d{3}", re.sub(r">[^<]*<", "><", re.sub('data-scales="[^"]*"', "", text))
    )


def test_svg_refers_to_nothing_outside_itself():
    element = ElementTree.fromstring(embedded(line_panel()).svg)
    ids = {node.get("id") for node in element.iter()} - {None}
    text = ElementTree.tostring(element, encoding="unicode")
    addresses = re.findall(r"(?:href=\"|url\()([^\")]*)", text)
    assert addresses
    assert {address.removeprefix("#") for address in addresses} <= ids


def test_svgs_of_two_panels_share_no_id():
    texts = (embedded(line_panel(name)).svg for name in ("one", "two"))
    first, second = (set(re.findall(r'\bid="([^"]*)"', text)) for text in texts)
    assert first
    assert not first & second


def test_svg_of_the_same_panel_is_the_same():
    assert embedded(line_panel()).svg == embedded(line_panel()).svg


def test_the_table_has_the_points_of_lines_and_dots_and_the_edges_of_bands() -> None:
    assert embedded(line_panel()).csv.splitlines() == [
        "variant,series,Epoch,Loss & <more>",
        *("elu,mean,1,3", "elu,mean,2,4"),
        *('elu,"seeds, minimum",1,2', 'elu,"seeds, minimum",2,3'),
        *('elu,"seeds, maximum",1,4', 'elu,"seeds, maximum",2,5'),
        "elu,run,1,6",
    ]


def test_a_band_and_a_line_of_nothing_are_no_rows() -> None:
    def draw(axes: Axes) -> None:
        drawing.assign(axes.fill_between([], [], []), "elu", "seeds")
        drawing.assign(axes.plot([], []), "elu", "mean")
        drawing.style(axes, "Epoch", "Loss")

    assert embedded(Panel("empty", draw, alt="None.")).csv == "variant,series,Epoch,Loss\n"


def test_what_is_drawn_of_a_variant_says_so_and_what_it_is() -> None:
    text = embedded(line_panel()).svg
    assigned = re.findall(r'data-series="([^"]*)" data-variant="([^"]*)"', text)
    assert sorted(assigned) == [("", "elu"), ("mean", "elu"), ("run", "elu"), ("seeds", "elu")]


@pytest.mark.parametrize("is_log", [False, True])
def test_values_can_be_read_off_the_svg_by_its_scales(is_log: bool) -> None:
    def draw(axes: Axes) -> None:
        axes.set_xscale("log" if is_log else "linear")
        drawing.assign(axes.plot([1, 10, 100], [5, 6, 8]), "elu", "mean")
        drawing.style(axes, "Rate", "")

    text = embedded(Panel("log", draw, alt="A line.")).svg
    found = re.search(r'data-scales="([^"]*)"', text)
    assert found
    (axis,) = json.loads(html.unescape(found[1])).items()  # the other has no name
    name, scale = axis
    assert (name, scale["label"], scale["log"]) == ("x", "Rate", is_log)
    (path,) = re.findall(r'data-series="mean".*?<path d="M (\S+) \S+\s+L (\S+)', text, re.DOTALL)
    values = np.log(scale["values"]) if is_log else np.array(scale["values"])
    shown = np.interp([float(place) for place in path], scale["places"], values)
    assert (np.exp(shown) if is_log else shown) == pytest.approx([1, 10], abs=0.02)
