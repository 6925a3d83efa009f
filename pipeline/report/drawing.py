"""What all figures share: their look, and what is drawn alike of one run and of many variants.

Figures are made without pyplot and so without state that threads would share; saved as PNG they are
1200 pixels wide. A variant's colour is the caller's; the others are of the palette of Okabe and Ito
(2008), which the colour-blind can tell apart.
"""

import io
import re
from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, TypeAlias

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from pipeline.base import InputError
from pipeline.comparisons.colors import GREY

matplotlib.rcdefaults()  # not what a matplotlibrc of the home or working directory says

GRID = "#E5E5E5"
WIDTH, DOTS_PER_INCH = 8.0, 150  # inches; together 1200 pixels

Array: TypeAlias = np.ndarray
Colors: TypeAlias = Mapping[str, str]  # a colour (hex) for each variant, or each line
Look: TypeAlias = dict[str, Any]  # what Matplotlib calls the properties of what it draws


@dataclass(frozen=True)
class Panel:
    """One pair of axes: in the report an SVG of its own, as a PNG beside others of its kind."""

    name: str  # among all panels; letters, digits, hyphens and underscores
    draw: Callable[[Axes], None]
    alt: str  # what it shows, in words, for those who cannot see it
    size: tuple[float, float] = (5.0, 3.4)  # width and height in inches, alone


def sheet(panels: Sequence[Panel]) -> Figure:
    """One figure of some panels, two beside each other, with their labels below."""
    require_some("panels", panels)
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = blank_figure(rows * max(panel.size[1] for panel in panels) + 0.5)
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, panel in zip(grid, panels, strict=False):
        panel.draw(axes)
    for axes in grid[len(panels) :]:
        axes.axis("off")
    if grid[0].get_legend_handles_labels()[1]:
        legend(figure, grid[0])
    return figure


def svg(panel: Panel) -> str:
    """One panel as an `<svg>` element that takes on the colours of the page it is put into.

    These are that of the text around it, `--grid` and `--muted`. The page has a legend for all.
    """
    figure = blank_figure(panel.size[1], panel.size[0])
    panel.draw(figure.subplots())
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": panel.name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    changes = {
        r"(?s)^.*?(?=<svg)": "",
        r"(?s)<metadata>.*?</metadata>": "",
        # Half of its length: the page chooses the font, nothing refers to these groups, and a
        # hundredth of a point is not seen.
        r"; font-family: [^;\"]*": "",
        r' transform="rotate\(-0 [^"]*"': "",
        r'<g id="[a-zA-Z0-9.]+_\d+">': "<g>",
        r"(\.\d\d)\d+": r"\1",
        r"\s*\n\s*": "\n",
        r'( xmlns:\w+="[^"]*"| version="[^"]*")': "",
        # In a page, ids must differ between the figures, and the width is the page's.
        r'\bid="': f'id="{panel.name}-',
        r'(?:xlink:)?href="#': f'href="#{panel.name}-',
        r"url\(#": f"url(#{panel.name}-",
        r'<svg width="[^"]*" height="[^"]*"': '<svg aria-hidden="true"',
        "#000000": "currentColor",
        GREY.lower(): "var(--muted)",
        GRID.lower(): "var(--grid)",
    }
    element = buffer.getvalue()
    for pattern, replacement in changes.items():
        element = re.sub(pattern, replacement, element)
    return element


def blank_figure(height: float, width: float = WIDTH) -> Figure:
    """An empty white figure; its size is in inches."""
    layout = ConstrainedLayoutEngine(wspace=0.04, hspace=0.04)
    return Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout=layout, facecolor="white")


def style(
    axes: Axes, x: str, y: str, *, title: str = "", grid: bool = True, whole: bool = False
) -> None:
    """Label the axes and give them the look of all figures; `whole` x are ticked at integers."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=10)
    axes.set_ylabel(y, fontsize=10)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(not grid)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(color=GRID, lw=0.7)
    if whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def legend(figure: Figure, axes: Axes) -> None:
    """Put the labels of one pair of axes below the figure."""
    handles, labels = axes.get_legend_handles_labels()
    look: Look = {"loc": "outside lower center", "ncols": min(len(labels), 5), "frameon": False}
    for line in figure.legend(handles, labels, **look).get_lines():
        line.set_linewidth(2.5)


def marker(points: Sized) -> Look:
    """How to draw a line: with dots where it has too few points to be seen."""
    return {"lw": 1.8, "marker": "o" if len(points) < 3 else None, "ms": 4}


def require_some(subject: str, values: Sized, *others: Sized) -> None:
    """Refuse nothing to draw, and others that are not as many, with an `InputError`."""
    lengths = [len(given) for given in (values, *others)]
    if not all(lengths) or len(set(lengths)) > 1:
        raise InputError(
            subject,
            expected="at least one, and one entry for each",
            received=" and ".join(map(str, lengths)),
            action="Give some to draw, and as many of each.",
        )


def draw_layers(
    axes: Axes, lines: Mapping[str, Any], colors: Colors, *, level: int, title: str = ""
) -> None:
    """Draw means (level 0) or standard deviations (level 1) of the activations by hidden layer.

    A network that self-normalises (Klambauer et al. 2017) stays near the level.
    """
    axes.axhline(level, color=GREY, lw=1, linestyle="--", zorder=0)
    for place, (label, values) in enumerate(lines.items()):
        thinner = 0.85**place  # A line that lies on another does not hide it.
        look: Look = {"color": colors.get(label, GREY), "marker": "osD^vPX"[place % 7]}
        layers = np.arange(1, len(values) + 1)
        axes.plot(layers, values, label=label, ms=6 * thinner, lw=2.4 * thinner, **look)
    unit = ("Mean activation", "Standard deviation of activations")[level]
    style(axes, "Hidden layer", unit, title=title, whole=True)


def draw_samples(axes: Axes, lines: Mapping[str, Any], colors: Colors, plain: str = "") -> None:
    """Draw accuracies (fractions) by how many samples are averaged; dashed that without dropout."""
    for label, (fractions, without) in lines.items():
        percent, color = 100 * np.asarray(fractions, dtype=float), colors.get(label, GREY)
        samples = np.arange(1, len(percent) + 1)
        axes.plot(samples, percent, color=color, label=label, **marker(percent))
        axes.axhline(100 * without, color=color, linestyle="--", lw=1.2, label=plain)
    axes.margins(y=0.1)
    style(axes, "Number of samples averaged", "Test accuracy (%)", whole=True)


def draw_reliability(axes: Axes, bins: Mapping[str, Any], color: str, *, title: str) -> None:
    """Draw accuracy against confidence of models; on the diagonal they are equal (Guo et al. 2017).

    The bins of a model are mean confidence and accuracy (fractions, NaN or None in an empty bin)
    and the number of predictions, of shape (bins,). All models but the last are dashed.
    """
    axes.plot([0, 100], [0, 100], color=GREY, lw=1, linestyle=":")
    for place, (model, of) in enumerate(bins.items(), start=1):
        confidence, accuracy, count = np.asarray(of, dtype=float)
        shown = 100 * np.stack([confidence, accuracy])[:, count > 0]
        dashed: Look = {"lw": 1.2, "linestyle": "--", "mfc": "none"}
        look = dashed if place < len(bins) else {"lw": 1.8}
        # Unclipped, so that a dot at 100% is whole.
        axes.plot(*shown, color=color, label=model, marker="o", ms=5, clip_on=False, **look)
    if len(bins) > 1:
        axes.legend(frameon=False, fontsize=9)
    axes.set(xlim=(0, 100), ylim=(0, 100))
    style(axes, "Confidence (%)", "Accuracy (%)", title=title)
