"""The page of the questions of many comparisons, as a run's, and what a README has of it."""

import html
import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.answers.questionnaire import (
    BEGIN,
    END,
    UNFOLDS,
    Section,
    in_short,
    page,
    parts_of_page,
)
from pipeline.base import InputError, progress
from pipeline.parameters import Questions
from pipeline.report import questionnaire
from pipeline.steps.running import step_run
from pipeline.tracking import addresses, client, views
from pipeline.tracking.refusals import reason
from pipeline.tracking.runs import RUN_NOTE_LENGTH


def written(found: Sequence[Section], asked: Questions) -> str:
    """The id of a run with the page of some questions, also put into a file that is to have it.

    Raises:
        InputError: if that file cannot be read, or does not say where.
    """
    readme = None if asked.readme == "none" else _updated(Path(asked.readme), found)
    parameters = {
        "comparisons": ",".join(one.name for one in found),
        "dataset": asked.dataset or "auto",
    }
    with step_run("questions", parameters, name="questions") as run:
        run.log_text(questionnaire.html(found), "questions.html")
        run.log_text(text := page(found), "questions.md")
        run.set_note(views.beginning(text, RUN_NOTE_LENGTH))
    if readme is not None:
        Path(asked.readme).write_text(readme, "utf-8", newline="")
    where = addresses.where("Questions", client.get_run(run.run_id), "questions.html")
    missing = [one.command for one in found if any(of.answer is None for of in one.entries)]
    others = f" (and {len(missing) - 1} more commands, on the page)" if len(missing) > 1 else ""
    how = [f"To measure what is missing: {missing[0]}{others}"] if missing else []
    progress.update(message="\n".join([in_short(found), *how, where]))
    return run.run_id


def _text(path: Path) -> str:
    try:
        with path.open("r+", encoding="utf-8", newline="") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "readme",
            expected="a Markdown file that can be read and written",
            received=f"{path} ({reason(error)})",
            action="Check the path.",
        ) from error


def _updated(path: Path, found: Sequence[Section]) -> str:
    """A page with the answers of these comparisons between its two marks.

    Those of others stay, and those that no run of this store has answers for: they may have been
    measured elsewhere.

    Raises:
        InputError: if it cannot be read and written, or does not have both marks, once each.
    """
    page = _text(path)
    before, begin, rest = page.partition(BEGIN)
    between, end, after = rest.partition(END)
    if not begin or not end or page.count(BEGIN) + page.count(END) > 2:
        raise InputError(
            "readme",
            expected=f"a file with a line {BEGIN} and below it a line {END}",
            received=f"{path}, which has not both of them once",
            action="Put them where the tables are to stand.",
        )
    parts = _parts(between.replace("\r\n", "\n"))
    for name, part in parts_of_page(found).items():
        if UNFOLDS in part or UNFOLDS not in parts.get(name, ""):
            parts[name] = part
    text = "\n\n".join([BEGIN, *(f"{_mark(name)}\n\n{parts[name]}" for name in parts), END])
    return before + text.replace("\n", "\r\n" if "\r\n" in page else "\n") + after


def _mark(name: str) -> str:
    return f"<!-- questions of {html.escape(name)} -->"


def _parts(between: str) -> dict[str, str]:
    """What stands there by comparison."""
    _, *found = re.split(r"^<!-- questions of (.*) -->$", between, flags=re.MULTILINE)
    names, parts = map(html.unescape, found[::2]), map(str.strip, found[1::2])
    return dict(zip(names, parts, strict=True))
