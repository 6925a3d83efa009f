import os
import pty
import re
import subprocess
import sys
import textwrap
import time
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from pipeline.base import progress
from pipeline.base.progress import Sink, Update

LONG = "a message of [red]more[/red] than eighty characters, :bug: [1/2] and C:\\x, " + 60 * "="


def test_without_a_terminal_a_step_prints_a_line_a_minute_and_its_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with progress.display():
        for epoch in (1, 2, 3):
            progress.update(step="train bn", done=epoch, total=3, text=f"loss {epoch}")
        progress.update(step="train elu", text="compiling")
        progress.update(step="train bn", state="finished", text="best epoch 2")
        progress.update(step="train elu", state="failed")
        progress.update(step="compare", state="finished")  # what it came to is printed after it
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "train bn: 1/3, loss 1",
        "train bn: done, best epoch 2",
        "train elu: failed",
    ]


def showing(seconds_between_lines: float) -> Sink:
    return progress._showing(
        Progress(console=Console()), seconds_between_lines=seconds_between_lines
    )


def test_a_line_is_due_again_when_the_interval_has_passed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sink = showing(0.2)
    sink(Update(step="search", done=1, total=9))
    sink(Update(step="search", done=2, total=9))
    time.sleep(0.25)
    sink(Update(step="search", done=3, total=9, text="trial 1"))
    sink(Update(step="search", done=4, total=9))
    assert capsys.readouterr().out == ("search: 1/9\nsearch: 3/9, trial 1, less than 1 min left\n")


def test_where_all_steps_are_told_of_no_other_line_is_due(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sink = showing(0.0)
    for done in (0, 1):
        sink(Update(step="train elu", done=done, total=9))
        sink(Update(step="round 1", done=done, total=4, left="about 8 min left"))
    sink(Update(step="train elu", done=2, total=9))
    sink(Update(step="round 2", done=0, total=2, left=""))
    assert capsys.readouterr().out.splitlines() == [
        "train elu: 0/9",
        "round 1: 0/4, about 8 min left",
        "round 1: 1/4, about 8 min left",
        "round 2: 0/2",
    ]


def test_messages_are_printed_verbatim_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.display():
        progress.update(message=LONG)
        progress.update(step="[bold]odd[/bold] :bug:", text="[red]", state="finished")
    assert capsys.readouterr().out == f"{LONG}\n[bold]odd[/bold] :bug:: done, [red]\n"


def test_without_a_display_only_messages_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    progress.update(step="train bn", done=1, total=3)
    progress.update(message=LONG)
    assert capsys.readouterr().out == LONG + "\n"


def test_updates_go_to_the_innermost_sink_until_it_is_left() -> None:
    outer: list[Update] = []
    inner: list[Update] = []

    def fail_inside() -> None:
        with progress.sending_to(inner.append):
            progress.update(step="inner", done=1)
            raise KeyError

    with progress.sending_to(outer.append):
        with pytest.raises(KeyError):
            fail_inside()
        progress.update(message="outer")
    assert inner == [{"step": "inner", "done": 1}]
    assert outer == [{"message": "outer"}]


def test_a_display_inside_a_display_uses_the_outer_one() -> None:
    news: list[Update] = []
    with progress.sending_to(news.append), progress.display() as sink:
        sink({"message": "to the sink"})
        progress.update(message="through update")
    assert [one["message"] for one in news] == ["to the sink", "through update"]


def test_on_a_terminal_running_steps_have_a_bar_that_goes_when_they_end() -> None:
    program = textwrap.dedent(f"""
        import time
        from pipeline.base import progress
        with progress.display():
            progress.update(step="train [b]n", done=1, total=40, text="val_loss [1.5]")
            time.sleep(0.1)
            progress.update(step="train [b]n", done=2, total=40, text="val_loss [1.4]")
            time.sleep(0.3)
            progress.update(step="round 1", done=3, total=21, left="about 8 min left")
            progress.update(step="train [b]n", done=2, total=40, text="val_loss [1.4]")
            time.sleep(0.3)
            progress.update(step="round 2", done=0, total=20, left="about 7 min left")
            time.sleep(0.3)
            progress.update(message={LONG!r})
            progress.update(step="train [b]n", state="finished", text="best epoch 2")
            progress.update(step="search", state="failed")
            time.sleep(0.3)
            progress.update(message="later")
    """)
    screen = _shown_on_a_terminal(program)
    assert "train [b]n" in screen
    assert "2/40" in screen
    assert "val_loss [1.4]" in screen
    assert re.search(r"2/40 val_loss \[1.4\], less than 1 min left", screen)
    of_all, _, of_next = screen.partition("0/20")
    assert re.search(r"2/40 val_loss \[1.4\] *\nround 1 .* 3/21 about 8 min left", of_all)
    assert "round 1" not in of_next  # nor its counter, which would jump back
    assert "about 7 min left" in of_next
    assert "━" in screen
    assert LONG in screen.replace("\n", "")
    assert screen.count("train [b]n: done, best epoch 2") == 1
    assert screen.count("search: failed") == 1
    assert "train" not in screen.rsplit("later", 1)[1]


def _shown_on_a_terminal(program: str) -> str:
    """What a program prints on a terminal of 200 columns, without control sequences."""
    here, there = pty.openpty()
    environment = {
        **os.environ,
        "TERM": "xterm-256color",
        "COLUMNS": "200",
        "LINES": "50",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONPATH": str(Path(progress.__file__).parents[2]),
    }
    environment.pop("NO_COLOR", None)
    running = subprocess.Popen(
        [sys.executable, "-c", program], stdin=there, stdout=there, stderr=there, env=environment
    )
    os.close(there)
    shown = b""
    try:
        while received := os.read(here, 65536):
            shown += received
    except OSError:  # how Linux says that the program closed its terminal
        pass
    finally:
        os.close(here)
    assert running.wait() == 0, shown.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode()).replace("\r", "")


def test_time_left_follows_the_pace_of_what_is_done() -> None:
    left_at = partial(progress._time_left, first={})
    assert left_at(Update(step="train", text="compiling")) == ""
    assert left_at(Update(step="train", done=3)) == ""
    before = time.monotonic()
    assert left_at(Update(step="train", done=4, total=1004)) == ""
    time.sleep(0.2)
    left = _seconds(left_at(Update(step="train", done=6, total=1004)))
    elapsed = time.monotonic() - before
    assert 0.2 / 2 * 998 - 30 <= left <= elapsed / 2 * 998 + 30
    assert left_at(Update(step="train", done=1004, total=1004)) == "less than 1 min left"
    assert left_at(Update(step="another", done=6, total=1004)) == ""


def test_time_left_of_a_step_that_started_again_counts_from_then() -> None:
    left_at = partial(progress._time_left, first={})
    left_at(Update(step="train", done=1, total=1000))
    time.sleep(0.5)
    assert left_at(Update(step="train", done=2, total=1000)).startswith("at most ")
    assert left_at(Update(step="train", done=1, total=1000)) == ""
    before = time.monotonic()
    left = _seconds(left_at(Update(step="train", done=2, total=1000)))
    assert left <= (time.monotonic() - before) * 998 + 60


def _seconds(text: str) -> float:
    """The minutes that are said, at most, in seconds."""
    found = re.fullmatch(r"less than 1 min left|at most (\d+) min left", text)
    assert found, text
    return 60 * float(found[1] or 1)
