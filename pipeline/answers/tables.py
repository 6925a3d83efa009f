"""Figures as text, alone and in tables; an en dash where there is nothing."""

import math
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import pandas as pd

from pipeline.answers.evidence import Evidence
from pipeline.answers.summary import IF_ASKED
from pipeline.answers.verdicts import Answer, Verdict
from pipeline.comparisons import Question

MISSING = "\u2013"
UNREACHED = "not in most"  # of the runs, so that there is no median
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
DESCRIBED = "described, not tested"  # in place of a verdict
_SUMMARY = ["Variant", "Seeds", "Learning rate", "Best epoch", "Train accuracy", "Val accuracy"]
_SUMMARY += ["Test accuracy", "Test precision", "MC accuracy", "Ensemble", "s/epoch", "s/training"]
_SUMMARY += ["Epochs to target"]
_OPTIONAL = ["Train accuracy", "Test precision", "MC accuracy", "Ensemble"]  # not of every run
_ENSEMBLES = ["Variant", "Model", "Seeds", "Accuracy", "NLL", "ECE"]
_SPARSITY = ["Variant", "Weights of 0", "Below 0.001", "Compressed (MB)", "Test accuracy"]
_ANSWERS = ["Compared", "Metric", "Role", "Verdict", "Effect", "Interval", "Confidence", "Margin"]
_ANSWERS += ["Runs", "Seeds to decide"]
_ASKED = ["id", "role", "metric", "variant", "reference", "margin"]
_FOUND = ["verdict", "effect", "low", "high", "confidence", "covers_images", "seeds", "minutes"]
_FOUND += ["reason"]
# The digits that a column of the summary is worth, where it is no accuracy.
_DIGITS = {"epochs_to_target": 1, "seconds_to_target": 1, "seconds_per_epoch": 2}
_DIGITS |= {"total_seconds": 0, "nll": 3, "mc_nll": 3, "ece": 3, "mc_ece": 3}
_DIGITS |= {"distinct_units": 1, "inference_microseconds": 1}
_SHARES = ("accuracy", "precision", "zero_weights", "dead_units")
# What a difference is told in, and how many of these are 1; others in points, of a hundredth.
_UNITS = {"distinct_units": ("unit", 1)}


# The summary


def number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else MISSING


def figure(row: Mapping, column: str) -> str:
    """A figure of a row of the summary; most runs may never have reached the target."""
    if column.endswith(_SHARES):
        return percent(row[column])
    if column == "highest_first_loss":
        return f"{row[column]:.3g}" if np.isfinite(row[column]) else MISSING
    if column == "generalization_gap":
        return f"{100 * row[column]:.2f} points" if np.isfinite(row[column]) else MISSING
    if column.endswith("to_target") and np.isinf(row[column]):
        return UNREACHED
    digits = _DIGITS[column]
    if "seconds" in column and 0 < row[column] < math.inf:  # a small epoch takes milliseconds
        digits = max(digits, 1 - math.floor(math.log10(row[column])))
    return number(row[column], digits)


def percent(share: float) -> str:
    return f"{100 * share:.1f}%" if np.isfinite(share) else MISSING


def spread(row: Mapping, column: str) -> str:
    """A mean accuracy and, where it is known, half the width of its confidence interval."""
    half_width = row[f"{column}_half_width"]
    if np.isnan(half_width):
        return figure(row, column)
    return f"{100 * row[column]:.1f} {PLUS_MINUS} {100 * half_width:.1f}%"


def summary_table(evidence: Evidence) -> list[list[str]]:
    """The header, then the results of every variant; without columns that no run has any of."""
    ensembles = {
        one.variant: float(one.accuracy)
        for one in evidence.ensembles.itertuples()
        if one.model == "ensemble"
    }
    asked = {one.metric for one in evidence.questions}
    more = {metric: title for metric, title in IF_ASKED.items() if metric in asked}
    rows = [[*_SUMMARY, *more.values()]]
    for row in evidence.summary.to_dict("records"):
        cells = _summary_row(row, ensembles.get(row["variant"], math.nan))
        rows.append([*cells, *(figure(row, metric) for metric in more)])
    columns = [
        column
        for column in zip(*rows, strict=True)
        if column[0] not in _OPTIONAL or {*column[1:]} != {MISSING}
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def _summary_row(row: Mapping, ensemble: float) -> list[str]:
    reached = row["reached_target"]
    epochs = f"{figure(row, 'epochs_to_target')} ({reached:.0f} of {row['seeds']})"
    return [
        row["variant"],
        str(row["seeds"]),
        MISSING if np.isnan(row["learning_rate"]) else f"{row['learning_rate']:.3g}",
        number(row["best_epoch"], 1),
        figure(row, "train_accuracy"),
        *(spread(row, column) for column in ("val_accuracy", "test_accuracy")),
        figure(row, "test_precision"),
        spread(row, "mc_accuracy"),
        percent(ensemble),
        *(figure(row, column) for column in ("seconds_per_epoch", "total_seconds")),
        MISSING if np.isnan(reached) else epochs,
    ]


def sparsity_table(evidence: Evidence) -> list[list[str]]:
    """The header, then how many weights of every variant are 0 or small, and their size."""
    rows = evidence.summary.sort_values("zero_weights", kind="stable").to_dict("records")
    shares = ("zero_weights", "small_weights")
    cells = [
        [
            row["variant"],
            *(percent(row[share]) for share in shares),
            number(row["compressed_megabytes"], 2),
            spread(row, "test_accuracy"),
        ]
        for row in rows
    ]
    return [_SPARSITY, *cells]


def ensembles_table(evidence: Evidence) -> list[list[str]]:
    """The header, then what one seed's model and the mean of all seeds' come to."""
    return [
        _ENSEMBLES,
        *(
            [one.variant, one.model, str(one.seeds), percent(one.accuracy)]
            + [number(value, 3) for value in (one.nll, one.ece)]
            for one in evidence.ensembles.itertuples()
        ),
    ]


# The answers


def effect(answer: Answer) -> str:
    """An effect, such as `+3.98 points` or `1.16 times`; empty where there is no such figure."""
    is_ratio = answer.question.about.is_ratio
    if not math.isfinite(answer.effect) or (is_ratio and not answer.effect):
        return ""
    if is_ratio:
        return f"{_ratio(answer.effect, 2)} times"
    noun, scale = unit(answer.question)
    # Not -0.00.
    return f"{round(scale * answer.effect, 2) + 0.0:+.2f} {noun}s"


def _ratio(value: float, digits: int) -> str:
    """With some digits after the point; of what is many times as large or small the first three."""
    if value >= 1e9:
        return f"{value:.2e}"
    if value >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.{digits}f}" if value >= 0.01 else f"{value:.3g}"


def unit(question: Question) -> tuple[str, int]:
    """What a difference is told in, and how many of these are 1."""
    return _UNITS.get(question.metric, ("point", 100))


def margin(question: Question) -> str:
    """What is too small to matter."""
    smallest = question.margin or 0
    if question.about.is_ratio:
        return f"{100 * smallest:g}%"
    noun, scale = unit(question)
    return f"{scale * smallest:g} {noun}{'s'[: scale * smallest != 1]}"


def interval(answer: Answer) -> str:
    """Its ends, such as `2.10 to 5.90`; empty where there is none."""
    if math.isnan(answer.low):
        return ""
    is_ratio = answer.question.about.is_ratio
    scale = 1 if is_ratio else unit(answer.question)[1]
    low, high = (scale * end for end in (answer.low, answer.high))
    digits = _digits(answer.question, low, high)
    if not is_ratio:
        return f"{low:.{digits}f} to {high:.{digits}f}"
    if low == 0 and math.isinf(high):
        return "unbounded"
    least, most = (_ratio(end, digits) for end in (low, high))
    if low == 0 or math.isinf(high):
        return f"at most {most} times" if low == 0 else f"at least {least} times"
    return f"{least} to {most}"


def _digits(question: Question, *ends: float) -> int:
    """Two, or as many as it takes to tell the ends from no effect, and from the margin."""
    least = question.smallest
    limits: tuple[float, ...] = (0, unit(question)[1] * least)
    if question.about.is_ratio:
        limits = (1, math.exp(least), math.exp(-least))
    gaps = [abs(abs(end) - limit) for end in ends for limit in limits]
    return next((n for n in (2, 3) if not any(1e-9 < gap < 0.5 * 10**-n for gap in gaps)), 4)


def confidence(answer: Answer) -> str:
    """That of its interval, rounded down: never 100%."""
    return f"{math.floor(1000 * answer.confidence + 1e-6) / 10:g}%"


def compared(question: Question) -> str:
    """What is compared with what."""
    if question.reference == question.variant:
        return f"{question.variant} with MC Dropout"
    return f"{question.variant} over {question.reference}"


def answers_table(evidence: Evidence) -> list[list[str]]:
    """The header, then every answer with the interval that its verdict rests on."""
    return [_ANSWERS, *map(_answer_row, evidence.answers)]


def _answer_row(answer: Answer) -> list[str]:
    question = answer.question
    is_known = bool(interval(answer))
    cells = [
        *(compared(question), question.metric, question.role, answer.verdict or ""),
        *(effect(answer), interval(answer), confidence(answer) if is_known else ""),
        margin(question),
        " and ".join(map(str, dict.fromkeys(answer.sizes))) if any(answer.sizes) else "",
        "" if answer.seeds is None else str(answer.seeds),
    ]
    return [cell or MISSING for cell in cells]


def answers_frame(answers: Sequence[Answer]) -> pd.DataFrame:
    """The answers as values, a row each; accuracies are fractions."""
    asked, found = attrgetter(*_ASKED), attrgetter(*_FOUND)
    rows = [[*asked(one.question), *one.sizes, *found(one)] for one in answers]
    columns = ["question", *_ASKED[1:], "runs", "reference_runs", *_FOUND]
    return pd.DataFrame(rows, columns=columns)


def answers_of(frame: pd.DataFrame) -> list[Answer]:
    """The answers from their values, as `answers_frame` gives them; raises what pandas may.

    What is read of a question is what was asked; of its text, nothing is known.
    """
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [_answer_of({str(name): value for name, value in row.items()}) for row in rows]


def _answer_of(row: Mapping[str, Any]) -> Answer:
    asked = {name: row[name] for name in _ASKED if name != "id"}

    def figure_of(name: str) -> float:
        return math.nan if row[name] is None else float(row[name])

    return Answer(
        question=Question(**asked),
        verdict=Verdict(row["verdict"]) if row["verdict"] else None,
        effect=figure_of("effect"),
        low=figure_of("low"),
        high=figure_of("high"),
        confidence=figure_of("confidence"),
        sizes=(int(row["runs"]), int(row["reference_runs"])),
        reason=row["reason"] or "",
        seeds=None if row["seeds"] is None else int(row["seeds"]),
    )


def markdown(rows: list[list[str]]) -> str:
    """A table in Markdown, its figures to the right."""
    header, *body = rows
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *body))
