"""The page of what is commonly said and whether it holds; self-contained, its template claims.*."""

from collections.abc import Sequence

from pipeline.answers import claims
from pipeline.answers.claims import Claims
from pipeline.report.templates import rendered

SIGNS = {"holds": "\N{CHECK MARK}", "does not hold": "\N{MULTIPLICATION X}", "not decided": "?"}


def html(found: Sequence[Claims]) -> str:
    """The page, with nothing to fetch."""
    return rendered(
        "claims.html.jinja",
        found=found,
        in_short=claims.in_short(found),
        signs=SIGNS,
        colors={},
    )
