"""A panel in a page: an SVG that takes on the page's colours, and what it draws as a table.

What is drawn of a variant is assigned to it, see `drawing.assign`: by that the page's script hides
it, and says its values, which it reads off the SVG with the scales that stand there.
"""

import html
import io
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.dates import DateFormatter, num2date
from matplotlib.lines import Line2D

from pipeline.comparisons.colors import GREY
from pipeline.report.drawing import GRID, Array, Panel, blank_figure

POINT = 72  # to the inch, which SVGs of Matplotlib are made in


class Embedded(NamedTuple):
    """A panel as a page has it."""

    svg: str
    csv: str  # a row for each point that is drawn of a variant


def embedded(panel: Panel) -> Embedded:
    """One panel as an `<svg>` element that takes on the colours of the page it is put into.

    These are that of the text around it, `--grid` and `--muted`. The page has a legend for all.
    """
    figure = blank_figure(panel.size[1], panel.size[0])
    axes = figure.subplots()
    panel.draw(axes)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": panel.name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    changes = {
        r"(?s)^.*?(?=<svg)": "",
        r"(?s)<metadata>.*?</metadata>": "",
        # Half of its length, with the digits below: the page chooses the font, and nothing refers
        # to these groups.
        r"; font-family: [^;\"]*": "",
        r' transform="rotate\(-0 [^"]*"': "",
        r'<g id="[a-zA-Z0-9.]+_\d+">': "<g>",
        r"\s*\n\s*": "\n",
        r'( xmlns:\w+="[^"]*"| version="[^"]*")': "",
        r'\bid="([^":]*):([^"]*)"': r'data-series="\1" data-variant="\2"',
        # In a page, ids must differ between the figures, and the width is the page's.
        r'\bid="': f'id="{panel.name}-',
        r'(?:xlink:)?href="#': f'href="#{panel.name}-',
        r"url\(#": f"url(#{panel.name}-",
        r'<svg width="[^"]*" height="[^"]*"': '<svg aria-hidden="true"',
        "#000000": "currentColor",
        GREY.lower(): "var(--muted)",
        GRID.lower(): "var(--grid)",
    }
    # A hundredth of a point is not seen; what is written between the tags keeps its digits.
    element = re.sub(
        r"<[^>]+>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), buffer.getvalue()
    )
    for pattern, replacement in changes.items():
        element = re.sub(pattern, replacement, element)
    scales = html.escape(json.dumps(_scales(axes)))
    element = element.replace("<svg", f'<svg data-scales="{scales}"', 1)
    return Embedded(element, _table(axes).to_csv(index=False, float_format="%.6g"))


def _scales(axes: Axes) -> dict[str, dict[str, Any]]:
    """Of either axis that has a name: two values, and where they are in the SVG."""
    figure = axes.get_figure(root=True)
    assert figure
    corners = np.array([axes.get_xlim(), axes.get_ylim()])
    places = axes.transData.transform(corners.T) * POINT / figure.dpi
    places[:, 1] = POINT * figure.get_figheight() - places[:, 1]
    scales = {
        name: {
            "label": _label(axis.get_label_text()),
            "log": axis.get_scale() == "log",
            "date": _is_of_dates(axis),
            "values": corners[place].tolist(),
            "places": places[:, place].round(3).tolist(),
        }
        for place, (name, axis) in enumerate({"x": axes.xaxis, "y": axes.yaxis}.items())
    }
    return {name: scale for name, scale in scales.items() if scale["label"]}


def _is_of_dates(axis: Axis) -> bool:
    return isinstance(axis.get_major_formatter(), DateFormatter)


def _label(text: str) -> str:
    """What an axis is of, without the notes below it."""
    return text.partition("\n")[0].removesuffix(", with the median")


def _table(axes: Axes) -> pd.DataFrame:
    """What is drawn of the variants, a row for each point."""
    names = {"x": _label(axes.get_xlabel()), "y": _label(axes.get_ylabel())}
    tables = []
    for artist in axes.get_children():
        series, _, variant = (artist.get_gid() or "").partition(":")
        for name, points in _points(artist, series) if series else ():
            table = pd.DataFrame(points, columns=["x", "y"], dtype=float)
            table = table.dropna().assign(variant=variant, series=name)
            if _is_of_dates(axes.xaxis):
                table["x"] = [f"{num2date(of):%Y-%m-%d}" for of in table["x"]]
            tables.append(table)
    shown = ["variant", "series", *(axis for axis, name in names.items() if name)]
    rows = pd.concat(tables) if tables else pd.DataFrame(columns=["x", "y", *shown[:2]])
    return rows[shown].rename(columns=names)


def _points(artist: Artist, series: str) -> Iterator[tuple[str, Array]]:
    """The points of a line, of dots, and of the lower and the upper edge of a band."""
    match artist:
        case Line2D():
            yield series, np.asarray(artist.get_xydata())
        case PathCollection():
            yield series, np.ma.filled(artist.get_offsets(), np.nan)
        case PolyCollection() if artist.get_paths():  # seeds may share not one moment
            corners = np.concatenate([np.asarray(path.vertices) for path in artist.get_paths()])
            edges = pd.DataFrame(corners, columns=["x", "y"]).groupby("x")["y"].agg(["min", "max"])
            for name, edge in edges.items():
                yield f"{series}, {name}imum", edge.reset_index().to_numpy()
