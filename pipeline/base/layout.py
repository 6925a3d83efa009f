"""Text within the width of a terminal: prose, lists and tables; 80 columns where there is none."""

import inspect
import textwrap
from collections.abc import Collection, Sequence

from rich.cells import cell_len
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

WIDEST = 100  # columns, of prose: longer lines are hard to read
NARROWEST = 20  # columns, of the first of a table, where it is broken


def width() -> int:
    """The columns of the terminal, or as COLUMNS says."""
    return Console().width


def filled(text: str, columns: int, *, indent: str = "  ") -> str:
    """Prose on lines that fit, but for words that are longer; all but the first are indented."""
    return textwrap.fill(
        text,
        min(columns, WIDEST),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def listed(start: str, items: Sequence[str], columns: int, *, lines: int = 1) -> str:
    """A list in prose of at most so many lines: what has no room is counted.

    Of the first item there is a part in any case; all of it after a start that fills the lines.
    """
    rest, cut = "", " ..."
    for shown in range(len(items), 0, -1):
        rest = f"; and {len(items) - shown} more" if shown < len(items) else ""
        text = filled(f"{start}{'; '.join(items[:shown])}{rest}", columns)
        if text.count("\n") < lines:
            return text
    room = lines * (min(columns, WIDEST) - 2) - len(start + rest)
    first = items[0] if items else ""
    if room > len(cut):
        first = textwrap.shorten(first, room, placeholder=cut)
    return filled(f"{start}{first}{rest}", columns)


def help_text(docstring: str | None) -> str:
    """A docstring for Typer, which keeps line breaks: here those of examples alone, after \\b."""
    paragraphs = inspect.cleandoc(docstring or "").split("\n\n")
    return "\n\n".join(one if one[:1] == "\b" else one.replace("\n", " ") for one in paragraphs)


def table(
    rows: Sequence[Sequence[str]], columns: int, *, keep: int, right: Collection[str] = ()
) -> list[str]:
    """Rows, the header first, as lines: those columns that fit.

    The first `keep` are there even where this takes breaking those of the first column; the others
    stay whole. Columns whose header is one of `right` are aligned there.
    """
    first, *others = (max(map(cell_len, column)) for column in zip(*rows, strict=True))
    shown = len(others)
    while (
        shown
        and (min(first, NARROWEST) if shown < keep else first)
        + sum(2 + one for one in others[:shown])
        > columns
    ):
        shown -= 1
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    for place, name in enumerate(rows[0][: shown + 1]):
        side: JustifyMethod = "right" if name in right else "left"
        made.add_column(justify=side, no_wrap=place > 0, overflow="fold")
    for row in rows:  # as text: Rich would read square brackets as markup
        made.add_row(*map(Text, row[: shown + 1]))
    console = Console(width=columns, force_terminal=False, emoji=False, highlight=False)
    with console.capture() as printed:
        console.print(made)
    return [line.rstrip() for line in printed.get().splitlines()]
