"""What the tests come to: an answer to every question, and who is first, as values.

"Beyond noise" is decided here and nowhere else; see `answers`. `Evidence` has it all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from pipeline.answers.fairness import Fact, LeftOut
from pipeline.answers.statistics import paired_tests, summarize, with_convergence
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
    """A question and what its tests come to."""

    question: Question
    verdict: Verdict | None  # None where the figures are the answer
    tests: Sequence[Any]  # its rows of `statistics.paired_tests`, as named tuples

    @property
    def winner(self) -> str | None:
        """The variant that is better than the other beyond noise."""
        names = {Verdict.YES: self.question.variant, Verdict.CONTRARY: self.question.reference}
        return names.get(self.verdict) if self.verdict else None


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One of the three things that a reader wants to know first: who is first in a metric."""

    metric: str  # what is tested
    column: str  # its mean, in the summary
    leaders: tuple[str, ...]  # the first by the mean; more than one where they are level
    tested: bool  # whether any two variants could be tested
    ahead_of: tuple[str, ...]  # the variants that all leaders are ahead of, beyond noise
    level_with: tuple[str, ...]  # all other variants
    also: str  # another view of it, in the summary
    also_first: tuple[str, ...]  # the first by that view; none where it has no value

    @property
    def proven(self) -> bool:
        """Whether one variant is ahead of every other beyond noise."""
        return self.tested and len(self.leaders) == 1 and not self.level_with


@dataclass(kw_only=True)
class Evidence:
    """All that the report shows; what follows from the runs is worked out here, once.

    Raises:
        InputError: as in `statistics.with_convergence`.
    """

    dataset: str
    baseline: str  # the variant whose best validation loss the others are timed against
    questions: Sequence[Question]
    title: str = ""  # what the comparison asks, in one line
    runs: pd.DataFrame  # as in `statistics.with_convergence`
    curves: pd.DataFrame  # the same, with val_accuracy and epoch_seconds
    colors: Mapping[str, str]  # a hex colour for each variant
    facts: Sequence[Fact]
    left_out: Sequence[LeftOut] = ()
    # By variant: the trials of its search and the activations, as `comparison_figures` takes them;
    # what `mc_dropout` logged; and the name of the run that these two are of.
    searches: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    activations: Mapping[str, Any] = field(default_factory=dict)
    uncertainty: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)
    # By run: which test images it has right, a bool array of shape (n,), where it logged that.
    correct: Mapping[str, np.ndarray] = field(default_factory=dict)
    ensembles: pd.DataFrame = field(default_factory=pd.DataFrame)  # as `predictions.ensembles`

    def __post_init__(self) -> None:
        self.timed = with_convergence(self.runs, self.curves, self.baseline)
        self.summary = summarize(self.timed)
        self.tests = paired_tests(self.timed, self.questions)
        self.answers = answers(self.tests, self.questions)
        self.headlines = headlines(self.timed, self.summary, self.tests)


def answers(tests: pd.DataFrame, questions: Sequence[Question]) -> list[Answer]:
    """The questions that were tested and that the tests cover, each with its verdict."""
    return [
        Answer(question=question, verdict=_verdict(question, own), tests=own)
        for question in questions
        if (own := tuple(tests[tests["question"] == question.id].itertuples()))
    ]


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


def headlines(timed: pd.DataFrame, summary: pd.DataFrame, planned: pd.DataFrame) -> list[Headline]:
    """Which variant is best, converges fastest and trains fastest, each as far as it is known.

    A variant is first by its mean over the seeds. It is called ahead of another where a paired
    test over all pairs of variants, corrected by Holm's method, says so, and the planned test of
    the same pair and metric, where there is one, does not contradict it.

    Args:
        timed, summary: from `statistics.with_convergence` and `statistics.summarize`.
        planned: the planned tests, from `statistics.paired_tests`.
    """
    found = []
    names = [str(name) for name in summary["variant"]]
    for metric, column, also in _CONTESTS:
        pairs = [
            Question(variant=one, reference=other, metric=metric)
            for one, other in combinations(names, 2)
        ]
        tests = paired_tests(timed, pairs)
        winner = {_pair(answer.question): answer.winner for answer in answers(tests, pairs)}
        denied = planned[(planned["metric"] == metric) & ~planned["distinguishable"]]
        winner |= dict.fromkeys(map(_pair, denied.itertuples()))
        higher = bool(pairs) and pairs[0].better > 0
        if leaders := _first(summary, column, higher):
            others = [name for name in names if name not in leaders]
            beaten = {
                name
                for name in others
                if all(winner.get(frozenset({one, name})) == one for one in leaders)
            }
            headline = Headline(
                metric=metric,
                column=column,
                leaders=leaders,
                tested=bool((tests["n_pairs"] >= 2).any()),
                ahead_of=tuple(name for name in others if name in beaten),
                level_with=tuple(name for name in others if name not in beaten),
                also=also,
                also_first=_first(summary, also, higher),
            )
            found.append(headline)
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
