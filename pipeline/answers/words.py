"""Which variant is better, converges faster and trains faster: tables and answers in words.

A sentence claims no more than the tests show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.answers.statistics import QUESTIONS, Question

MISSING = "\u2013"  # an en dash


@dataclass(frozen=True)
class Answer:
    """A question and its answer, in words."""

    question: str
    answer: str


def answers(
    summary: pd.DataFrame, tests: pd.DataFrame, questions: Sequence[Question] = QUESTIONS
) -> list[Answer]:
    """The planned questions that the tests cover, each answered from the figures.

    Args:
        summary: from `summary.summarize`.
        tests: from `significance.paired_tests`, of the same runs.
        questions: the questions that were tested.
    """
    rows = {row["variant"]: row for row in summary.to_dict("records")}
    found = []
    for question in questions:
        own = tests[tests["question"] == question.id].to_dict("records")
        if own:
            sentences = [_sentence(test, rows) for test in own]
            verdict = _verdict(own, question.wanted)
            found.append(Answer(question.text, " ".join([*verdict, *sentences])))
    return found


def _verdict(tests: Sequence[Mapping], wanted: int) -> list[str]:
    if not wanted:
        return []
    if all(np.isnan(test["p_holm"]) for test in tests):
        return ["No test is possible."]
    signs = [int(np.sign(test["difference"])) for test in tests if test["distinguishable"]]
    if not signs:
        return ["Not distinguishable."]
    if len(signs) < len(tests) or len(set(signs)) > 1:
        return ["In part."]
    return ["Yes." if signs[0] == wanted else "No, the contrary."]


def _sentence(test: Mapping, rows: Mapping[str, Mapping]) -> str:
    variant, reference = rows[test["variant"]], rows[test["reference"]]
    single = variant["seeds"] == reference["seeds"] == 1
    match test["metric"]:
        case "mc_gain":
            return _mc_sentence(variant, _finding(test, single, "higher", "lower", 100, "points"))
        case "epochs_to_baseline":
            finding = _finding(test, single, "later", "sooner", 1, "epochs")
            return _convergence_sentence(variant, reference, finding)
        case "median_epoch_seconds":
            finding = _finding(test, single, "longer", "shorter", 1, "s")
            return _speed_sentence(variant, reference, finding)
        case metric:
            column = metric.removeprefix("best_")
            finding = _finding(test, single, "higher", "lower", 100, "points")
            return (
                f"{column.replace('_', ' ').replace('val', 'validation').capitalize()} "
                f"{_percent(variant, column)} ({_seeds(variant)}), `{reference['variant']}` "
                f"{_percent(reference, column)} ({_seeds(reference)}): {finding}."
            )


def _finding(test: Mapping, single: bool, more: str, less: str, scale: int, unit: str) -> str:
    """What the test of a difference shows, and no more than that."""
    pairs, difference = test["n_pairs"], scale * test["difference"]
    if pairs == 0:
        return "no two runs to pair, so no test is possible"
    if pairs == 1:
        why = "one seed" if single else "only one pair of runs"
        return f"a difference of {difference:+.2f} {unit}, but {why}: no test is possible"
    spread = f"\N{PLUS-MINUS SIGN} {scale * test['half_width']:.2f} {unit}"
    p_holm = "< 0.001" if test["p_holm"] < 0.001 else f"= {test['p_holm']:.3f}"
    evidence = f"{pairs} paired seeds, Holm-corrected p {p_holm}"
    if not test["distinguishable"]:
        return f"not distinguishable, a difference of {difference:+.2f} {spread} ({evidence})"
    direction = more if difference > 0 else less
    return f"{direction} by {abs(difference):.2f} {spread} ({evidence})"


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
    if min(row["reached_baseline"] - row["seeds"] for row in (variant, reference)) < 0:
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


def _seeds(row: Mapping) -> str:
    return f"{row['seeds']} seed" + ("s" if row["seeds"] != 1 else "")


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else MISSING


def _spread(row: Mapping, column: str, digits: int, scale: int = 1) -> str:
    """The mean and, where it is known, the half-width of its confidence interval."""
    mean, half_width = scale * row[column], scale * row[f"{column}_half_width"]
    if np.isnan(mean) or np.isnan(half_width):
        return _number(mean, digits)
    return f"{mean:.{digits}f} \N{PLUS-MINUS SIGN} {half_width:.{digits}f}"


def _percent(row: Mapping, column: str) -> str:
    return MISSING if np.isnan(row[column]) else f"{_spread(row, column, 1, scale=100)}%"


def format_table(summary: pd.DataFrame) -> list[list[str]]:
    """The summary as text: the header, then a row per variant; an en dash where there is nothing.

    Args:
        summary: from `summary.summarize`.
    """
    header = (
        "Variant|Seeds|Learning rate|Best epoch|Val accuracy|Test accuracy|MC accuracy|s/epoch|"
        "Total s|Epochs to baseline's best loss"
    )
    return [header.split("|"), *(_table_row(row) for row in summary.to_dict("records"))]


def _table_row(row: Mapping) -> list[str]:
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


def markdown_table(summary: pd.DataFrame) -> str:
    """`format_table` as a Markdown table, the figures aligned to the right."""
    return _markdown(format_table(summary))


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    header, *body = rows
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *body))


def markdown_report(summary: pd.DataFrame, tests: pd.DataFrame, answers: Sequence[Answer]) -> str:
    """The comparison as a Markdown page: the table, the answers and the tests behind them."""
    header = ["Question", "Metric", "Difference", "Pairs", "p", "p (Holm)", "Distinguishable"]
    rows = [header]
    for row in tests.to_dict("records"):
        numbers = [_spread(row | {"difference_half_width": row["half_width"]}, "difference", 4)]
        numbers += [str(row["n_pairs"]), _probability(row["p_value"]), _probability(row["p_holm"])]
        rows.append([row["question"], row["metric"], *numbers, _yes_or_no(row)])
    sections = [
        "## Comparison",
        markdown_table(summary),
        "\N{PLUS-MINUS SIGN}: half the width of the 95% confidence interval of the mean over seeds "
        "(Student's t).",
    ]
    capped = [
        f"`{row['variant']}` {row['capped']:.0f} of {row['seeds']}"
        for row in summary.to_dict("records")
        if row["capped"]
    ]
    if capped:
        sections += [f"Ended at the last permitted epoch, not stopped early: {', '.join(capped)}."]
    sections += [f"**{answer.question}** {answer.answer}" for answer in answers]
    if len(rows) > 1:
        sections += ["## Tests", _markdown(rows)]
        sections += ["Paired by seed; p corrected over all these tests by Holm's method."]
    return "\n\n".join(sections) + "\n"


def _probability(p_value: float) -> str:
    return "< 0.0001" if p_value < 0.0001 else _number(p_value, 4)


def _yes_or_no(test: Mapping) -> str:
    if np.isnan(test["p_holm"]):
        return MISSING
    return "yes" if test["distinguishable"] else "no"
