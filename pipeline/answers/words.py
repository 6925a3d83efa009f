"""Answers and headlines in words: the only place where a value becomes a sentence.

A sentence claims no more than the tests show.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.answers.evidence import Evidence
from pipeline.answers.fairness import ABSENT
from pipeline.answers.tables import (
    PLUS_MINUS,
    markdown,
    number,
    p_value,
    percent,
    spread,
    summary_table,
    tests_table,
)
from pipeline.answers.verdicts import Answer, Headline, is_equal


class Said(NamedTuple):
    """A question, the verdict on it, and the sentences that bear it out."""

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


# Headlines

_TITLES = {
    "test_accuracy": "Best model",
    "epochs_to_baseline": "Converges fastest",
    "median_epoch_seconds": "Trains fastest",
}
# Of a column of the summary: its words, digits, scale, and what it is another view by.
_FIGURES = {
    "test_accuracy": ("test accuracy {}%", 1, 100, ""),
    "val_accuracy": ("validation accuracy {}%", 1, 100, "By validation accuracy"),
    "epochs_to_baseline": ("{} epochs to the baseline's best validation loss", 1, 1, ""),
    "seconds_to_baseline": ("{} s", 1, 1, "In seconds"),
    "seconds_per_epoch": ("{} s per epoch", 2, 1, ""),
    "total_seconds": ("{} s in all", 0, 1, "In all"),
}


def cards(evidence: Evidence) -> list[Card]:
    """The headlines: which variant is best, converges fastest and trains fastest."""
    rows = _by_variant(evidence)
    return [_card(headline, rows) for headline in evidence.headlines]


def verdict(evidence: Evidence) -> str:
    """The headlines in one line of Markdown, for where there is room for no more."""
    return " ".join(
        f"{card.title}: {', '.join(f'**{name}**' for name in card.variants)}."
        for card in cards(evidence)
    )


def _card(headline: Headline, rows: Mapping[str, Mapping]) -> Card:
    lead, also, also_first = rows[headline.leaders[0]], headline.also, headline.also_first
    columns = [name for name in (headline.column, also) if not np.isnan(lead[name])]
    evidence = _standing(headline)
    if also_first and also_first != headline.leaders:
        figure = _figure(rows[also_first[0]], also)
        evidence += f" {_FIGURES[also][-1]}: {_join(also_first)}, {figure}."
    return Card(
        title=_TITLES[headline.metric] + ("" if headline.proven else ", on average"),
        variants=headline.leaders,
        figure=", ".join(_figure(lead, name) for name in columns),
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


def _figure(row: Mapping, column: str) -> str:
    text, digits, scale, _ = _FIGURES[column]
    return text.format(spread(row, column, digits, scale))


def _join(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


# Answers


def answers(evidence: Evidence) -> list[Said]:
    """The questions that the tests cover, answered from the figures."""
    rows = _by_variant(evidence)
    return [
        Said(
            question=answer.question.text,
            verdict=answer.verdict.capitalize() if answer.verdict else "",
            evidence=" ".join(_sentence(answer, test, rows) for test in answer.tests),
        )
        for answer in evidence.answers
    ]


def _by_variant(evidence: Evidence) -> dict[str, dict]:
    return {row["variant"]: row for row in evidence.summary.to_dict("records")}


def _sentence(answer: Answer, test: Any, rows: Mapping[str, Mapping]) -> str:
    variant, reference = rows[test.variant], rows[test.reference]
    single = variant["seeds"] == reference["seeds"] == 1
    finding = _finding(test, answer.question.margin, single)
    match test.metric:
        case "mc_gain":
            return _mc_sentence(variant, finding)
        case "epochs_to_baseline":
            return _convergence_sentence(variant, reference, finding)
        case "median_epoch_seconds":
            return _speed_sentence(variant, reference, finding)
        case metric:
            column = metric.removeprefix("best_")
            return (
                f"{column.replace('_', ' ').replace('val', 'validation').capitalize()} "
                f"{percent(variant, column)} ({_seeds(variant)}), `{reference['variant']}` "
                f"{percent(reference, column)} ({_seeds(reference)}): {finding}."
            )


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
    p_holm = f"= {p_value(test.p_holm, 3)}".replace("= <", "<")
    evidence = f"({test.n_pairs} paired seeds, Holm-corrected p {p_holm})"
    within = f"equal within the margin of {scale * margin:.2f} {unit}"
    equal = within if is_equal(test, margin) else ""
    if not test.distinguishable:
        what = equal or "not distinguishable"
        return f"{what}, a difference of {difference:+.2f} {around} {evidence}"
    direction = more if difference > 0 else less
    found = f"{direction} by {abs(difference):.2f} {around}"
    return f"{', '.join(filter(None, [found, equal]))} {evidence}"


def _mc_sentence(variant: Mapping, finding: str) -> str:
    def change(name: str) -> str:
        return f"{number(variant[name], 3)} to {number(variant[f'mc_{name}'], 3)}"

    return (
        f"Test accuracy {percent(variant, 'mc_accuracy')} with MC Dropout and "
        f"{percent(variant, 'test_accuracy')} without ({_seeds(variant)}): {finding}. "
        f"The negative log-likelihood goes from {change('nll')} and the expected calibration error "
        f"from {change('ece')} (means, not tested)."
    )


def _convergence_sentence(variant: Mapping, reference: Mapping, finding: str) -> str:
    def reach(row: Mapping) -> str:
        if not row["reached_baseline"]:
            return f"`{row['variant']}` never (0 of {_seeds(row)})"
        epochs, seconds = (spread(row, f"{unit}_to_baseline", 1) for unit in ("epochs", "seconds"))
        count = f"{row['reached_baseline']:.0f} of {_seeds(row)}"
        return f"`{row['variant']}` after {epochs} epochs, {seconds} s ({count})"

    note = ""
    if any(row["reached_baseline"] < row["seeds"] for row in (variant, reference)):
        note = " A run that never reached it is tested with its last epoch, a bound in its favour."
    return (
        f"The baseline's best validation loss is reached by {reach(variant)}, and by "
        f"{reach(reference)}: {finding}.{note}"
    )


def _speed_sentence(variant: Mapping, reference: Mapping, finding: str) -> str:
    def ratio(column: str) -> str:
        return f"{number(np.divide(variant[column], reference[column]), 2)} times"

    epoch, of_reference = (number(row["seconds_per_epoch"], 2) for row in (variant, reference))
    total, in_all = (spread(row, "total_seconds", 0) for row in (variant, reference))
    other = f"in `{reference['variant']}`"
    return (
        f"An epoch takes {epoch} s, {other} {of_reference} s ({ratio('seconds_per_epoch')}): "
        f"{finding}. The whole training takes {total} s, {other} {in_all} s "
        f"({ratio('total_seconds')}; {_seeds(variant)} and {_seeds(reference)}, not tested)."
    )


def _seeds(row: Mapping) -> str:
    return f"{row['seeds']} seed" + ("s" if row["seeds"] != 1 else "")


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
    sections = [
        "## Comparison",
        markdown(summary_table(evidence)),
        f"{PLUS_MINUS}: half the width of the 95% confidence interval of the mean over seeds "
        "(Student's t).",
    ]
    capped = [
        f"`{row['variant']}` {row['capped']:.0f} of {row['seeds']}"
        for row in _by_variant(evidence).values()
        if row["capped"]
    ]
    if capped:
        sections += [f"Ended at the last permitted epoch, not stopped early: {', '.join(capped)}."]
    for one in answers(evidence):
        sections += [f"**{one.question}** " + ". ".join(filter(None, [one.verdict, one.evidence]))]
    if len(evidence.tests):
        sections += ["## Tests", markdown(tests_table(evidence))]
        sections += ["Paired by seed; p corrected over all these tests by Holm's method."]
    if evidence.left_out:
        sections += ["## Not compared", "\n".join(f"- {one}" for one in evidence.left_out)]
    return "\n\n".join(sections) + "\n"
