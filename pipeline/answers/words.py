"""Answers, headlines and tables in words: the only place where a value becomes a sentence.

A sentence claims no more than the tests show.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from pipeline.answers.evidence import Evidence
from pipeline.answers.fairness import ABSENT
from pipeline.answers.verdicts import Answer, Headline, is_equal

MISSING = "\u2013"  # an en dash
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"


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
    rows = _by_variant(evidence.summary)
    found = []
    for one in evidence.headlines:
        lead = rows[one.leaders[0]]
        columns = [name for name in (one.column, one.also) if not np.isnan(lead[name])]
        says = _standing(one)
        if one.also_first and one.also_first != one.leaders:
            other, view = _figure(rows[one.also_first[0]], one.also), _FIGURES[one.also][-1]
            says += f" {view}: {_join(one.also_first)}, {other}."
        found.append(
            Card(
                title=_TITLES[one.metric] + ("" if one.proven else ", on average"),
                variants=one.leaders,
                figure=", ".join(_figure(lead, name) for name in columns),
                evidence=says,
                proven=one.proven,
            )
        )
    return found


def verdict(evidence: Evidence) -> str:
    """The headlines in one line of Markdown, for where there is room for no more."""
    return " ".join(
        f"{card.title}: {', '.join(f'**{name}**' for name in card.variants)}."
        for card in cards(evidence)
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
    return text.format(_spread(row, column, digits, scale))


def _join(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), quoted[-1]]))


# Answers


def answers(evidence: Evidence) -> list[Said]:
    """The questions that the tests cover, answered from the figures."""
    rows = _by_variant(evidence.summary)
    return [
        Said(
            question=answer.question.text,
            verdict=answer.verdict.capitalize() if answer.verdict else "",
            evidence=" ".join(_sentence(answer, test, rows) for test in answer.tests),
        )
        for answer in evidence.answers
    ]


def _by_variant(summary: pd.DataFrame) -> dict[str, dict]:
    return {str(row["variant"]): row for row in summary.to_dict("records")}


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
                f"{_percent(variant, column)} ({_seeds(variant)}), `{reference['variant']}` "
                f"{_percent(reference, column)} ({_seeds(reference)}): {finding}."
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
    spread = f"{PLUS_MINUS} {scale * test.half_width:.2f} {unit}"
    p_holm = "< 0.001" if test.p_holm < 0.001 else f"= {test.p_holm:.3f}"
    evidence = f"({test.n_pairs} paired seeds, Holm-corrected p {p_holm})"
    within = f"equal within the margin of {scale * margin:.2f} {unit}"
    equal = within if is_equal(test, margin) else ""
    if not test.distinguishable:
        what = equal or "not distinguishable"
        return f"{what}, a difference of {difference:+.2f} {spread} {evidence}"
    direction = more if difference > 0 else less
    found = f"{direction} by {abs(difference):.2f} {spread}"
    return f"{', '.join(filter(None, [found, equal]))} {evidence}"


def _mc_sentence(variant: Mapping, finding: str) -> str:
    def change(name: str) -> str:
        return f"{_number(variant[name], 3)} to {_number(variant[f'mc_{name}'], 3)}"

    return (
        f"Test accuracy {_percent(variant, 'mc_accuracy')} with MC Dropout and "
        f"{_percent(variant, 'test_accuracy')} without ({_seeds(variant)}): {finding}. "
        f"The negative log-likelihood goes from {change('nll')} and the expected calibration error "
        f"from {change('ece')} (means, not tested)."
    )


def _convergence_sentence(variant: Mapping, reference: Mapping, finding: str) -> str:
    def reach(row: Mapping) -> str:
        if not row["reached_baseline"]:
            return f"`{row['variant']}` never (0 of {_seeds(row)})"
        epochs = _spread(row, "epochs_to_baseline", 1)
        seconds = _spread(row, "seconds_to_baseline", 1)
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
        return f"{_number(np.divide(variant[column], reference[column]), 2)} times"

    def total(row: Mapping) -> str:
        return f"{_spread(row, 'total_seconds', 0)} s"

    return (
        f"An epoch takes {_number(variant['seconds_per_epoch'], 2)} s, in "
        f"`{reference['variant']}` {_number(reference['seconds_per_epoch'], 2)} s "
        f"({ratio('seconds_per_epoch')}): {finding}. The whole training takes {total(variant)}, in "
        f"`{reference['variant']}` {total(reference)} ({ratio('total_seconds')}; "
        f"{_seeds(variant)} and {_seeds(reference)}, not tested)."
    )


# Figures


def _seeds(row: Mapping) -> str:
    return f"{row['seeds']} seed" + ("s" if row["seeds"] != 1 else "")


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else MISSING


def _spread(row: Mapping, column: str, digits: int, scale: int = 1) -> str:
    """The mean and, where it is known, the half-width of its confidence interval."""
    mean, half_width = scale * row[column], scale * row.get(f"{column}_half_width", np.nan)
    if np.isnan(mean) or np.isnan(half_width):
        return _number(mean, digits)
    return f"{mean:.{digits}f} {PLUS_MINUS} {half_width:.{digits}f}"


def _percent(row: Mapping, column: str) -> str:
    return MISSING if np.isnan(row[column]) else f"{_spread(row, column, 1, scale=100)}%"


# Tables: the header, then a row for each line; an en dash where there is nothing


def summary_table(evidence: Evidence) -> list[list[str]]:
    """The results of every variant."""
    header = (
        "Variant|Seeds|Learning rate|Best epoch|Val accuracy|Test accuracy|MC accuracy|s/epoch|"
        "Total s|Epochs to baseline's best loss"
    )
    return [header.split("|"), *(_summary_row(row) for row in evidence.summary.to_dict("records"))]


def _summary_row(row: Mapping) -> list[str]:
    reached = MISSING
    if not np.isnan(row["reached_baseline"]):
        epochs = _number(row["epochs_to_baseline"], 1)
        reached = f"{epochs} ({row['reached_baseline']:.0f} of {row['seeds']})"
    return [
        str(row["variant"]),
        str(row["seeds"]),
        MISSING if np.isnan(row["learning_rate"]) else f"{row['learning_rate']:.3g}",
        _number(row["best_epoch"], 1),
        *(_percent(row, column) for column in ("val_accuracy", "test_accuracy", "mc_accuracy")),
        _number(row["seconds_per_epoch"], 2),
        _number(row["total_seconds"], 0),
        reached,
    ]


def tests_table(evidence: Evidence) -> list[list[str]]:
    """The tests behind the answers."""
    header = f"Compared|Metric|Difference|95% {PLUS_MINUS}|Pairs|p|p (Holm)|Distinguishable"
    return [header.split("|"), *(_test_row(test) for test in evidence.tests.itertuples())]


def _test_row(test: Any) -> list[str]:
    other = "without MC Dropout" if test.reference == test.variant else test.reference
    distinguishable = "yes" if test.distinguishable else "no"
    return [
        f"{test.variant} \N{MINUS SIGN} {other}",
        test.metric,
        _number(test.difference, 4),
        _number(test.half_width, 4),
        str(test.n_pairs),
        *("< 0.0001" if p < 0.0001 else _number(p, 4) for p in (test.p_value, test.p_holm)),
        MISSING if np.isnan(test.p_holm) else distinguishable,
    ]


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
        _markdown(summary_table(evidence)),
        f"{PLUS_MINUS}: half the width of the 95% confidence interval of the mean over seeds "
        "(Student's t).",
    ]
    capped = [
        f"`{row['variant']}` {row['capped']:.0f} of {row['seeds']}"
        for row in evidence.summary.to_dict("records")
        if row["capped"]
    ]
    if capped:
        sections += [f"Ended at the last permitted epoch, not stopped early: {', '.join(capped)}."]
    for one in answers(evidence):
        beginning = f"{one.verdict}. " if one.verdict else ""
        sections += [f"**{one.question}** {beginning}{one.evidence}"]
    if len(evidence.tests):
        sections += ["## Tests", _markdown(tests_table(evidence))]
        sections += ["Paired by seed; p corrected over all these tests by Holm's method."]
    if evidence.left_out:
        sections += ["## Not compared", "\n".join(f"- {one}" for one in evidence.left_out)]
    return "\n\n".join(sections) + "\n"


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    header, *body = rows
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *body))
