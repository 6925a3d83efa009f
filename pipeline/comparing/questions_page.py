"""The page of the questions of many comparisons, as a run's, and what a README has of it."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.answers.questionnaire import BEGIN, END, Section, in_short, page, section_of_page
from pipeline.base import InputError, progress
from pipeline.parameters import Questions
from pipeline.report.questionnaire import html
from pipeline.steps.running import step_run
from pipeline.tracking import addresses, client, views
from pipeline.tracking.refusals import reason
from pipeline.tracking.runs import RUN_NOTE_LENGTH


def written(found: Sequence[Section], asked: Questions) -> str:
    """The id of a run with the page of some questions, also put into a file that is to have it.

    Raises:
        InputError: if that file cannot be read, or does not say where.
    """
    readme = None if asked.readme == "none" else _with_section(Path(asked.readme), found)
    parameters = {
        "comparisons": ",".join(one.name for one in found),
        "dataset": asked.dataset or "auto",
    }
    with step_run("questions", parameters, name="questions") as run:
        run.log_text(html(found), "questions.html")
        run.log_text(text := page(found), "questions.md")
        run.set_note(views.beginning(text, RUN_NOTE_LENGTH))
    if readme is not None:
        Path(asked.readme).write_text(readme, "utf-8", newline="")
    where = addresses.where("Questions", client.get_run(run.run_id), "questions.html")
    progress.update(message=f"{in_short(found)}\n{where}")
    return run.run_id


def _with_section(path: Path, found: Sequence[Section]) -> str:
    try:
        with path.open("r+", encoding="utf-8", newline="") as file:
            page = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "readme",
            expected="a Markdown file that can be read and written",
            received=f"{path} ({reason(error)})",
            action="Check the path.",
        ) from error
    return put_between(page, section_of_page(found), path=str(path))


def put_between(page: str, section: str, *, path: str) -> str:
    """A page with a section in place of what stands between its two marks.

    Raises:
        InputError: if it does not have both, once each.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or page.count(BEGIN) + page.count(END) > 2:
        raise InputError(
            "readme",
            expected=f"a file with a line {BEGIN} and below it a line {END}",
            received=f"{path}, which has not both of them once",
            action="Put them where the table is to stand.",
        )
    newline = "\r\n" if "\r\n" in page else "\n"
    lines = [BEGIN, "", *section.strip().split("\n"), "", END]
    return f"{before}{newline.join(lines)}{after}"
