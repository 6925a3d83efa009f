"""What a reader wants to know first: which variants verdicts call better, faster, shorter."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from pipeline.answers.verdicts import Answer

METRICS = (
    *("test_accuracy", "generalization_gap"),
    *("epochs_to_target", "median_epoch_seconds", "train_seconds", "inference_microseconds"),
    *("zero_weights", "dead_units", "distinct_units", "highest_first_loss"),
)


@dataclass(frozen=True, kw_only=True)
class Headline:
    """Who is ahead in a metric, as far as there are verdicts.

    Args:
        metric: of the questions.
        wins: their answers that name a winner.
        denied: those whose winner is not ahead on the validation images.
        others: those that name none.
        best: the variant that is the winner over every other; None where there is none.
    """

    metric: str
    wins: tuple[Answer, ...]
    denied: tuple[Answer, ...]
    others: tuple[Answer, ...]
    best: str | None


def headlines(answers: Sequence[Answer], timed: pd.DataFrame) -> list[Headline]:
    """The headlines of the metrics that something was asked about.

    Validation chooses, the test set reports: a better test accuracy makes a winner only of a
    variant that is ahead in mean validation accuracy, too. So no headline calls a model better than
    the champion, which is of the variant with the highest.

    Args:
        answers: from `verdicts.answers`.
        timed: from `summary.with_convergence`.
    """
    validation = timed.groupby("variant")["best_val_accuracy"].mean()
    found = []
    for metric in METRICS:
        asked = [one for one in answers if one.question.metric == metric]
        decided = [one for one in asked if one.winner]
        denied = [
            one
            for one in decided
            if metric == "test_accuracy" and validation[one.winner] <= validation[one.loser]
        ]
        wins = [one for one in decided if one not in denied]
        headline = Headline(
            metric=metric,
            wins=tuple(wins),
            denied=tuple(denied),
            others=tuple(one for one in asked if one not in decided),
            best=_best(wins, list(validation.index)),
        )
        found += [headline] if asked else []
    return found


def _best(wins: Sequence[Answer], variants: Sequence[str]) -> str | None:
    """The variant that has won over all others."""
    for name in variants:
        if {one.loser for one in wins if one.winner == name} == {*variants} - {name} != set():
            return name
    return None
