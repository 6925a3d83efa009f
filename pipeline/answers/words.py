"""Answers and headlines in words: the only place where a value becomes a sentence.

A sentence claims no more than the tests show.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.answers import tables
from pipeline.answers.fairness import ABSENT
from pipeline.answers.tables import PLUS_MINUS
from pipeline.answers.verdicts import Answer, Evidence, Headline, is_equal
from pipeline.base import markdown


class Said(NamedTuple):
    """An answer in words, with the sentences that bear it out."""

    question: str
    verdict: str
    evidence: str


class Card(NamedTuple):
    """A headline in words: who is first, by how much, and how far that can be trusted."""

    title: str
    variants: Sequence[str]
    figure: str
    evidence: str
    proven: bool


class _Row(dict[str, Any]):
    """A variant's row of the summary; formatted by the name of a column, its figure in words."""

    def __format__(self, column: str) -> str:
        match column:
            case "variant":
                return f"`{self['variant']}`"
            case "seeds":
                return f"{self['seeds']} seed{'s'[: self['seeds'] != 1]}"
            case "reached_baseline" if not self[column]:
                return f"{self:variant} never (0 of {self:seeds})"
            case "reached_baseline":
                took = f"{self:epochs_to_baseline} epochs, {self:seconds_to_baseline} s"
                return f"{self:variant} after {took} ({self[column]:.0f} of {self:seeds})"
        return tables.figure(self, column)


def _by_variant(evidence: Evidence) -> dict[str, _Row]:
    return {row["variant"]: _Row(row) for row in evidence.summary.to_dict("records")}


# Headlines

_TITLES = {
    "test_accuracy": "Best model",
    "epochs_to_baseline": "Converges fastest",
    "median_epoch_seconds": "Trains fastest",
}
# Of a column of the summary: its words, and what it is another view by.
_FIGURES = {
    "test_accuracy": ("test accuracy {}", ""),
    "val_accuracy": ("validation accuracy {}", "By validation accuracy"),
    "epochs_to_baseline": ("{} epochs to the baseline's best validation loss", ""),
    "seconds_to_baseline": ("{} s", "In seconds"),
    "seconds_per_epoch": ("{} s per epoch", ""),
    "total_seconds": ("{} s in all", "In all"),
}


def cards(evidence: Evidence) -> list[Card]:
    """The headlines: which variant is best, converges fastest and trains fastest."""
    rows = _by_variant(evidence)
    return [_card(headline, rows) for headline in evidence.headlines]


def verdict(evidence: Evidence) -> str:
    """The headlines in one line of Markdown, for where there is room for no more."""
    return " ".join(
        f"{card.title}: **{'**, **'.join(card.variants)}**." for card in cards(evidence)
    )


def _card(headline: Headline, rows: Mapping[str, Mapping]) -> Card:
    def figure(variant: str, column: str) -> str:
        return _FIGURES[column][0].format(tables.figure(rows[variant], column))

    lead, also, also_first = headline.leaders[0], headline.also, headline.also_first
    columns = [name for name in (headline.column, also) if not np.isnan(rows[lead][name])]
    evidence = _standing(headline)
    if also_first and also_first != headline.leaders:
        view = _FIGURES[also][1]
        evidence += f" {view}: {_join(also_first)}, {figure(also_first[0], also)}."
    return Card(
        title=_TITLES[headline.metric] + ("" if headline.proven else ", on average"),
        variants=headline.leaders,
        figure=", ".join(figure(lead, column) for column in columns),
        evidence=evidence,
        proven=headline.proven,
    )


def _standing(headline: Headline) -> str:
    """What the tests say about the first."""
    ahead_of, level_with = headline.ahead_of, headline.level_with
    if len(headline.leaders) == 1 and not (ahead_of or level_with):
        return "There is no other variant to compare it with."
    if not headline.tested:
        return "One pair of runs or none: nothing can be tested."
    if headline.proven:
        return "Ahead of every other variant beyond noise."
    sentences = ["Level with each other."] if len(headline.leaders) > 1 else []
    sentences += [f"Beyond noise ahead of {_join(ahead_of)}."] if ahead_of else []
    sentences += [f"Not distinguishable from {_join(level_with)}."] if level_with else []
    return " ".join(sentences)


def _join(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


# Answers

# By the metric tested. `one` and `other` are the rows of the two variants.
_SENTENCES = {
    "test_accuracy": (
        "Test accuracy {one:test_accuracy} ({one:seeds}), {other:variant} {other:test_accuracy} "
        "({other:seeds}): {finding}."
    ),
    "best_val_accuracy": (
        "Validation accuracy {one:val_accuracy} ({one:seeds}), {other:variant} "
        "{other:val_accuracy} ({other:seeds}): {finding}."
    ),
    "mc_gain": (
        "Test accuracy {one:mc_accuracy} with MC Dropout and {one:test_accuracy} without "
        "({one:seeds}): {finding}. The negative log-likelihood goes from {one:nll} to {one:mc_nll} "
        "and the expected calibration error from {one:ece} to {one:mc_ece} (means, not tested)."
    ),
    "epochs_to_baseline": (
        "The baseline's best validation loss is reached by {one:reached_baseline}, and by "
        "{other:reached_baseline}: {finding}.{note}"
    ),
    "median_epoch_seconds": (
        "An epoch takes {one:seconds_per_epoch} s, in {other:variant} {other:seconds_per_epoch} s "
        "({times[seconds_per_epoch]} times): {finding}. The whole training takes "
        "{one:total_seconds} s, in {other:variant} {other:total_seconds} s "
        "({times[total_seconds]} times; {one:seeds} and {other:seeds}, not tested)."
    ),
}


def answers(evidence: Evidence) -> list[Said]:
    """The questions that the tests cover, answered from the figures."""
    rows, found = _by_variant(evidence), []
    for answer in evidence.answers:
        sentences = " ".join(_sentence(answer, test, rows) for test in answer.tests)
        in_short = answer.verdict.capitalize() if answer.verdict else ""
        found.append(Said(answer.question.text, in_short, sentences))
    return found


def _sentence(answer: Answer, test: Any, rows: Mapping[str, _Row]) -> str:
    one, other = rows[test.variant], rows[test.reference]
    single = one["seeds"] == other["seeds"] == 1
    times = {
        column: tables.number(np.divide(one[column], other[column]), 2)
        for column in ("seconds_per_epoch", "total_seconds")
    }
    note = ""
    if any(row["reached_baseline"] < row["seeds"] for row in (one, other)):
        note = " A run that never reached it is tested with its last epoch, a bound in its favour."
    finding = _finding(test, answer.question.margin, single)
    sentence = _SENTENCES[test.metric]
    return sentence.format(one=one, other=other, finding=finding, times=times, note=note)


# Of a difference: words for more and for less, scale and unit.
_ACCURACY = ("higher", "lower", 100, "points")
_DIFFERENCES = {
    "epochs_to_baseline": ("later", "sooner", 1, "epochs"),
    "median_epoch_seconds": ("longer", "shorter", 1, "s"),
}


def _finding(test: Any, margin: float, single: bool) -> str:
    """What the test of a difference shows, and no more than that."""
    more, less, scale, unit = _DIFFERENCES.get(test.metric, _ACCURACY)
    difference = scale * test.difference
    if test.n_pairs == 0:
        return "no two runs to pair, so no test is possible"
    if test.n_pairs == 1:
        why = "one seed" if single else "only one pair of runs"
        return f"a difference of {difference:+.2f} {unit}, but {why}: no test is possible"
    around = f"{PLUS_MINUS} {scale * test.half_width:.2f} {unit}"
    p_holm = f"= {tables.p_value(test.p_holm, 3)}".replace("= <", "<")
    evidence = f"({test.n_pairs} paired seeds, Holm-corrected p {p_holm})"
    within = f"equal within the margin of {scale * margin:.2f} {unit}"
    equal = within if is_equal(test, margin) else ""
    if not test.distinguishable:
        what = equal or "not distinguishable"
        return f"{what}, a difference of {difference:+.2f} {around} {evidence}"
    direction = more if difference > 0 else less
    found = f"{direction} by {abs(difference):.2f} {around}"
    return f"{', '.join(filter(None, [found, equal]))} {evidence}"


# The whole


def flags(evidence: Evidence) -> list[str]:
    """What to think of before trusting it; runs that are not compared are named elsewhere."""
    return [
        f"{fact.name if fact.name.isupper() else fact.name.lower()} ({fact.finding})"
        for fact in evidence.facts
        if fact.flagged and fact.name != ABSENT
    ]


def markdown_report(evidence: Evidence) -> str:
    """The comparison as a Markdown page: the table, the answers and the tests behind them."""
    interval = "half the width of the 95% confidence interval of the mean over seeds (Student's t)."
    sections = ["## Comparison", tables.markdown(tables.summary_table(evidence))]
    sections += [f"{PLUS_MINUS}: {interval}"]
    rows = [row for row in _by_variant(evidence).values() if row["capped"]]
    if capped := [f"{row:variant} {row['capped']:.0f} of {row['seeds']}" for row in rows]:
        sections += [f"Ended at the last permitted epoch, not stopped early: {', '.join(capped)}."]
    for one in answers(evidence):
        sections += [f"**{one.question}** " + ". ".join(filter(None, [one.verdict, one.evidence]))]
    if len(evidence.tests):
        sections += ["## Tests", tables.markdown(tables.tests_table(evidence))]
        sections += ["Paired by seed; p corrected over all these tests by Holm's method."]
    if evidence.left_out:
        lines = [f"- {markdown.escaped(str(one))}" for one in evidence.left_out]
        sections += ["## Not compared", "\n".join(lines)]
    return "\n\n".join(sections) + "\n"
