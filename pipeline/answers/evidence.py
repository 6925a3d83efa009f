"""All that a comparison has found, for the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pipeline.answers.fairness import Fact, LeftOut
from pipeline.answers.statistics import paired_tests
from pipeline.answers.summary import summarize, with_convergence
from pipeline.answers.verdicts import Answer, Headline, answers, headlines
from pipeline.comparisons import Question


@dataclass(kw_only=True)
class Evidence:
    """All that the report shows; what follows from the runs is worked out here, once.

    Raises:
        InputError: as in `summary.summarize`.
    """

    dataset: str
    baseline: str  # the variant whose best validation loss the others are timed against
    questions: Sequence[Question]
    title: str = ""  # what the comparison asks, in one line
    runs: pd.DataFrame  # as in `summary.summarize`
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
    timed: pd.DataFrame = field(init=False)
    summary: pd.DataFrame = field(init=False)
    tests: pd.DataFrame = field(init=False)
    answers: list[Answer] = field(init=False)
    headlines: list[Headline] = field(init=False)

    def __post_init__(self) -> None:
        given = self.runs, self.curves, self.baseline
        self.timed = with_convergence(*given)
        self.summary = summarize(*given)
        self.tests = paired_tests(*given, questions=self.questions)
        self.answers = answers(self.tests, self.questions)
        self.headlines = headlines(*given, summary=self.summary, tests=self.tests)
