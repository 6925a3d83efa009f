"""What the tests come to: an answer to every question, and who is first, as values.

"Beyond noise" is decided here and nowhere else; see `answers`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from pipeline.answers.statistics import paired_tests
from pipeline.comparisons import Question


class Verdict(StrEnum):
    """The answer to a question in short."""

    YES = "yes"
    CONTRARY = "no, the contrary"
    PART = "in part"
    EQUAL = "equal"
    NOT_DISTINGUISHABLE = "not distinguishable"
    NO_TEST = "no test is possible"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A question and what its tests come to.

    Args:
        question: as it was asked.
        verdict: None where the figures are the answer.
        tests: its rows of `statistics.paired_tests`, as named tuples.
    """

    question: Question
    verdict: Verdict | None
    tests: Sequence[Any]

    @property
    def winner(self) -> str | None:
        """The variant that is better than the other beyond noise."""
        names = {Verdict.YES: self.question.variant, Verdict.CONTRARY: self.question.reference}
        return names.get(self.verdict) if self.verdict else None


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One of the three things that a reader wants to know first: who is first in a metric.

    Args:
        metric: what is tested.
        column: its mean, in the summary.
        leaders: the first by the mean; more than one where they are level.
        tested: whether any two variants could be tested.
        ahead_of: the variants that all leaders are ahead of, beyond noise.
        level_with: all other variants.
        also: another view of it, in the summary.
        also_first: the first by that view; none where it has no value.
    """

    metric: str
    column: str
    leaders: tuple[str, ...]
    tested: bool
    ahead_of: tuple[str, ...]
    level_with: tuple[str, ...]
    also: str
    also_first: tuple[str, ...]

    @property
    def proven(self) -> bool:
        """Whether one variant is ahead of every other beyond noise."""
        return self.tested and len(self.leaders) == 1 and not self.level_with


def answers(tests: pd.DataFrame, questions: Sequence[Question]) -> list[Answer]:
    """The questions that the tests cover, each with its verdict.

    Args:
        tests: from `statistics.paired_tests`.
        questions: those that were tested.
    """
    found = []
    for question in questions:
        if own := tuple(tests[tests["question"] == question.id].itertuples()):
            verdict = _verdict(question, own)
            found.append(Answer(question=question, verdict=verdict, tests=own))
    return found


def is_equal(test: Any, margin: float) -> bool:
    """Whether the whole interval of a difference is smaller than what would matter."""
    # Without spread there is no interval: seeds can agree by chance.
    return test.half_width > 1e-9 and abs(test.difference) + test.half_width < margin


def _verdict(question: Question, tests: Sequence[Any]) -> Verdict | None:
    if question.describes:
        return None
    if all(np.isnan(test.p_holm) for test in tests):
        return Verdict.NO_TEST
    matter = [test for test in tests if not is_equal(test, question.margin)]
    if not matter:
        return Verdict.EQUAL
    signs = [int(np.sign(test.difference)) for test in matter if test.distinguishable]
    if not signs:
        return Verdict.NOT_DISTINGUISHABLE
    if len(signs) < len(tests) or len(set(signs)) > 1:
        return Verdict.PART
    return Verdict.YES if signs[0] == question.better else Verdict.CONTRARY


# The metric that is tested, its mean in the summary, and another view of the same there.
_CONTESTS = (
    ("test_accuracy", "test_accuracy", "val_accuracy"),
    ("epochs_to_baseline", "epochs_to_baseline", "seconds_to_baseline"),
    ("median_epoch_seconds", "seconds_per_epoch", "total_seconds"),
)


def headlines(
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    baseline: str,
    *,
    summary: pd.DataFrame,
    tests: pd.DataFrame,
) -> list[Headline]:
    """Which variant is best, converges fastest and trains fastest, each as far as it is known.

    A variant is first by its mean over the seeds. It is called ahead of another where a paired
    test over all pairs of variants, corrected by Holm's method, says so, and the planned test of
    the same pair and metric, where there is one, does not contradict it.

    Args:
        runs, curves, baseline: as in `summary.summarize`.
        summary: from there.
        tests: the planned ones, from `statistics.paired_tests`.
    """
    names = [str(name) for name in summary["variant"]]
    found = []
    for metric, column, also in _CONTESTS:
        pairs = [
            Question(variant=one, reference=other, metric=metric)
            for one, other in combinations(names, 2)
        ]
        all_pairs = paired_tests(runs, curves, baseline, questions=pairs)
        denied = tests[(tests["metric"] == metric) & ~tests["distinguishable"]]
        winner = {_pair(one.question): one.winner for one in answers(all_pairs, pairs)}
        winner |= dict.fromkeys(map(_pair, denied.itertuples()))
        higher = bool(pairs) and pairs[0].better > 0
        leaders, also_first = (_first(summary, name, higher) for name in (column, also))
        others = [name for name in names if name not in leaders]
        behind = [
            name
            for name in others
            if all(winner.get(frozenset({one, name})) == one for one in leaders)
        ]
        if leaders:
            found.append(
                Headline(
                    metric=metric,
                    column=column,
                    leaders=leaders,
                    tested=bool((all_pairs["n_pairs"] >= 2).any()),
                    ahead_of=tuple(behind),
                    level_with=tuple(name for name in others if name not in behind),
                    also=also,
                    also_first=also_first,
                )
            )
    return found


def _pair(compared: Any) -> frozenset[str]:
    """The variants of a question, or of a test."""
    return frozenset({compared.variant, compared.reference})


def _first(summary: pd.DataFrame, column: str, higher: bool) -> tuple[str, ...]:
    """The best by their means; for convergence of those that most seeds got there with."""
    known = summary[summary[column].notna()]
    if known.empty:
        return ()
    if column.endswith("to_baseline"):
        share = known["reached_baseline"] / known["seeds"]
        known = known[share == share.max()]
    best = known[column].max() if higher else known[column].min()
    return tuple(map(str, known["variant"][np.isclose(known[column], best, rtol=1e-9)]))
