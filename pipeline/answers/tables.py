"""Figures as text, alone and in tables; an en dash where there is nothing."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.answers.evidence import Evidence

MISSING = "\u2013"
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
_SUMMARY = ["Variant", "Seeds", "Learning rate", "Best epoch", "Val accuracy", "Test accuracy"]
_SUMMARY += ["MC accuracy", "s/epoch", "Total s", "Epochs to baseline's best loss"]
_TESTS = ["Compared", "Metric", "Difference", f"95% {PLUS_MINUS}"]
_TESTS += ["Pairs", "p", "p (Holm)", "Distinguishable"]
# The digits that a column of the summary is worth, where it is no accuracy.
_DIGITS = {"epochs_to_baseline": 1, "seconds_to_baseline": 1, "seconds_per_epoch": 2}
_DIGITS |= {"total_seconds": 0, "nll": 3, "mc_nll": 3, "ece": 3, "mc_ece": 3}


def number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else MISSING


def p_value(value: float, digits: int) -> str:
    least = 10.0**-digits
    return f"< {least:.{digits}f}" if value < least else number(value, digits)


def figure(row: Mapping, column: str) -> str:
    """The mean and, where it is known, half the width of its confidence interval."""
    is_share = column.endswith("accuracy")
    scale, unit, digits = (100, "%", 1) if is_share else (1, "", _DIGITS[column])
    mean, half_width = scale * row[column], scale * row.get(f"{column}_half_width", np.nan)
    around = "" if np.isnan(half_width) else f" {PLUS_MINUS} {half_width:.{digits}f}"
    return f"{mean:.{digits}f}{around}{unit}" if np.isfinite(mean) else MISSING


def summary_table(evidence: Evidence) -> list[list[str]]:
    """The header, then the results of every variant."""
    return [_SUMMARY, *map(_summary_row, evidence.summary.to_dict("records"))]


def _summary_row(row: Mapping) -> list[str]:
    epochs, count = number(row["epochs_to_baseline"], 1), row["reached_baseline"]
    return [
        row["variant"],
        str(row["seeds"]),
        MISSING if np.isnan(row["learning_rate"]) else f"{row['learning_rate']:.3g}",
        number(row["best_epoch"], 1),
        *(figure(row, column) for column in ("val_accuracy", "test_accuracy", "mc_accuracy")),
        figure(row, "seconds_per_epoch"),
        number(row["total_seconds"], 0),
        MISSING if np.isnan(count) else f"{epochs} ({count:.0f} of {row['seeds']})",
    ]


def tests_table(evidence: Evidence) -> list[list[str]]:
    """The header, then the tests behind the answers."""
    return [_TESTS, *map(_test_row, evidence.tests.itertuples())]


def _test_row(test: Any) -> list[str]:
    other = "without MC Dropout" if test.reference == test.variant else test.reference
    return [
        f"{test.variant} \N{MINUS SIGN} {other}",
        test.metric,
        *(number(value, 4) for value in (test.difference, test.half_width)),
        str(test.n_pairs),
        *(p_value(value, 4) for value in (test.p_value, test.p_holm)),
        MISSING if np.isnan(test.p_holm) else "yes" if test.distinguishable else "no",
    ]


def markdown(rows: list[list[str]]) -> str:
    """A table in Markdown, its figures to the right."""
    header, *body = rows
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *body))
