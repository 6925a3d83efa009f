"""Names from outside in Markdown: shown as they are, whatever they are made of."""

import html
import re


def escaped(text: str) -> str:
    """Text that Markdown and HTML show as it is, in one line.

    What means nothing where it stands stays as it is, since some pages show what is written.
    """
    line = html.escape(" ".join(text.split()), quote=False)
    line = re.sub(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))", r"\\\1", line)
    return re.sub(r"^(\d*)([#+.)-])", r"\1\\\2", line)


def code(text: str) -> str:
    """Text as code within a line, between more backticks than it has in a row itself."""
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " * (len(fence) > 1)
    return f"{fence}{space}{text}{space}{fence}"


def as_html(text: str) -> str:
    """Text as it stands within an element of HTML, what is between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
