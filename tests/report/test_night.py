"""What a night shows: first what somebody has to look at, on a page, in a note, in a terminal."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from made_nights import ADDRESS, BETTER, REPLAYED, TURNED, WORSE, nights, report
from markdown_it import MarkdownIt
from pages import HOSTILE, SCREENS, Page, assert_accessible, assert_fits, chromium, opened

from pipeline.answers.night import Finding
from pipeline.report import night

ALL = (WORSE, TURNED, REPLAYED, BETTER)


def page(*findings: Finding, **changes: Any) -> Page:
    return Page(night.html(report(*findings, **changes)))


# --- The page -----------------------------------------------------------------------------------


def test_alarms_come_first_with_since_when_and_why() -> None:
    text = page(*ALL).text
    in_order = (
        "Night of twenty_layers on cifar10",
        "Began 2026-11-28 02:05 UTC, took 14 min.",
        f"2 alarms {WORSE.text}",
        f"Since 2026-11-20. Probable cause: {WORSE.cause}",
        f"{TURNED.text} For the first time.",
        "What else it found",
        REPLAYED.text,
        f"{BETTER.text} Since 2026-11-01. Probable cause: {BETTER.cause}",
        "This night",
        "Trend over nights",
    )
    places = [text.index(one) for one in in_order]
    assert places == sorted(places)
    assert text.count(TURNED.text) == 1
    assert night.QUIET not in text


def test_a_quiet_night_says_so_in_one_line() -> None:
    text = page(REPLAYED).text
    assert f"took 14 min. {night.QUIET} What it found {REPLAYED.text}" in text
    assert "0 alarms" not in text


def test_the_page_of_a_first_night_that_came_to_nothing() -> None:
    text = page(links={}, trend=nights(0), colors={}, minutes=0.2).text
    assert "took less than 1 min. Quiet: nothing to look at. Trend over nights No night" in text


def test_the_page_needs_nothing_but_itself_and_has_each_id_once() -> None:
    found = page(*ALL, links={})
    assert re.findall(r"url\((?!#)", found.html) == []
    assert "://" not in found.html.replace("http://www.w3.org/2000/svg", "").replace("https?:", "")
    assert not [attrs for _, attrs in found.elements if "src" in attrs]
    ids = [attrs["id"] for _, attrs in found.elements if "id" in attrs]
    assert len(set(ids)) == len(ids)


def test_whatever_comes_from_people_is_shown_as_it_is() -> None:
    hostile = Finding(text=HOSTILE, is_alarm=True, since=HOSTILE, cause=HOSTILE)
    calm = Finding(text=HOSTILE, since=HOSTILE, cause=HOSTILE)
    names = (HOSTILE, '"><b>')
    changes = {"comparison": HOSTILE, "dataset": HOSTILE, "links": {HOSTILE: f'"{HOSTILE}'}}
    trend, colors = nights(3, names=names), dict.fromkeys(names, "#0072B2")
    found = page(hostile, calm, **changes, trend=trend, colors=colors)
    assert (found.count("script"), found.count("b")) == (1, 0)
    assert found.text.count(HOSTILE) >= 9


def test_a_figure_of_a_year_and_twelve_variants_is_light() -> None:
    names = [f"variant_{place}" for place in range(12)]
    found = page(*ALL, trend=nights(400, names=names), colors=dict.fromkeys(names, "#0072B2"))
    assert len(found.html) < 2_000_000


# --- The note and the terminal ------------------------------------------------------------------


def test_the_note_begins_with_the_alarms_and_links_within_the_server_that_shows_it() -> None:
    first, second, others, links, about = night.note(report(*ALL), 8000).split("\n\n")
    assert first.startswith(f"**Alarm 1 of 2:** {WORSE.text} Since 2026-11-20. Probable cause: ")
    assert second == f"**Alarm 2 of 2:** {TURNED.text} For the first time."
    assert others.startswith(f"- {REPLAYED.text}\n- {BETTER.text}")
    assert links == f"[This night](<{ADDRESS.partition('5000/')[2]}>)"
    assert about == "*twenty_layers on cifar10, 2026-11-28 02:05 UTC, 14 min*"
    assert night.note(report(WORSE), 8000).startswith(f"**Alarm:** {WORSE.text}")
    assert night.note(report(REPLAYED), 8000).startswith(f"**{night.QUIET}**\n\n- Replay")


def test_a_note_is_cut_in_its_middle_at_a_whole_finding() -> None:
    many = [Finding(text=f"Finding {place}, and a little more.") for place in range(400)]
    note = night.note(report(WORSE, *many), 8000)
    assert 7900 < len(note) <= 8000
    *_, last, dots = note.split("\n\n")[1].split("\n")
    assert re.fullmatch(r"- Finding \d+, and a little more\.", last)
    assert dots == "..."
    assert note.endswith("14 min*")
    alone = night.note(report(Finding(text="word " * 4000, is_alarm=True)), 8000)
    assert len(alone) <= 8000
    assert alone.endswith("14 min*")


def test_names_in_a_note_are_shown_as_they_are() -> None:
    hostile = Finding(text=f"**bn** is `{HOSTILE}` [worse](javascript:x)", is_alarm=True)
    html = MarkdownIt().render(night.note(report(hostile, links={"<a> [x](y)": "x"}), 8000))
    assert "<script>" not in html
    assert html.count("<a ") == 1
    assert "**bn** is `" in html


def test_a_terminal_has_the_alarms_first_on_a_few_lines_that_fit() -> None:
    lines = night.screen(report(*ALL), 80).split("\n")
    assert lines[0] == ("Night of twenty_layers on cifar10, 2026-11-28 02:05 UTC, 14 min: 2 alarms")
    assert lines[1] == f"ALARM: {WORSE.text} Since 2026-11-20."
    assert lines[-1] == f"This night: {ADDRESS}"
    assert len(lines) <= night.MOST_LINES
    assert max(map(len, lines[:-1])) <= 80
    assert night.screen(report(), 80).split("\n")[0].endswith("14 min: quiet")


@pytest.mark.parametrize("columns", [40, 80])
def test_what_a_terminal_has_no_room_for_is_counted(columns: int) -> None:
    long = "bn is worse than on the last good night, by 3.9 points. " * 6
    alarms = [Finding(text=long, is_alarm=True, since="2026-11-20")] * 2
    links = dict.fromkeys("abcde", ADDRESS)
    lines = night.screen(report(*alarms, *[REPLAYED] * 30, links=links), columns).split("\n")
    assert len(lines) <= night.MOST_LINES
    shown = sum(line.startswith(("ALARM", "Replay")) for line in lines)
    assert f"and {32 - shown} more, on its page" in lines
    assert shown >= 2
    assert sum(ADDRESS in line for line in lines) == night.MOST_LINKS


def test_a_terminal_obeys_nothing_of_what_people_wrote() -> None:
    text = night.screen(report(Finding(text="\x1b[31mred\x07"), comparison="a\nb\x1b"), 80)
    assert not {"\x1b", "\x07"} & set(text)


def test_the_table_of_nights_has_the_alarm_and_what_was_found() -> None:
    tags = night.tags(report(REPLAYED, TURNED))
    assert tags == {
        "alarm": "yes",
        "found": f"{TURNED.text} For the first time. {REPLAYED.text}",
    }
    assert night.tags(report(REPLAYED))["alarm"] == "no"


# --- In a browser -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a page with everything that it can show."""
    path = tmp_path_factory.mktemp("night") / "report.html"
    path.write_text(night.html(report(*ALL)), "utf-8")
    return path.as_uri()


@pytest.mark.browser
@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_the_page_opens_offline_without_errors_and_fits_every_screen(
    browser: Any, file: str, width: int, scheme: str
) -> None:
    size = {"width": width, "height": 900}
    tab, problems = opened(browser, file, viewport=size, color_scheme=scheme)
    assert_fits(tab, width=width, dark=scheme == "dark")
    assert problems == []


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_violates_no_rule_of_accessibility(browser: Any, file: str, scheme: str) -> None:
    assert_accessible(browser, file, scheme)


@pytest.mark.browser
def test_a_key_says_the_date_and_the_value_of_a_night_and_a_click_hides_a_variant(
    browser: Any, file: str
) -> None:
    tab, problems = opened(browser, file)
    tab.locator(".legend [data-variant=bn]").click()
    figure = tab.locator(".drawing").first
    figure.focus()
    figure.press("ArrowRight")
    said = tab.locator("#said").text_content()
    assert said == "elu, night\nNight: 2026-10-01\nTest accuracy (%): 50"
    assert problems == []
