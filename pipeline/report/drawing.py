"""What all figures share: their look, and what is drawn alike of one run and of many variants.

Figures are made without pyplot and so without state that threads would share; saved as PNG they are
1200 pixels wide. A variant's colour is the caller's, and its place among the colours gives it a
marker and a dash of its own; other colours are of the palette in `comparisons.colors`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, TypeAlias

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from pipeline.base import InputError
from pipeline.comparisons.colors import GREY

matplotlib.rcdefaults()  # not what a matplotlibrc of the home or working directory says

GRID = "#E5E5E5"
LETTERS = 105  # across a figure
WIDTH, DOTS_PER_INCH = 8.0, 150  # inches; together 1200 pixels
CROWD = 10  # variants; of more, less is drawn of each
MARKERS = "osD^vPX<"
DASHES: Sequence[Sequence[float]] = (
    *((), (7, 2), (3, 1.5), (8, 2, 2, 2), (5, 1.5, 1.2, 1.5, 1.2, 1.5), (12, 3), (2, 1, 2, 4)),
    (10, 2, 1.2, 2, 1.2, 2, 1.2, 2),
)

Array: TypeAlias = np.ndarray
Colors: TypeAlias = Mapping[str, str]  # a colour (hex) for each variant, or each line
Look: TypeAlias = dict[str, Any]  # what Matplotlib calls the properties of what it draws


@dataclass(frozen=True)
class Panel:
    """One pair of axes: in the report an SVG of its own, as a PNG beside others of its kind."""

    name: str  # among all panels; letters, digits, hyphens and underscores
    draw: Callable[[Axes], None]
    alt: str  # what it comes to, in words, for those who cannot see it
    # Width and height in inches, alone: at the 358 pixels that a phone has, its text has 11.
    size: tuple[float, float] = (4.4, 3.0)


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
    axes.tick_params(labelsize=10)
    axes.spines[["top", "right"]].set_visible(not grid)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(color=GRID, lw=0.7)
    if whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))


def legend(figure: Figure, axes: Axes) -> None:
    """Put the labels of one pair of axes below the figure."""
    handles, labels = axes.get_legend_handles_labels()
    longest = max(map(len, labels)) + 13  # with its line, in letters
    columns = max(1, min(len(labels), 5, LETTERS // longest))
    figure.set_figheight(figure.get_figheight() + 0.2 * (-(-len(labels) // columns) - 1))
    below: Look = {"loc": "outside lower center", "ncols": columns, "frameon": False}
    below["handlelength"] = 4  # in it the longest dash is seen to be one
    for line in figure.legend(handles, labels, **below).get_lines():
        line.set_linewidth(2.5)


def look(variant: str, colors: Colors) -> Look:
    """The colour, the dash and the marker of a variant, which are its own in every figure."""
    place = list(colors).index(variant) if variant in colors else 0
    # Colours come again after so many variants, with another marker and another dash.
    again = place // len(MARKERS)
    dash = DASHES[(place + 3 * again) % len(DASHES)]
    sign = MARKERS[(place + again) % len(MARKERS)]
    return {"color": colors.get(variant, GREY), "linestyle": (0, dash), "marker": sign}


def assign(artists: Artist | Iterable[Artist], variant: str, series: str = "") -> None:
    """Note what is drawn of a variant, and what its points are; without, they are no data."""
    for artist in [artists] if isinstance(artists, Artist) else artists:
        artist.set_gid(f"{series}:{variant}")


def marker(points: Sized) -> Look:
    """How to draw a line: with dots where it has too few points to be seen."""
    return {"lw": 1.8, "marker": "o" if len(points) < 3 else None, "ms": 4}


def evenly(count: int, most: int) -> Array:
    """At most so many of some numbers from 0, taken evenly from all of them."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.intp)


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
    axes: Axes,
    lines: Mapping[str, Any],
    colors: Colors,
    *,
    level: int | None = None,
    unit: str = "",
    title: str = "",
) -> None:
    """Draw means (level 0) or standard deviations (level 1) of the activations by hidden layer.

    A network that self-normalises (Klambauer et al. 2017) stays near the level. Without a level,
    something else is drawn, in a unit.
    """
    if level is not None:
        axes.axhline(level, color=GREY, lw=1, linestyle=":", zorder=0)
        unit = ("Mean activation", "Standard deviation of activations")[level]
    for place, (label, values) in enumerate(lines.items()):
        thinner = max(0.4, 0.85**place)  # A line that lies on another does not hide it.
        layers = np.arange(1, len(values) + 1)
        of: Look = {"label": label, "ms": 6 * thinner, "lw": 2.4 * thinner, **look(label, colors)}
        assign(axes.plot(layers, values, **of), label, "layer")
    style(axes, "Hidden layer", unit, title=title, whole=True)


def draw_samples(axes: Axes, lines: Mapping[str, Any], colors: Colors, plain: str = "") -> None:
    """Draw accuracies (fractions) by how many samples are averaged; dotted that without dropout."""
    for label, (fractions, without) in lines.items():
        percent, of = 100 * np.asarray(fractions, dtype=float), look(label, colors)
        samples = np.arange(1, len(percent) + 1)
        assign(axes.plot(samples, percent, label=label, **of | marker(percent)), label, "averaged")
        dotted: Look = {"color": of["color"], "linestyle": ":", "lw": 1.2, "label": plain}
        assign(axes.axhline(100 * without, **dotted), label)
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
        line = dashed if place < len(bins) else {"lw": 1.8}
        # Unclipped, so that a dot at 100% is whole.
        drawn = axes.plot(*shown, color=color, label=model, marker="o", ms=5, clip_on=False, **line)
        assign(drawn, title, model)
    if len(bins) > 1:
        axes.legend(frameon=False, fontsize=10)
    axes.set(xlim=(0, 100), ylim=(0, 100))
    style(axes, "Confidence (%)", "Accuracy (%)", title=title)
