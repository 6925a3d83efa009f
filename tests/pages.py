"""Pages, what they are made of, and how a browser shows them; for several test modules."""

import itertools
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from typing import Any

import pytest

HOSTILE = "<script>alert('x')</script>"
SCREENS = list(itertools.product((390, 1280), ("light", "dark")))
# The smallest size of a text in pixels; that in an SVG grows and shrinks with it.
SMALLEST = """
Math.min(...[...document.querySelectorAll('main *')]
    .filter(one => one.checkVisibility()
        && [...one.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
    .map(one => parseFloat(getComputedStyle(one).fontSize)
        * (one.ownerSVGElement ? one.getScreenCTM().a || Math.abs(one.getScreenCTM().b) : 1)))
"""


class Page(HTMLParser):
    """The elements of a page, and the text outside of style sheets and scripts."""

    def __init__(self, html: str):
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] not in ("style", "script"):
            self.words.append(data)

    def count(self, name: str) -> int:
        return sum(tag == name for tag, _ in self.elements)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's; without it the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program)
        yield browser
        browser.close()


def opened(browser: Any, address: str, **context: Any) -> tuple[Any, list[str]]:
    """A page without a network, and what goes wrong in it."""
    tab = browser.new_context(offline=True, **context).new_page()
    problems: list[str] = []
    tab.on("console", lambda message: problems.append(message.text))
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("requestfailed", lambda request: problems.append(request.url))
    tab.goto(address)
    return tab, problems


def assert_accessible(browser: Any, address: str, scheme: str) -> None:
    """No rule of axe-core is violated, on a phone and on a screen."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is missing")
    tab, problems = opened(browser, address, viewport={"width": 390, "height": 900})
    for width in (390, 1280):
        tab.emulate_media(color_scheme=scheme)
        tab.set_viewport_size({"width": width, "height": 900})
        tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        found = axe.Axe().run(tab).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    assert problems == []


def assert_fits(tab: Any, *, width: int, dark: bool) -> None:
    """Nothing is wider than the screen or too small, and colours are as the scheme says."""
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    ink, paper = tab.evaluate(
        "[getComputedStyle(document.querySelector('.drawing text')).fill,"
        " getComputedStyle(document.body).backgroundColor]"
    )
    is_dark = [sum(map(int, re.findall(r"\d+", color)[:3])) < 3 * 128 for color in (ink, paper)]
    assert is_dark == [not dark, dark]
    assert tab.evaluate(SMALLEST) >= 11
