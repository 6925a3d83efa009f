"""The report: its headlines claim what the tests show, and the page holds all that it shows."""

import dataclasses
import itertools
import re
import shutil
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from compared_runs import COMPARED_VARIANTS, five_variants, make_curves, make_run
from pipeline.comparisons.variants import VARIANTS

from pipeline.answers import words
from pipeline.answers.fairness import Fact, LeftOut
from pipeline.answers.statistics import paired_tests
from pipeline.answers.summary import summarize
from pipeline.report import page
from pipeline.report.page import Comparison, Uncertainty, headlines

PIXEL = "data:image/png;base64,iVBORw0KGgo="
HOSTILE = "<script>alert('x')</script>"


def compared(rows: list[dict], val_losses: Mapping | None = None, **more: Any) -> Comparison:
    runs = pd.DataFrame(rows)
    curves = make_curves(runs, val_losses)
    curves["val_accuracy"] = 1 - curves["val_loss"] / 3
    curves["epoch_seconds"] = curves.groupby("run_id")["elapsed_seconds"].diff().fillna(2.0)
    given = {
        "dataset": "mnist_5k",
        "baseline": "elu",
        "runs": runs,
        "curves": curves,
        "summary": summarize(runs, curves),
        "tests": paired_tests(runs, curves),
        "colors": {variant.name: variant.color for variant in VARIANTS.values()},
        "facts": [Fact(name="Host", finding="same", detail="one", flagged=False)],
    }
    return Comparison(**(given | more))


def accuracies(**by_variant: list[float]) -> list[dict]:
    return [
        make_run(variant, seed, test_accuracy=value, best_val_accuracy=value)
        for variant, values in by_variant.items()
        for seed, value in enumerate(values, start=1)
    ]


def full() -> Comparison:
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
    return compared(
        five_variants([1, 2, 3]),
        searches=dict.fromkeys(COMPARED_VARIANTS, trials),
        activations={name: {"after training": layers} for name in COMPARED_VARIANTS},
        uncertainty={
            "alpha_dropout": Uncertainty(run_name="train 4", record=record),
            "one_cycle": Uncertainty(run_name="train 5", record=record),
        },
        examples={name: f"train {name} seed 1" for name in COMPARED_VARIANTS},
    )


def in_words(comparison: Comparison) -> "Page":
    """The page without its figures, which take seconds to draw."""
    return Page(page.html_report(comparison, {}))


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
    comparison = full()
    return Page(page.html_report(comparison, page.sections(comparison)))


# The headlines


def test_a_clear_lead_is_named_without_reserve() -> None:
    best, *_ = headlines(compared(accuracies(elu=[0.40, 0.41, 0.42], bn=[0.501, 0.51, 0.519])))
    assert (best.title, best.variants, best.proven) == ("Best model", ("bn",), True)
    assert best.evidence == "Ahead of every other variant beyond noise."
    assert best.figure.startswith("test accuracy 51.0 \u00b1 2.2%")


def test_the_verdict_is_the_headlines_in_one_line() -> None:
    comparison = compared(accuracies(elu=[0.40, 0.41, 0.42], bn=[0.501, 0.51, 0.519]))
    best, converges, trains = headlines(comparison)
    assert best.variants == ("bn",)
    assert page.verdict(comparison) == (
        f"Best model: **bn**. {converges.title}: **{'**, **'.join(converges.variants)}**. "
        f"{trains.title}: **{'**, **'.join(trains.variants)}**."
    )


def test_a_lead_within_the_noise_is_one_on_average() -> None:
    best, *_ = headlines(compared(accuracies(elu=[0.47, 0.49, 0.45], bn=[0.48, 0.47, 0.48])))
    assert (best.title, best.variants) == ("Best model, on average", ("bn",))
    assert best.evidence == "Not distinguishable from `elu`."
    assert not best.proven


def test_a_lead_over_some_names_those_that_it_is_not_told_apart_from() -> None:
    rows = accuracies(elu=[0.4, 0.41, 0.42], bn=[0.501, 0.51, 0.519], selu=[0.46, 0.52, 0.53])
    best, *_ = headlines(compared(rows))
    assert best.evidence == "Beyond noise ahead of `elu`. Not distinguishable from `selu`."


def test_a_lead_that_the_planned_tests_do_not_bear_out_is_not_claimed() -> None:
    rows = accuracies(elu=[0.40, 0.41, 0.42], bn=[0.43, 0.445, 0.465])
    comparison = compared(rows)
    planned = comparison.tests.set_index("metric").loc["test_accuracy"]
    assert planned["p_value"] < 0.05 <= planned["p_holm"]  # alone it would be distinguishable
    best, *_ = headlines(comparison)
    assert (best.variants, best.proven) == (("bn",), False)


def test_all_pairs_are_corrected_for_also_where_no_test_was_planned() -> None:
    values = {name: [0.4, 0.41, 0.42] for name in ("elu", "bn", "selu", "alpha_dropout")}
    rows = accuracies(**values, one_cycle=[0.42, 0.425, 0.445])  # p = 0.02 against each
    best, *_ = headlines(compared(rows))
    assert best.variants == ("one_cycle",)
    assert best.evidence == "Not distinguishable from `elu`, `bn`, `selu` and `alpha_dropout`."


def test_variants_that_are_level_are_both_named() -> None:
    rows = accuracies(elu=[0.40, 0.42], bn=[0.42, 0.40])
    best, *_ = headlines(compared(rows))
    assert best.variants == ("elu", "bn")
    assert best.evidence == "Level with each other."


def test_one_seed_shows_nothing() -> None:
    for headline in headlines(compared(accuracies(elu=[0.4], bn=[0.5]))):
        assert headline.evidence.startswith("One pair of runs or none: nothing can be tested.")
        assert headline.title.endswith(", on average")
        assert not headline.proven


def test_one_variant_is_compared_with_nothing() -> None:
    assert {headline.evidence for headline in headlines(compared(accuracies(elu=[0.4, 0.5])))} == {
        "There is no other variant to compare it with."
    }


def test_the_one_that_more_seeds_got_there_with_converges_fastest() -> None:
    rows = [make_run(variant, seed) for variant in ("elu", "bn") for seed in (1, 2, 3)]
    slow = [1.9, 1.8, 1.7, 1.6, 1.5]
    never = [1.9, 1.9, 1.9, 1.9, 1.9]
    losses = {f"elu-{seed}": slow for seed in (1, 2, 3)}
    losses |= {"bn-1": [1.4], "bn-2": never, "bn-3": never}  # fast, but once only
    _, converges, _ = headlines(compared(rows, losses))
    assert converges.variants == ("elu",)
    assert converges.figure.startswith("5.0 \u00b1 0.0 epochs")


def test_a_comparison_without_the_baseline_has_no_headline_on_convergence() -> None:
    rows = accuracies(bn=[0.4, 0.41], selu=[0.5, 0.52])
    titles = [headline.title.split(",")[0] for headline in headlines(compared(rows))]
    assert titles == ["Best model", "Trains fastest"]


def test_another_order_in_seconds_than_in_epochs_is_said() -> None:
    rows = [make_run("elu", seed, median_epoch_seconds=1 + seed / 100) for seed in (1, 2, 3)]
    rows += [make_run("bn", seed, median_epoch_seconds=9 + seed / 50) for seed in (1, 2, 3)]
    losses = {f"bn-{seed}": [1.8, 1.5] for seed in (1, 2, 3)}
    _, converges, trains = headlines(compared(rows, losses))
    assert converges.variants == ("bn",)
    assert "In seconds: `elu`, 5.1 \u00b1 0.1 s." in converges.evidence
    assert (trains.title, trains.variants) == ("Trains fastest", ("elu",))


# The page


def test_page_has_every_part_in_order_and_the_verdict_first(whole: Page) -> None:
    headings = re.findall(r"<h[12][^>]*>(.*?)</h[12]>", whole.html, flags=re.DOTALL)
    title, *cards = headings[:4]
    assert title.startswith("Which architecture is better on mnist_5k")
    assert [card.split(",")[0] for card in cards] == [
        "Best model",
        "Converges fastest",
        "Trains fastest",
    ]
    assert headings[4:] == [
        "Results",
        "Planned questions",
        "Learning curves by epoch",
        "Learning curves by training time",
        "Time to the baseline's best validation loss",
        "Time per epoch",
        "Learning-rate searches",
        "Self-normalisation",
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
    tab, panels = whole, 2 + 2 + 1 + 1 + 5 + 2 + 3
    assert tab.count("svg") == panels
    described = [attrs for _, attrs in tab.elements if attrs.get("role") == "img"]
    assert len(described) == panels
    assert all(len(attrs["aria-label"] or "") > 20 for attrs in described)
    assert all(attrs.get("alt") for tag, attrs in tab.elements if tag == "img")
    ids = [attrs["id"] for _, attrs in tab.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_page_has_the_table_of_the_summary_and_every_answer() -> None:
    comparison = full()
    tab = in_words(comparison)
    for row in words.format_table(comparison.summary):
        assert all(cell in tab.text for cell in row)
    answers = words.answers(comparison.summary, comparison.tests)
    assert len(answers) == 12
    assert sum(attrs.get("class") == "answer" for _, attrs in tab.elements) == 12
    assert "`" not in tab.text


def test_page_escapes_whatever_comes_from_data() -> None:
    comparison = full()
    record = dict(comparison.uncertainty["alpha_dropout"].record)
    record["most_uncertain"] = [
        {"true": HOSTILE, "guesses": [[HOSTILE, 0.5]], "entropy": 1.0, "image": PIXEL}
    ]
    hostile = dataclasses.replace(
        comparison,
        dataset=HOSTILE,
        facts=[Fact(name="Host", finding="differs", detail=HOSTILE, flagged=True)],
        left_out=[LeftOut(run_id="1", name=HOSTILE, reason=HOSTILE, replaced=False)],
        examples=dict.fromkeys(COMPARED_VARIANTS, HOSTILE),
        uncertainty={"alpha_dropout": Uncertainty(run_name=HOSTILE, record=record)},
    )
    tab = in_words(hostile)
    assert tab.count("script") == 0
    assert tab.text.count(HOSTILE) >= 8


def test_page_names_what_is_not_compared_and_what_is_flagged() -> None:
    comparison = dataclasses.replace(
        full(),
        facts=[Fact(name="Host", finding="differs", detail="one: elu; two: bn", flagged=True)],
        left_out=[LeftOut(run_id="1", name="train bn seed 2", reason="diverged", replaced=False)],
    )
    text = in_words(comparison).text
    assert "Not compared: train bn seed 2: diverged" in text
    assert "Before trusting it: host (differs). The table at the end" in text
    assert "Before trusting it" not in in_words(full()).text


def test_page_of_the_least_there_can_be() -> None:
    comparison = compared([make_run("bn", 1)])
    assert set(page.sections(comparison)) == {
        "curves_by_epoch",
        "curves_by_seconds",
        "epoch_seconds",
    }
    text = in_words(comparison).text
    assert "There is no other variant" in text
    assert "No search: the learning rates were given" in text
    assert "MC Dropout" not in text.replace("MC accuracy", "")


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
