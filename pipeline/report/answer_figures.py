"""The answers as a picture: effects, with the intervals that the verdicts rest on."""

import math
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from pipeline.answers import tables
from pipeline.answers.verdicts import Answer, Verdict
from pipeline.comparisons.colors import BLUE, GREEN, GREY, VERMILLION
from pipeline.report import drawing
from pipeline.report.drawing import GRID, Look, Panel

_COLORS: Mapping[Verdict | None, str] = {
    Verdict.BETTER: GREEN,
    Verdict.WORSE: VERMILLION,
    Verdict.EQUAL: BLUE,
}
_ABOUT = {
    "epochs_to_target": "epochs to the target",
    "median_epoch_seconds": "time per epoch",
    "train_seconds": "training time",
}


def answer_panels(answers: Sequence[Answer]) -> list[Panel]:
    """The differences of accuracy, and the ratios: a row for each answer with an interval."""
    panels = []
    for is_ratio, name in enumerate(("differences", "ratios")):
        shown = [
            one
            for one in answers
            if one.question.about.is_ratio == is_ratio and tables.interval(one)
        ]
        if shown:
            said = "; ".join(f"{_name(one)}: {_verdict(one)}, {_figures(one)}" for one in shown)
            alt = f"{name.capitalize()} with their intervals and margins. {said}."
            draw = partial(_draw, answers=shown, is_ratio=bool(is_ratio))
            panels.append(Panel(name, draw, alt, size=(5.2, 1.1 + 0.46 * len(shown))))
    return panels


def _name(answer: Answer) -> str:
    about = _ABOUT.get(answer.question.metric)
    return ", ".join(filter(None, [tables.compared(answer.question), about]))


def _verdict(answer: Answer) -> str:
    return answer.verdict or tables.DESCRIBED


def _figures(answer: Answer) -> str:
    found, ends = tables.effect(answer), tables.interval(answer)
    return f"{found} ({ends})" if found else ends


def _draw(axes: Axes, answers: Sequence[Answer], *, is_ratio: bool) -> None:
    """Zero as a line, the margins as a band, the effects as dots in their intervals."""
    scale = 1 if is_ratio else 100
    values = scale * np.array([[one.effect, one.low, one.high] for one in answers])
    smallest = np.array([one.question.smallest for one in answers])
    margins = np.exp([-smallest, smallest]) if is_ratio else scale * np.array([-smallest, smallest])
    left, right = _limits(np.concatenate([values.ravel(), margins.ravel()]), is_ratio)
    axes.set_xlim(left, right)
    if is_ratio:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.axvline(1 if is_ratio else 0, color=GREY, lw=1)
    for place, (one, of) in enumerate(zip(answers, values, strict=True)):
        lower, upper = margins[:, place]
        axes.barh(place, upper - lower, left=lower, height=0.9, color=GRID, zorder=0.5)
        _draw_answer(axes, place, _COLORS.get(one.verdict, GREY), of, (left, right))
    labels = [f"{_name(one).replace(', ', chr(10))}\n{_verdict(one)}" for one in answers]
    axes.set_yticks(range(len(answers)), labels)
    axes.set_ylim(len(answers) - 0.5, -0.5)
    unit = "Ratio: left is better" if is_ratio else "Points of accuracy: right is better"
    drawing.style(axes, unit, "")


def _limits(values: np.ndarray, is_ratio: bool) -> tuple[float, float]:
    """A little beyond all that has a place on the axis."""
    known = np.append(values[np.isfinite(values)], 1.0 if is_ratio else 0.0)
    known = np.log(known[known > 0]) if is_ratio else known
    room = 0.06 * (np.ptp(known) or 1)
    low, high = known.min() - room, known.max() + room
    return (math.exp(low), math.exp(high)) if is_ratio else (float(low), float(high))


def _draw_answer(
    axes: Axes, place: int, color: str, values: np.ndarray, limits: tuple[float, float]
) -> None:
    """The interval, with an arrow where it has no end, and the effect."""
    effect, *ends = values
    low, high = np.clip(ends, *limits)
    axes.plot([low, high], [place, place], color=color, lw=2.5, solid_capstyle="butt")
    arrow: Look = {"color": color, "ms": 7, "clip_on": False}
    if low > ends[0]:
        axes.plot(low, place, marker="<", **arrow)
    if high < ends[1]:
        axes.plot(high, place, marker=">", **arrow)
    if limits[0] < effect < limits[1]:
        axes.plot(effect, place, marker="o", color=color, ms=5)
