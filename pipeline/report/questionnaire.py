"""The page of all questions and their answers; self-contained, its template questionnaire.*."""

from collections.abc import Sequence

from pipeline.answers import questionnaire
from pipeline.answers.questionnaire import FAILS, HOLDS, OPEN, UNKNOWN, Section
from pipeline.report.templates import rendered

SIGNS = {HOLDS: "\N{CHECK MARK}", FAILS: "\N{MULTIPLICATION X}", OPEN: "?", UNKNOWN: "?"}


def html(found: Sequence[Section]) -> str:
    """The page, with nothing to fetch."""
    return rendered(
        "questionnaire.html.jinja",
        found=found,
        in_short=questionnaire.in_short(found),
        signs=SIGNS,
        colors={},
    )
