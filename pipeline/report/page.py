"""The report: one HTML page that holds all it shows and opens offline, its verdict in words first.

It places words and figures; `answers.words` says what they mean. Its templates, page.*, count as
code of this module. Its script, page.js, says values where a pointer is, and hides variants;
without it the page is whole. It is of our own, since the smallest libraries that draw what is drawn
here (uPlot, Chart.js, Plotly) take 50 KB to 4 MB and would draw all of it again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from pipeline.answers import pairs, tables, words
from pipeline.answers.changes import changes
from pipeline.answers.evidence import Evidence
from pipeline.answers.families import families
from pipeline.report import (
    accuracy_figures,
    comparison_figures,
    forest,
    question_figures,
    search_figures,
    time_figures,
)
from pipeline.report.drawing import Colors, Panel
from pipeline.report.pair_figures import pair_panels
from pipeline.report.templates import rendered
from pipeline.report.thumbnails import data_uri, taken_for


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a page comes from: what it tells of itself, and what it links to.

    Args:
        made: the date.
        commit: of the code; empty if unknown, as all that follows may be.
        run_id: the MLflow run that it is an artifact of.
        address: the page of that run.
        runs, variants, figures: the pages of the runs compared by their ids, of all runs of a
            variant, and of the figures by the names of their panels.
        champion: who is it and why, as Markdown.
    """

    made: str = ""
    commit: str = ""
    run_id: str = ""
    address: str = ""
    runs: Mapping[str, str] = field(default_factory=dict)
    variants: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, str] = field(default_factory=dict)
    champion: str = ""


def sections(evidence: Evidence) -> dict[str, list[Panel]]:
    """The panels of every part of the report that has any, by the name of its PNG."""
    curves, colors, timed = evidence.curves, evidence.colors, evidence.timed
    is_timed = timed["target"].notna().all()
    by_images = accuracy_figures.accuracy_by_images_panels
    found = {
        "accuracy_by_time": accuracy_figures.accuracy_by_time_panels(
            timed, evidence.summary, colors
        ),
        "accuracy_by_images": by_images(families(evidence), timed, evidence.summary, colors),
        **({} if curves.empty else _of_epochs(curves, colors)),
        "time_to_target": [time_figures.time_to_target_panel(timed, colors)] if is_timed else [],
        "learning_rate_search": search_figures.search_panels(
            evidence.searches, colors, evidence.rate_curves
        ),
        "activations": comparison_figures.layer_panels(evidence.activations, colors),
        **_asked_for(evidence),
        "mc_dropout": comparison_figures.uncertainty_panels(evidence.uncertainty, colors),
    }
    return {name: panels for name, panels in found.items() if panels}


def _of_epochs(curves: pd.DataFrame, colors: Colors) -> dict[str, list[Panel]]:
    """Those of the epochs, where the networks have taken any."""
    return {
        "curves_by_epoch": comparison_figures.curve_panels(curves, colors, "epoch")
        + comparison_figures.training_panels(curves, colors),
        "curves_by_seconds": comparison_figures.curve_panels(curves, colors, "elapsed_seconds"),
        "epoch_seconds": [time_figures.epoch_seconds_panel(curves, colors)],
    }


def _asked_for(evidence: Evidence) -> dict[str, list[Panel]]:
    """Those that the questions of the comparison need."""
    summary, colors = evidence.summary, evidence.colors
    drawn = {
        "layers": lambda: question_figures.layers_panels(evidence.activations, colors),
        "first_losses": lambda: question_figures.first_losses_panels(evidence.first_losses, colors),
        "sparsity": lambda: question_figures.sparsity_panels(summary, evidence.timed, colors),
        "inference": lambda: question_figures.inference_panels(
            summary, evidence.uncertainty, colors
        ),
    }
    return {name: drawn[name]() for name in evidence.figures}


def html_report(
    evidence: Evidence, panels: Mapping[str, Sequence[Panel]], origin: Origin = Origin()
) -> str:
    """The page with panels from `sections`, self-contained: there is nothing to fetch.

    Without panels there are no figures at all: these take seconds to draw.
    """
    return rendered(
        "page.html.jinja",
        evidence=evidence,
        panels=panels,
        origin=origin,
        colors=evidence.colors,
        words=words,
        tables=tables,
        forest=forest,
        changes=changes,
        pairs=pairs,
        pair_panels=pair_panels,
        data_uri=data_uri,
        taken_for=taken_for,
    )
