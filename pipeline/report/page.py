"""The report: one HTML page that holds all it shows and opens offline, its verdict in words first.

A headline names the variant that is first on average, and claims no more than the tests show.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.answers import words
from pipeline.answers.fairness import ABSENT, Fact, LeftOut
from pipeline.answers.statistics import QUESTIONS, Question, paired_tests
from pipeline.answers.summary import with_convergence
from pipeline.report import comparison_figures
from pipeline.report.comparison_figures import Panel

TEMPLATE = Path(__file__).with_name("page.html.jinja")


@dataclass(frozen=True, kw_only=True)
class Uncertainty:
    """MC Dropout of one run of a variant.

    Args:
        run_name: the run.
        record: what `mc_dropout` logged.
    """

    run_name: str
    record: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that the report shows.

    Args:
        dataset: the data set's name.
        baseline: the variant whose best validation loss the others are timed against.
        runs: as in `summary.summarize`, one row per run.
        curves: as in `summary.summarize`, with val_accuracy and epoch_seconds.
        summary: from `summary.summarize`.
        tests: from `significance.paired_tests`.
        colors: a colour (hex) for each variant.
        facts: what the runs have in common and what not.
        left_out: the runs that are not compared.
        searches: for each variant the trials of its search; see `report_figures.search_panels`.
        activations: for each variant; see `report_figures.layer_panels`.
        uncertainty: for each variant with dropout.
        examples: for each variant the run that its activations and MC Dropout are of.
    """

    dataset: str
    baseline: str
    runs: pd.DataFrame
    curves: pd.DataFrame
    summary: pd.DataFrame
    tests: pd.DataFrame
    colors: Mapping[str, str]
    facts: Sequence[Fact]
    left_out: Sequence[LeftOut] = ()
    searches: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    activations: Mapping[str, Any] = field(default_factory=dict)
    uncertainty: Mapping[str, Uncertainty] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One of the three things that a reader wants to know first.

    Args:
        title: what the variants are, such as `Best model`.
        variants: the first; more than one where they are level.
        figure: by how much, in words.
        evidence: what the tests show.
        proven: whether it is ahead of every other variant beyond noise.
    """

    title: str
    variants: tuple[str, ...]
    figure: str
    evidence: str
    proven: bool


@dataclass(frozen=True, kw_only=True)
class _Measure:
    """A column of the summary in words, such as `test accuracy 50.1 \N{PLUS-MINUS SIGN} 0.4%`."""

    column: str
    higher: bool
    words: str
    digits: int
    scale: int = 1
    first: str = ""

    def text(self, row: pd.Series) -> str:
        """The mean and, where it is known, half the width of its confidence interval."""
        half_width = row.get(f"{self.column}_half_width", np.nan)
        known = [row[self.column], *([] if np.isnan(half_width) else [half_width])]
        numbers = [f"{self.scale * number:.{self.digits}f}" for number in known]
        return self.words.format(" \N{PLUS-MINUS SIGN} ".join(numbers))


@dataclass(frozen=True, kw_only=True)
class _Contest:
    """What a headline is about: the metric that is tested, its mean, and another view of it."""

    title: str
    metric: str
    measure: _Measure
    also: _Measure


_CONTESTS = (
    _Contest(
        title="Best model",
        metric="test_accuracy",
        measure=_Measure(
            column="test_accuracy", higher=True, words="test accuracy {}%", digits=1, scale=100
        ),
        also=_Measure(
            column="val_accuracy",
            higher=True,
            words="validation accuracy {}%",
            digits=1,
            scale=100,
            first="By validation accuracy",
        ),
    ),
    _Contest(
        title="Converges fastest",
        metric="epochs_to_baseline",
        measure=_Measure(
            column="epochs_to_baseline",
            higher=False,
            words="{} epochs to the baseline's best validation loss",
            digits=1,
        ),
        also=_Measure(
            column="seconds_to_baseline", higher=False, words="{} s", digits=1, first="In seconds"
        ),
    ),
    _Contest(
        title="Trains fastest",
        metric="median_epoch_seconds",
        measure=_Measure(
            column="seconds_per_epoch", higher=False, words="{} s per epoch", digits=2
        ),
        also=_Measure(
            column="total_seconds", higher=False, words="{} s in all", digits=0, first="In all"
        ),
    ),
)


def headlines(comparison: Comparison) -> list[Headline]:
    """Which variant is best, converges fastest and trains fastest, each as far as it is known.

    A variant is first by its mean over the seeds. It is called ahead of another where a paired
    test over all pairs of variants, corrected by Holm's method, says so, and the planned test of
    the same pair and metric, where there is one, does not contradict it.
    """
    found = [_headline(contest, comparison) for contest in _CONTESTS]
    return [headline for headline in found if headline]


def verdict(comparison: Comparison) -> str:
    """The headlines in one line of Markdown, for where there is room for no more."""
    titles = (
        f"{one.title}: {', '.join(f'**{name}**' for name in one.variants)}."
        for one in headlines(comparison)
    )
    return " ".join(titles)


def _headline(contest: _Contest, comparison: Comparison) -> Headline | None:
    summary = comparison.summary.set_index("variant")
    eligible = _eligible(summary, contest.measure.column)
    if eligible.empty:
        return None
    leaders = _first(eligible[contest.measure.column], contest.measure.higher)
    evidence, proven = _evidence(contest, comparison, leaders)
    lead = summary.loc[leaders[0]]
    texts = [contest.measure.text(lead)]
    also = contest.also
    others = _eligible(summary, also.column)
    if not np.isnan(lead[also.column]):
        texts.append(also.text(lead))
    if len(others) and (first := _first(others[also.column], also.higher)) != leaders:
        evidence += f" {also.first}: {_join(first)}, {also.text(summary.loc[first[0]])}."
    title = contest.title if proven else f"{contest.title}, on average"
    return Headline(
        title=title,
        variants=tuple(leaders),
        figure=", ".join(texts),
        evidence=evidence,
        proven=proven,
    )


def _eligible(summary: pd.DataFrame, column: str) -> pd.DataFrame:
    """The variants with a value; for convergence those of which most seeds reached the target."""
    known = summary[summary[column].notna()]
    if column.endswith("to_baseline") and len(known):
        share = known["reached_baseline"] / known["seeds"]
        known = known[share == share.max()]
    return known


def _first(values: pd.Series, higher: bool) -> list[str]:
    best = values.max() if higher else values.min()
    return [str(name) for name in values.index[np.isclose(values, best, rtol=1e-9)]]


def _evidence(
    contest: _Contest, comparison: Comparison, leaders: Sequence[str]
) -> tuple[str, bool]:
    """What the tests say about the first, and whether it is ahead of every other variant."""
    names = [str(name) for name in comparison.summary["variant"]]
    others = [name for name in names if name not in leaders]
    if len(names) < 2:
        return "There is no other variant to compare it with.", False
    tests = _all_pairs(contest, comparison)
    if not (tests["n_pairs"] >= 2).any():
        return "One pair of runs or none: nothing can be tested.", False
    behind = [
        other
        for other in others
        if all(
            _ahead(leader, other, contest, tests)
            and not _planned_denies(leader, other, contest, comparison)
            for leader in leaders
        )
    ]
    level = [other for other in others if other not in behind]
    if not level and len(leaders) == 1:
        return "Ahead of every other variant beyond noise.", True
    sentences = [f"Beyond noise ahead of {_join(behind)}."] if behind else []
    if level:
        sentences.append(f"Not distinguishable from {_join(level)}.")
    if len(leaders) > 1:
        sentences.insert(0, "Level with each other.")
    return " ".join(sentences), False


def _all_pairs(contest: _Contest, comparison: Comparison) -> pd.DataFrame:
    questions = [
        Question(f"{one} {other}", one, other, (contest.metric,), "")
        for one, other in combinations(map(str, comparison.summary["variant"]), 2)
    ]
    return paired_tests(
        comparison.runs, comparison.curves, baseline=comparison.baseline, questions=questions
    )


def _ahead(leader: str, other: str, contest: _Contest, tests: pd.DataFrame) -> bool:
    """Whether a distinguishable difference is in the leader's favour."""
    for test in _tests_of(leader, other, contest, tests):
        sign = 1 if test["variant"] == leader else -1
        wanted = sign * test["difference"] * (1 if contest.measure.higher else -1) > 0
        return bool(test["distinguishable"] and wanted)
    return False


def _planned_denies(leader: str, other: str, contest: _Contest, comparison: Comparison) -> bool:
    planned = _tests_of(leader, other, contest, comparison.tests)
    return any(not test["distinguishable"] for test in planned)


def _tests_of(one: str, other: str, contest: _Contest, tests: pd.DataFrame) -> list[dict]:
    of_metric = tests[tests["metric"] == contest.metric].to_dict("records")
    return [test for test in of_metric if {test["variant"], test["reference"]} == {one, other}]


def _join(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


def sections(comparison: Comparison) -> dict[str, list[Panel]]:
    """The panels of every part of the report that has any, by the name of its PNG."""
    curves, colors = comparison.curves, comparison.colors
    runs = with_convergence(comparison.runs, curves, comparison.baseline)
    records = {variant: of.record for variant, of in comparison.uncertainty.items()}
    found = {
        "curves_by_epoch": comparison_figures.curve_panels(curves, colors, "epoch"),
        "curves_by_seconds": comparison_figures.curve_panels(curves, colors, "elapsed_seconds"),
        "time_to_baseline": [comparison_figures.time_to_baseline_panel(runs, colors)]
        if runs["target"].notna().all()
        else [],
        "epoch_seconds": [comparison_figures.epoch_seconds_panel(curves, colors)],
        "learning_rate_search": comparison_figures.search_panels(comparison.searches, colors),
        "activations": comparison_figures.layer_panels(comparison.activations, colors),
        "mc_dropout": comparison_figures.uncertainty_panels(records, colors),
    }
    return {name: panels for name, panels in found.items() if panels}


def html_report(comparison: Comparison, panels: Mapping[str, Sequence[Panel]]) -> str:
    """The page, self-contained: no script, and nothing to fetch.

    Args:
        comparison: what it shows.
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
    header, *rows = words.format_table(comparison.summary)
    runs = with_convergence(comparison.runs, comparison.curves, comparison.baseline)
    return template.render(
        comparison=comparison,
        headlines=headlines(comparison),
        variants=[str(name) for name in comparison.summary["variant"]],
        header=header,
        rows=rows,
        target=runs["target"].iloc[0],
        answers=_answers(comparison),
        tests=comparison.tests.to_dict("records"),
        # Runs that are not compared are named one by one.
        flags=[fact for fact in comparison.facts if fact.flagged and fact.name != ABSENT],
        figures={
            name: [(Markup(comparison_figures.svg(panel)), panel) for panel in of]
            for name, of in panels.items()
        },
    )


def _answers(comparison: Comparison) -> list[dict[str, str]]:
    """The planned questions, each answer as a verdict and the evidence for it."""
    decided = {question.text for question in QUESTIONS if question.wanted}
    found = []
    for one in words.answers(comparison.summary, comparison.tests):
        verdict, _, evidence = one.answer.partition(". ")
        if one.question not in decided:
            verdict, evidence = "", one.answer
        found.append({"question": one.question, "verdict": verdict, "evidence": evidence})
    return found
