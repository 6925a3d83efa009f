"""The report: one HTML page that holds all it shows and opens offline, its verdict in words first.

It places words and figures; `answers.words` says what they mean.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.answers import tables, words
from pipeline.answers.evidence import Evidence
from pipeline.report import comparison_figures
from pipeline.report.comparison_figures import Panel

TEMPLATE = Path(__file__).with_name("page.html.jinja")


def sections(evidence: Evidence) -> dict[str, list[Panel]]:
    """The panels of every part of the report that has any, by the name of its PNG."""
    curves, colors, timed = evidence.curves, evidence.colors, evidence.timed
    found = {
        "curves_by_epoch": comparison_figures.curve_panels(curves, colors, "epoch"),
        "curves_by_seconds": comparison_figures.curve_panels(curves, colors, "elapsed_seconds"),
        "time_to_baseline": [comparison_figures.time_to_baseline_panel(timed, colors)]
        if timed["target"].notna().all()
        else [],
        "epoch_seconds": [comparison_figures.epoch_seconds_panel(curves, colors)],
        "learning_rate_search": comparison_figures.search_panels(evidence.searches, colors),
        "activations": comparison_figures.layer_panels(evidence.activations, colors),
        "mc_dropout": comparison_figures.uncertainty_panels(evidence.uncertainty, colors),
    }
    return {name: panels for name, panels in found.items() if panels}


def html_report(evidence: Evidence, panels: Mapping[str, Sequence[Panel]]) -> str:
    """The page, self-contained: no script, and nothing to fetch.

    Args:
        evidence: what it shows.
        panels: from `sections`.
    """
    import jinja2
    from markupsafe import Markup, escape

    def code(text: str) -> Markup:
        """Text with `names` in the type of code; anything else in it is escaped."""
        return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = code
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    return template.render(
        evidence=evidence,
        cards=words.cards(evidence),
        flags=words.flags(evidence),
        results=tables.summary_table(evidence),
        answers=words.answers(evidence),
        tests=tables.tests_table(evidence),
        target=evidence.timed["target"].iloc[0],
        variants=[str(name) for name in evidence.summary["variant"]],
        figures={
            name: [(Markup(comparison_figures.svg(panel)), panel) for panel in of]
            for name, of in panels.items()
        },
    )
