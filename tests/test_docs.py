"""The README and the pages of docs/: their links, pictures and commands lead somewhere."""

import re
import subprocess
from pathlib import Path

import pytest

from pipeline.answers.questionnaire import BEGIN, END
from pipeline.base import markdown
from pipeline.comparisons import files
from pipeline.parameters.entry_points import ENTRY_POINTS

PROJECT = Path(__file__).parents[1]
README = PROJECT / "README.md"
PAGES = [README, *sorted((PROJECT / "docs").glob("*.md"))]
MOST_LINES = 150  # three screens: more belongs on a page of its own


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def links(page: Path) -> list[tuple[Path, str]]:
    """The files of the project that a page links to or shows, with the heading if one is named."""
    found = re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text("utf-8"))
    return [((page.parent / path).resolve() if path else page, heading) for path, heading in found]


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_links_and_pictures_of_a_page_are_there(page: Path) -> None:
    for path, heading in links(page):
        assert path.is_file(), path
        assert not heading or heading in headings(path), f"{path.name}#{heading}"


def test_the_readme_is_short_and_leads_to_every_page_and_picture() -> None:
    before, _, rest = README.read_text("utf-8").partition(BEGIN)  # what is between unfolds
    after = rest.partition(END)[2]
    assert len((before + after).splitlines()) <= MOST_LINES
    linked = {path for page in PAGES for path, _ in links(page)}
    pictures = (PROJECT / "docs" / "pictures").glob("*")
    assert linked >= {*PAGES[1:], *pictures}


def test_the_readme_has_every_question_about_which_something_is_commonly_said() -> None:
    section = README.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    for name in files.names():
        for one in files.load(name).asked:
            answered = f"| {markdown.escaped(one.text)} | " in section
            assert not one.claimed or answered or f" of `{name}`: " in section, one.text


@pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
def test_commands_of_a_page_have_declared_entry_points_and_parameters(page: Path) -> None:
    for line in page.read_text("utf-8").splitlines():
        if "mlflow run " in line:
            (entry_point,) = re.findall(r" -e (\w+)", line) or ["main"]
            declared = {name for _, name, _, _ in ENTRY_POINTS[entry_point].options()}
            assert set(re.findall(r"-P (\w+)=", line)) <= declared, line
        for module in re.findall(r"python -m ((?:pipeline|benchmarks)[.\w]*)", line):
            path = PROJECT.joinpath(*module.split("."))
            assert path.with_suffix(".py").is_file() or path.is_dir(), line


def test_targets_that_pages_name_are_in_the_makefile() -> None:
    makefile = (PROJECT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([\w.]+):", makefile, re.MULTILINE))
    for page in PAGES:
        text = page.read_text("utf-8")
        assert set(re.findall(r"(?:`|^)make ([\w.]+)", text, re.MULTILINE)) <= targets, page.name


def test_units_of_systemd_are_as_systemd_expects(tmp_path: Path) -> None:
    units = sorted((PROJECT / "deploy" / "systemd").glob("twenty-layers.*"))
    assert names(units) == ["twenty-layers.service", "twenty-layers.timer"]
    for unit in units:  # in a folder that exists here
        text = unit.read_text("utf-8").replace("/srv/twenty-layers/.venv/bin/python", "/bin/true")
        (tmp_path / unit.name).write_text(text, "utf-8")
    command = ["systemd-analyze", "verify", *(str(tmp_path / unit.name) for unit in units)]
    try:
        checked = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("systemd-analyze is not installed")
    assert (checked.returncode, checked.stderr) == (0, "")
