"""What a person sees while steps run: a live line per step, or plain lines without a terminal."""

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypedDict, cast

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from pipeline.base import layout, output, phrases


class Update(TypedDict, total=False):
    """One piece of news about a running step."""

    step: str  # its name, e.g. `train bn seed 1`
    done: int  # units finished (epochs, trials, samples)
    total: int  # units expected at most
    text: str  # the figures to show beside the bar
    left: str  # of news of all steps, whose time is known best: what is left, or empty
    state: str  # `running` (the default), `finished` or `failed`
    message: str  # a line to print above the bars instead


Sink = Callable[[Update], None]

# Where updates go: a display in this process, or a message to the process that has one.
_sink: ContextVar[Sink | None] = ContextVar("progress_sink", default=None)
_COLUMNS = (
    TextColumn("{task.description}", markup=False),
    BarColumn(bar_width=10),
    TextColumn("{task.fields[at]}"),
    TextColumn("{task.fields[text]}", markup=False),
)


def update(**news: Any) -> None:
    """Tell whoever is watching about a step; without a watcher a message is printed."""
    if sink := _sink.get():
        sink(cast(Update, news))
    elif "message" in news:
        print(output.printable(news["message"], lines=True), flush=True)


def say(prose: str) -> None:
    """Print prose, broken at the width of the terminal."""
    columns = layout.width()
    update(message="\n".join(layout.filled(line, columns) for line in prose.splitlines()))


@contextmanager
def sending_to(sink: Sink) -> Iterator[Sink]:
    """Send the updates of this context to a sink."""
    token = _sink.set(sink)
    try:
        yield sink
    finally:
        _sink.reset(token)


@contextmanager
def display() -> Iterator[Sink]:
    """Show updates as bars on this terminal, or as plain lines where there is none."""
    if outer := _sink.get():  # a step inside a step: the outer one shows
        yield outer
        return
    console = Console(soft_wrap=True, highlight=False, emoji=False)
    bars = Progress(*_COLUMNS, console=console, transient=True, disable=not console.is_terminal)
    with bars, sending_to(_showing(bars)) as sink:
        yield sink


def _showing(bars: Progress, *, seconds_between_lines: float = 60.0) -> Sink:
    """A sink for these bars; without a terminal it prints a line a minute, and the ends of steps.

    That is of all steps where their news come, too: they alone then tell what time is left.
    """
    tasks: dict[str, TaskID] = {}
    printed: dict[str, float] = {}  # when a line was last printed
    first: dict[str, tuple[float, int]] = {}
    of_all: set[str] = set()  # what news of all steps are called

    def say(line: str) -> None:
        bars.console.print(output.printable(line, lines=True), markup=False, soft_wrap=True)
        sys.stdout.flush()

    def end(step: str, state: str, text: str) -> None:
        if step in tasks:
            bars.remove_task(tasks.pop(step))
        of_all.discard(step)
        if text or state == "failed":
            say(f"{step}: {'done, ' if state == 'finished' else 'failed '}{text}".rstrip())

    def sink(news: Update) -> None:
        if "message" in news:
            say(news["message"])
            return
        step, state, text = news["step"], news.get("state", "running"), news.get("text", "")
        if state != "running":
            end(step, state, text)
            return
        if "left" in news:
            for before in of_all - {step}:  # a round that has ended
                end(before, "finished", "")
            of_all.add(step)
        done, total = news.get("done", 0), news.get("total")
        at = f"{done}/{total}" if "done" in news else ""
        left = news.get("left", "") if of_all else _time_left(news, first)
        text = ", ".join(filter(None, [text, left]))
        if bars.console.is_terminal:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=None, text="", at="")
            bars.update(tasks[step], completed=done, total=total, text=text, at=at)
        elif step in of_all or (at and not of_all):
            now = time.monotonic()
            if now - printed.get(step, -math.inf) >= seconds_between_lines:
                printed[step] = now
                say(f"{step}: {', '.join(filter(None, [at, text]))}")

    return sink


def _time_left(news: Update, first: dict[str, tuple[float, int]]) -> str:
    """The time left of a step at its pace since its `first` news; empty before there is a pace."""
    if "done" not in news or not news.get("total"):
        return ""
    now, done = time.monotonic(), news["done"]
    started, at = first.setdefault(news["step"], (now, done))
    if done <= at:  # the first news, or a step that started again after its worker died
        first[news["step"]] = now, done
        return ""
    left = (now - started) / (done - at) * (news["total"] - done)
    return f"{phrases.minutes(left, 'at most')} left"
