"""Text within the width of a terminal."""

import pytest

from pipeline.base import layout

ROWS = [["Name", "Number", "More"], ["one_long_name", "1.5", "[red]x"], ["two", "10.25", ":bug:"]]


def test_a_table_has_the_columns_that_fit_and_text_as_it_is() -> None:
    assert layout.table(ROWS, 80, keep=1, right=["Number"]) == [
        "Name           Number  More",
        "one_long_name     1.5  [red]x",
        "two             10.25  :bug:",
    ]
    assert layout.table(ROWS, 28, keep=1)[0] == "Name           Number"
    assert layout.table(ROWS, 29, keep=1)[0] == "Name           Number  More"


def test_only_names_are_broken_for_the_sake_of_columns_that_are_kept() -> None:
    rows = [["Name", "Number"], ["a" * 30, "1.5"]]
    assert layout.table(rows, 28, keep=2) == [
        "Name                  Number",
        "a" * 20 + "  1.5",
        "a" * 10,
    ]
    assert layout.table(rows, 28, keep=1) == ["Name", "a" * 28, "aa"]


def test_prose_is_broken_between_words_alone() -> None:
    address = "file:///" + 90 * "a"
    assert layout.filled(f"the report-page is {address}", 20) == f"the report-page is\n  {address}"
    assert max(map(len, layout.filled("word " * 100, 300).splitlines())) <= layout.WIDEST


@pytest.mark.parametrize(
    ("items", "lines", "text"),
    [
        ([], 1, "Left:"),
        (["one (a, b)", "two"], 1, "Left: one (a, b); two"),
        (["one", "two", "three", "four", "five"], 1, "Left: one; two; and 3 more"),
        (["one", "two", "three", "four", "five"], 2, "Left: one; two; three; four;\n  five"),
        (["a thing that has no room at all", "b"], 1, "Left: a ...; and 1 more"),
    ],
)
def test_of_a_list_what_has_no_room_is_counted(items: list[str], lines: int, text: str) -> None:
    assert layout.listed("Left: ", items, 28, lines=lines) == text


def test_after_a_start_that_fills_the_lines_the_first_of_a_list_is_whole() -> None:
    assert layout.listed("one two: ", ["three four", "five"], 8) == (
        "one two:\n  three\n  four;\n  and 1\n  more"
    )


def test_without_a_terminal_there_are_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "123")
    assert layout.width() == 123
