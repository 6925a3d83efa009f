"""The report: its headlines claim what the tests show, and the page holds all that it shows."""

import dataclasses
import itertools
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from compared_runs import COMPARED_VARIANTS, evidence_of, five_variants, make_run

from pipeline.answers import tables, words
from pipeline.answers.evidence import Evidence
from pipeline.answers.fairness import Fact, LeftOut
from pipeline.report import page

PIXEL = "data:image/png;base64,iVBORw0KGgo="
HOSTILE = "<script>alert('x')</script>"


def full() -> Evidence:
    """Five variants with everything that a report can show."""
    trials = pd.DataFrame(
        {
            "number": [0, 1],
            "learning_rate": [1e-3, 1e-2],
            "value": [1.5, 1.9],
            "state": ["COMPLETE", "PRUNED"],
        }
    )
    layers = {"mean": [0.1] * 20, "standard_deviation": [1.0] * 20}
    bins = {"confidence": [0.5, 0.9], "accuracy": [0.4, 0.8], "count": [10, 30]}
    image = {"true": "cat", "guesses": [["dog", 0.5], ["cat", 0.4]], "entropy": 1.1, "image": PIXEL}
    record = {
        "deterministic_accuracy": 0.5,
        "accuracy_by_samples": [0.4, 0.5],
        "calibration": {"deterministic": bins, "MC Dropout": bins},
        "most_uncertain": [image] * 3,
    }
    figures = {"seeds": 3, "accuracy": 0.5, "nll": 1.5, "ece": 0.07}
    models = [{"variant": "elu", "model": name, **figures} for name in ("one seed", "ensemble")]
    return evidence_of(
        five_variants([1, 2, 3]),
        ensembles=pd.DataFrame(models),
        searches=dict.fromkeys(COMPARED_VARIANTS, trials),
        activations={name: {"after training": layers} for name in COMPARED_VARIANTS},
        uncertainty={"alpha_dropout": record, "one_cycle": record},
        examples={name: f"train {name} seed 1" for name in COMPARED_VARIANTS},
    )


def in_words(evidence: Evidence) -> "Page":
    """The page without its figures, which take seconds to draw."""
    return Page(page.html_report(evidence, {}))


class Page(HTMLParser):
    """The elements of a page, and the text outside of style sheets."""

    def __init__(self, html: str):
        super().__init__()
        self.html = html
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] != "style":
            self.words.append(data)

    def count(self, name: str) -> int:
        return sum(tag == name for tag, _ in self.elements)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())


@pytest.fixture(scope="module")
def whole() -> Page:
    """A page with all its figures."""
    evidence = full()
    return Page(page.html_report(evidence, page.sections(evidence)))


def test_page_has_every_part_in_order_and_the_verdict_first(whole: Page) -> None:
    headings = re.findall(r"<h[12][^>]*>(.*?)</h[12]>", whole.html, flags=re.DOTALL)
    title, *cards = headings[:4]
    assert title.startswith("Which architecture is better on mnist_5k")
    assert cards == [card.title for card in words.cards(full())]
    assert headings[4:] == [
        "Results",
        "Planned questions",
        "What changed",
        "Learning curves by epoch",
        "Learning curves by training time",
        "Side by side",
        "Time to the target",
        "Time per epoch",
        "Learning-rate searches",
        "Self-normalisation",
        "One seed, MC Dropout, ensembles",
        "MC Dropout",
        "Is the comparison fair?",
    ]


def test_page_needs_nothing_but_itself(whole: Page) -> None:
    tab, html = whole, whole.html
    assert tab.count("script") == tab.count("iframe") == tab.count("object") == 0
    assert [attrs["href"] for tag, attrs in tab.elements if tag == "link"] == ["data:,"]
    sources = [attrs["src"] or "" for _, attrs in tab.elements if "src" in attrs]
    assert len(sources) == 6
    assert all(source.startswith("data:") for source in sources)
    assert "@import" not in html
    assert re.findall(r"url\((?!#)", html) == []
    without_names = html.replace("http://www.w3.org/2000/svg", "")
    assert "http" not in without_names


def test_page_has_every_figure_with_words_for_it_and_no_id_twice(whole: Page) -> None:
    tab, panels = whole, 2 + 2 + 2 + 1 + 1 + 5 + 2 + 3 + 10 * 3  # of pairs: curves, activations
    assert tab.count("svg") == panels
    described = [attrs for _, attrs in tab.elements if attrs.get("role") == "img"]
    assert len(described) == panels
    assert all(len(attrs["aria-label"] or "") > 20 for attrs in described)
    # What a picture shows stands below it.
    assert all(attrs.get("alt") == "" for tag, attrs in tab.elements if tag == "img")
    ids = [attrs["id"] for _, attrs in tab.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_page_has_the_table_of_the_summary_and_every_answer() -> None:
    evidence = full()
    tab = in_words(evidence)
    shown = (tables.summary_table, tables.answers_table, tables.ensembles_table)
    for row in (row for table in shown for row in table(evidence)):
        assert all(cell in tab.text for cell in row)
    for text in (*words.scope(evidence), words.table_note(evidence)):
        assert tab.text.count(text.replace("`", "")) == 1
    for said in words.answers(evidence):
        for text in said:
            assert text.replace("`", "") in tab.text
    assert sum(attrs.get("class") == "answer" for _, attrs in tab.elements) == 11
    assert "`" not in tab.text


def test_page_names_winners_by_their_colours_with_whom_they_beat() -> None:
    evidence = full()
    tab = in_words(evidence)
    for card in words.cards(evidence):
        assert card.title in tab.text
        for variant, than in card.winners.items():
            assert f"{variant} {than.replace('`', '')}" in tab.text
    winners = [name for card in words.cards(evidence) for name in card.winners]
    assert sum(attrs.get("class") == "winner" for _, attrs in tab.elements) == len(winners) > 0


def test_page_escapes_whatever_comes_from_data() -> None:
    evidence = full()
    record = dict(evidence.uncertainty["alpha_dropout"])
    record["most_uncertain"] = [
        {"true": HOSTILE, "guesses": [[HOSTILE, 0.5]], "entropy": 1.0, "image": PIXEL}
    ]
    hostile = dataclasses.replace(
        evidence,
        dataset=HOSTILE,
        facts=[Fact(name="Host", finding="differs", detail=HOSTILE)],
        left_out=[LeftOut(run_id="1", name=HOSTILE, reason=HOSTILE, replaced=False)],
        examples=dict.fromkeys(COMPARED_VARIANTS, HOSTILE),
        uncertainty={"alpha_dropout": record},
        title=HOSTILE,
    )
    tab = in_words(hostile)
    assert tab.count("script") == 0
    assert tab.text.count(HOSTILE) >= 8


def test_page_names_what_is_not_compared_and_what_is_flagged() -> None:
    evidence = dataclasses.replace(
        full(),
        facts=[Fact(name="Host", finding="differs", detail="one: elu; two: bn")],
        left_out=[LeftOut(run_id="1", name="train bn seed 2", reason="diverged", replaced=False)],
    )
    text = in_words(evidence).text
    assert "Not compared: train bn seed 2: diverged" in text
    assert "Before trusting it: host (differs). The table at the end" in text
    assert "Before trusting it" not in in_words(full()).text


def test_page_of_the_least_there_can_be() -> None:
    evidence = evidence_of([make_run("bn", 1)])
    assert set(page.sections(evidence)) == {
        "curves_by_epoch",
        "curves_by_seconds",
        "epoch_seconds",
    }
    text = in_words(evidence).text
    assert "Planned questions" not in text
    assert "No search: the learning rates were given" in text
    assert "MC Dropout" not in text.replace("MC accuracy", "")


def test_page_says_what_is_asked_below_its_title() -> None:
    asked = in_words(evidence_of([make_run("bn", 1)], title="Is it `deeper` & better?"))
    assert "and trains faster? Is it `deeper` & better? 1 training run" in asked.text
    assert asked.count("p") == in_words(evidence_of([make_run("bn", 1)])).count("p") + 1


@pytest.mark.browser
def test_page_opens_offline_without_errors_and_fits_every_screen(
    whole: Page, tmp_path: Path
) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    file = tmp_path / "report.html"
    file.write_text(whole.html, "utf-8")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program)
        for width, scheme in itertools.product((390, 1280), ("light", "dark")):
            size = {"width": width, "height": 900}
            context = browser.new_context(viewport=size, color_scheme=scheme, offline=True)
            assert_fits(context.new_page(), file.as_uri(), width=width, dark=scheme == "dark")
        browser.close()


def assert_fits(tab: Any, address: str, *, width: int, dark: bool) -> None:
    problems: list[str] = []
    tab.on("console", lambda message: problems.append(message.text))
    tab.on("requestfailed", lambda request: problems.append(request.url))
    tab.goto(address)
    assert problems == []
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    ink, paper = tab.evaluate(
        "[getComputedStyle(document.querySelector('svg text')).fill,"
        " getComputedStyle(document.body).backgroundColor]"
    )
    is_dark = [sum(map(int, re.findall(r"\d+", color)[:3])) < 3 * 128 for color in (ink, paper)]
    assert is_dark == [not dark, dark]
    smallest = tab.evaluate(
        "Math.min(...[...document.querySelectorAll('svg text')].map("
        "text => text.getBoundingClientRect().height).filter(height => height > 0))"
    )
    assert smallest >= 8  # pixels: it can be read on a phone
