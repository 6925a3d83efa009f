"""Pages from templates: one HTML file that holds all it shows and opens offline.

What several pages are made of (style sheet, script, head, macros) is beside `page`, as page.*; the
macros take `colors`, of the variants. Everything is escaped that is not made here.
"""

import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from pipeline.report import drawing
from pipeline.report.embedding import embedded


def rendered(template: str, **shown: Any) -> str:
    """The page that a template beside this module makes of what it is to show."""
    strict = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
    )
    strict.trim_blocks = strict.lstrip_blocks = True
    strict.filters |= {
        "headings": _headings,
        "code": _code,
        "markdown": _markdown,
        "percent_encoded": quote,
    }
    strict.globals |= {"drawing": drawing, "embedded": embedded}
    return strict.get_template(template).render(shown)


def _headings(page: str) -> list[tuple[str, str]]:
    """The sections of a page, by the ids of their headings."""
    return re.findall(r'<h2 id="([^"]+)">([^<]+)</h2>', page)


def _code(text: str) -> Markup:
    """Text with `names` in the type of code; anything else in it is escaped."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))


def _markdown(text: str) -> Markup:
    """Markdown as HTML; HTML in it is escaped."""
    return Markup(MarkdownIt("commonmark", {"html": False}).render(text))
