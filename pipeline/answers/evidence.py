"""All that a report shows; what follows from the runs is worked out here, once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.answers import headlines, measured, verdicts
from pipeline.answers.fairness import Fact
from pipeline.answers.images import ImageEvidence
from pipeline.answers.intervals import image_variance
from pipeline.answers.run_records import LeftOut
from pipeline.answers.summary import summarize, with_convergence
from pipeline.answers.verdicts import Answer
from pipeline.comparisons import Question
from pipeline.comparisons.colors import readable

# Metrics that differ from one set of test images to another as the test accuracy does.
OF_TEST_IMAGES = ("test_accuracy", "generalization_gap")


@dataclass(frozen=True, kw_only=True)
class Before:
    """What the comparison before, of the same name on the same data, came to.

    Args:
        runs: with the columns run_id, variant and seed.
        summary: as `Evidence` has it, with a variant's test accuracy at least.
        champion: empty where it is not known.
    """

    run_id: str
    ended: int  # in milliseconds
    runs: pd.DataFrame
    summary: pd.DataFrame
    answers: Sequence[Answer]
    champion: str = ""


@dataclass(kw_only=True)
class Evidence:
    """What a comparison rests on, and what it came to.

    `correct` has which test images a run has right, by its id, `mc_correct` the same with MC
    Dropout; of runs that did not log their predictions there is none, and the intervals then cover
    other seeds only.

    Raises:
        InputError: as in `summary.with_convergence`.
    """

    dataset: str
    baseline: str  # the variant that the others are timed against
    questions: Sequence[Question]
    title: str = ""  # what the comparison asks, in a sentence
    descriptions: Mapping[str, str] = field(default_factory=dict)  # of the variants
    runs: pd.DataFrame
    curves: pd.DataFrame
    colors: Mapping[str, str] = field(default_factory=dict)
    facts: Sequence[Fact] = ()
    left_out: Sequence[LeftOut] = ()
    figures: Sequence[str] = ()  # of `declarations.FIGURES`, those that its questions need
    # By variant: the trials of its search, the curve through them and what is known of its layers,
    # as `comparison_figures` takes them; what `mc_dropout` logged; the run that these two are of;
    # and of all its runs the losses of the first epoch's mini-batches.
    searches: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    rate_curves: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    activations: Mapping[str, Any] = field(default_factory=dict)
    uncertainty: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    examples: Mapping[str, str] = field(default_factory=dict)
    first_losses: Mapping[str, Sequence[npt.NDArray[np.floating]]] = field(default_factory=dict)
    correct: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    mc_correct: Mapping[str, npt.NDArray[np.bool_]] = field(default_factory=dict)
    ensembles: pd.DataFrame = field(default_factory=pd.DataFrame)
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by variant, as used
    images_per_class: Mapping[str, int] = field(default_factory=dict)  # to train with, by variant
    images: ImageEvidence | None = None
    champion: str = ""  # the model that has the title in the end, in a few words
    before: Before | None = None

    def __post_init__(self) -> None:
        self.colors = {variant: readable(color) for variant, color in self.colors.items()}
        self.timed = with_convergence(self.runs, self.curves, self.baseline)
        self.summary = summarize(self.timed)
        self.answers = self.answered(self.questions)
        self.headlines = headlines.headlines(self.answers, self.timed)

    def answered(self, questions: Sequence[Question]) -> list[Answer]:
        """The answers that the runs give to some questions."""
        runs = measured.by_variant(self.timed)
        return verdicts.answers(questions, runs, self._image_variances(questions))

    def _image_variances(self, questions: Sequence[Question]) -> dict[str, float]:
        """Of the questions about accuracies, where all runs logged their predictions."""
        plain, sampled = self._by_variant(self.correct), self._by_variant(self.mc_correct)
        found = {}
        for one in questions:
            variant, reference = plain.get(one.variant), plain.get(one.reference)
            if one.metric == "mc_gain" and variant is not None and one.variant in sampled:
                gain = sampled[one.variant].astype(np.int8) - variant
                found[one.id] = image_variance(gain)
            elif variant is not None and reference is not None and one.metric in OF_TEST_IMAGES:
                found[one.id] = image_variance(variant, reference)
        return found

    def _by_variant(
        self, correct: Mapping[str, npt.NDArray[np.bool_]]
    ) -> dict[str, npt.NDArray[np.bool_]]:
        """What the runs of each variant have right, of shape (runs, images), if all logged it."""
        return {
            str(variant): np.stack([correct[one] for one in ids])
            for variant, ids in self.runs.groupby("variant")["run_id"]
            if all(one in correct for one in ids)
        }
