"""The report: one HTML page that holds all it shows and opens offline, its verdict in words first.

It places words and figures; `answers.words` says what they mean.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from pipeline.answers import pairs, tables, words
from pipeline.answers.changes import changes
from pipeline.answers.evidence import Evidence
from pipeline.report import comparison_figures as figures
from pipeline.report.answer_figures import answer_panels
from pipeline.report.drawing import Panel, svg
from pipeline.report.pair_figures import pair_panels
from pipeline.report.thumbnails import data_uri, taken_for

TEMPLATES = Path(__file__).parent  # page.*, which count as code of this module


def sections(evidence: Evidence) -> dict[str, list[Panel]]:
    """The panels of every part of the report that has any, by the name of its PNG."""
    curves, colors, timed = evidence.curves, evidence.colors, evidence.timed
    is_timed = timed["target"].notna().all()
    found = {
        "answers": answer_panels(evidence.answers),
        "curves_by_epoch": figures.curve_panels(curves, colors, "epoch"),
        "curves_by_seconds": figures.curve_panels(curves, colors, "elapsed_seconds"),
        "time_to_target": [figures.time_to_target_panel(timed, colors)] if is_timed else [],
        "epoch_seconds": [figures.epoch_seconds_panel(curves, colors)],
        "learning_rate_search": figures.search_panels(
            evidence.searches, colors, evidence.rate_curves
        ),
        "activations": figures.layer_panels(evidence.activations, colors),
        "mc_dropout": figures.uncertainty_panels(evidence.uncertainty, colors),
    }
    return {name: panels for name, panels in found.items() if panels}


def html_report(evidence: Evidence, panels: Mapping[str, Sequence[Panel]]) -> str:
    """The page with panels from `sections`, self-contained: no script, and nothing to fetch.

    Without panels there are no figures at all: these take seconds to draw.
    """
    strict = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.FileSystemLoader(TEMPLATES),
    )
    strict.trim_blocks = strict.lstrip_blocks = True
    strict.filters["code"] = _code
    strict.globals |= {"words": words, "tables": tables, "svg": svg}
    strict.globals |= {"changes": changes, "pairs": pairs, "pair_panels": pair_panels}
    strict.globals |= {"data_uri": data_uri, "taken_for": taken_for}
    return strict.get_template("page.html.jinja").render(evidence=evidence, panels=panels)


def _code(text: str) -> Markup:
    """Text with `names` in the type of code; anything else in it is escaped."""
    return Markup(re.sub(r"`([^`]*)`", r"<code>\1</code>", str(escape(text))))
