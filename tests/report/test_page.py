"""The report: its headlines claim what the tests show, and the page holds all that it shows."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest
from compared_runs import COMPARED_VARIANTS, evidence_of, five_variants, make_run
from pages import HOSTILE, SCREENS, Page, assert_accessible, assert_fits, chromium, opened

from pipeline.answers import tables, words
from pipeline.answers.evidence import Evidence
from pipeline.answers.fairness import Fact
from pipeline.answers.run_records import LeftOut
from pipeline.report import page
from pipeline.report.page import Origin

PIXEL = "data:image/png;base64,iVBORw0KGgo="


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


def in_words(evidence: Evidence) -> Page:
    """The page without its figures, which take seconds to draw."""
    return Page(page.html_report(evidence, {}))


@pytest.fixture(scope="module")
def whole() -> Page:
    """A page with all its figures."""
    evidence = full()
    return Page(page.html_report(evidence, page.sections(evidence)))


def test_page_has_every_part_in_order_and_the_verdict_first(whole: Page) -> None:
    headings = re.findall(r"<h[12][^>]*>(.*?)</h[12]>", whole.html, flags=re.DOTALL)
    title, *cards = headings[:5]
    assert title == "Which variant is better, converges faster, trains faster?"
    assert cards == [card.title for card in words.cards(full())]
    assert headings[5:] == [
        "Planned questions",
        "Results",
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
    assert tab.count("iframe") == tab.count("object") == 0
    assert [attrs["href"] for tag, attrs in tab.elements if tag == "link"] == ["data:,"]
    sources = [attrs["src"] or "" for _, attrs in tab.elements if "src" in attrs]
    assert len(sources) == 6
    assert all(source.startswith("data:") for source in sources)
    assert "@import" not in html
    assert re.findall(r"url\((?!#)", html) == []
    without_names = html.replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in without_names
    assert "https://" not in without_names


def test_page_has_every_figure_with_words_for_it_and_no_id_twice(whole: Page) -> None:
    tab = whole
    panels = 1 + 2 + 2 + 1 + 1 + 5 + 2 + 3 + 10 * 3  # of pairs: curves, activations
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
    for one in evidence.runs.itertuples():
        assert f"{one.seed} ({one.test_accuracy:.1%})" in tab.text
    assert "`" not in tab.text


def test_page_leads_to_every_section(whole: Page) -> None:
    links = [attrs.get("href") or "" for tag, attrs in whole.elements if tag == "a"]
    targets = [link for link in links if link.startswith("#")]
    sections = [f"#{attrs['id']}" for tag, attrs in whole.elements if tag == "h2" and "id" in attrs]
    assert targets == sections
    assert len(sections) == len(re.findall("<h2", whole.html)) - len(words.cards(full()))


def test_page_names_winners_by_their_colours_with_whom_they_beat() -> None:
    evidence = full()
    tab = in_words(evidence)
    for card in words.cards(evidence):
        assert card.title in tab.text
        for variant, than in card.winners.items():
            said = f"{variant} {than} {card.why[variant]}"
            assert said.replace("`", "") in tab.text
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
    tab = Page(page.html_report(hostile, {}, Origin(champion=HOSTILE, commit=HOSTILE)))
    assert tab.count("script") == 1
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
        "accuracy_by_time",
        "curves_by_epoch",
        "curves_by_seconds",
        "epoch_seconds",
    }
    text = in_words(evidence).text
    assert "Planned questions" not in text
    assert "No search: the learning rates were given" in text
    assert "MC Dropout" not in text.replace("MC accuracy", "")


def test_page_asks_in_its_title_what_the_comparison_asks() -> None:
    asked = in_words(evidence_of([make_run("bn", 1)], title="Is it `deeper` & better?"))
    assert re.findall(r"<h1>(.*)</h1>", asked.html) == [
        "Is it <code>deeper</code> &amp; better?",
    ]
    assert "1 training run of 1 variant on mnist_5k, on the same data, 1 seed each" in asked.text


ORIGIN = Origin(
    made="28 November 2026, 14:15 UTC",
    commit="0123456789abcdef",
    run_id="of_the_comparison",
    address="http://server/#/experiments/0/runs/of_the_comparison",
    runs={"elu-2": "http://server/#/experiments/0/runs/elu-2"},
    variants={"bn": "http://server/#/experiments/0/runs?searchFilter=bn"},
    figures={"accuracy_by_time": "http://server/#/experiments/0/runs/1/artifacts/accuracy.png"},
    champion="**Champion** of [the model](http://server/#/models/the): version 2 (`bn`).",
)


def test_page_says_where_it_comes_from_and_links_runs_variants_and_figures() -> None:
    evidence = full()
    some = {"accuracy_by_time": page.sections(evidence)["accuracy_by_time"]}
    tab = Page(page.html_report(evidence, some, ORIGIN))
    assert "Champion of the model: version 2 (bn)." in tab.text
    assert "Made 28 November 2026, 14:15 UTC Run of_the_c Commit 0123456789" in tab.text
    assert "Trained on one" in tab.text
    linked = [attrs["href"] for tag, attrs in tab.elements if tag == "a" and "target" in attrs]
    assert linked == [
        ORIGIN.address,
        ORIGIN.variants["bn"],
        ORIGIN.figures["accuracy_by_time"],
        ORIGIN.runs["elu-2"],
        ORIGIN.variants["bn"],
    ]
    assert "http://server/#/models/the" in tab.html


def test_a_colour_that_older_runs_have_is_darker_where_it_would_not_be_seen() -> None:
    evidence = evidence_of([make_run("bn", 1)], colors={"bn": "#F0E442"})
    html = page.html_report(evidence, page.sections(evidence))
    assert "f0e442" not in html.lower()
    assert evidence.colors["bn"] in html


def test_page_of_five_variants_and_twelve_seeds_is_light() -> None:
    curve = {"best_epoch": 60}
    rows = [one | curve for one in five_variants(range(12))]
    evidence = dataclasses.replace(full(), runs=pd.DataFrame(rows), curves=evidence_of(rows).curves)
    assert len(page.html_report(evidence, page.sections(evidence), ORIGIN)) < 2_000_000


# --- In a browser -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page with all its figures and links."""
    evidence = full()
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page.html_report(evidence, page.sections(evidence), ORIGIN), "utf-8")
    return path.as_uri()


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_page_opens_offline_without_errors_and_fits_every_screen(
    browser: Any, file: str, width: int, scheme: str
) -> None:
    size = {"width": width, "height": 900}
    tab, problems = opened(browser, file, viewport=size, color_scheme=scheme)
    assert_fits(tab, width=width, dark=scheme == "dark")
    assert problems == []


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_violates_no_rule_of_accessibility(browser: Any, file: str, scheme: str) -> None:
    assert_accessible(browser, file, scheme)


@pytest.mark.browser
def test_accuracy_is_seen_on_a_phone_beside_every_variant(browser: Any, file: str) -> None:
    tab, _ = opened(browser, file, viewport={"width": 390, "height": 844})
    rows = tab.locator(".results tbody tr")
    assert rows.count() == 5
    for row in rows.all():
        first = [cell for cell in row.locator("td").all() if cell.bounding_box()]
        boxes = {cell.get_attribute("data-column"): cell.bounding_box() for cell in first}
        name, accuracy = boxes.pop("Variant"), boxes.pop("Test accuracy")
        assert accuracy["y"] == pytest.approx(name["y"], abs=2)
        assert accuracy["x"] + accuracy["width"] <= 390
        assert all(box["y"] > accuracy["y"] for box in boxes.values())


@pytest.mark.browser
def test_a_click_on_the_legend_hides_a_variant_in_all_figures(browser: Any, file: str) -> None:
    tab, problems = opened(browser, file)
    drawn = tab.locator(".drawing [data-variant=bn]")
    chips = tab.locator(".legend [data-variant=bn]")
    assert drawn.count() > 20
    # What has its colour, also the line to its name.
    colored = tab.locator(".drawing").first.locator("svg path[style*='#d55e00']")
    is_seen = "all => all.some(one => one.getClientRects().length)"
    assert colored.evaluate_all(is_seen)
    chips.first.click()
    assert not any(one.is_visible() for one in drawn.all())
    assert not colored.evaluate_all(is_seen)
    assert {one.get_attribute("aria-pressed") for one in chips.all()} == {"false"}
    assert tab.locator(".drawing [data-variant=elu][data-series=mean]").first.is_visible()
    chips.last.press("Enter")
    assert drawn.and_(tab.locator("[data-series=mean]")).first.is_visible()
    assert {one.get_attribute("aria-pressed") for one in chips.all()} == {"true"}
    assert problems == []


@pytest.mark.browser
def test_the_values_of_a_point_are_said_where_a_pointer_or_a_key_is(
    browser: Any, file: str
) -> None:
    tab, problems = opened(browser, file)
    said, figure = tab.locator("#said"), tab.locator(".drawing").first
    assert not said.is_visible()
    point = figure.locator("[data-variant=bn][data-series=mean] use").first
    point.hover(force=True)
    evidence = full()
    row = evidence.summary.set_index("variant").loc["bn"]
    expected = f"Training time (s): 12\nTest accuracy (%): {100 * row['test_accuracy']:.4g}"
    assert said.text_content() == f"bn, mean\n{expected}"
    tab.mouse.move(1, 1)
    assert not said.is_visible()
    figure.focus()
    figure.press("ArrowRight")
    assert said.is_visible()
    assert "Training time (s): 12" in said.text_content()
    figure.blur()
    assert not said.is_visible()
    assert problems == []


@pytest.mark.browser
def test_the_data_of_every_figure_can_be_saved_also_without_the_script(
    browser: Any, file: str
) -> None:
    tab, _ = opened(browser, file, java_script_enabled=False)
    links = tab.locator("figure a[download]")
    assert links.count() == tab.locator(".drawing").count() > 15
    with tab.expect_download() as saving:
        links.first.click()
    assert saving.value.suggested_filename == "accuracy_by_time.csv"
    table = pd.read_csv(saving.value.path())
    assert list(table) == ["variant", "series", "Training time (s)", "Test accuracy (%)"]
    means = table[table["series"] == "mean"].set_index("variant")["Test accuracy (%)"]
    expected = 100 * full().summary.set_index("variant")["test_accuracy"]
    assert means.to_dict() == pytest.approx(expected.to_dict(), rel=1e-5)


def test_a_training_that_starts_from_another_links_it() -> None:
    rows = [make_run("elu", 1), make_run("bn", 1, source_run="abcdef0123456789")]
    of = evidence_of([{"source_run": ""} | row for row in rows])
    runs = {"abcdef0123456789": "http://localhost/#/source"}
    html = page.html_report(of, {}, Origin(runs=runs))
    text = Page(html).text
    assert "1 (50.0%, from abcdef01)" in text
    assert text.count(", from ") == 1
    assert '<a href="http://localhost/#/source"' in html
    assert "and the run whose layers it took." in text
    assert "whose layers" not in in_words(evidence_of([make_run("elu", 1)])).text
