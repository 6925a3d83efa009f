"""What a question's metric measures: from the table of runs to an effect with its interval."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.answers.intervals import (
    CensoredRatio,
    Estimate,
    Floats,
    MeanDifference,
    Spread,
    Times,
    own_spread,
    spreads,
)
from pipeline.comparisons import Question
from pipeline.comparisons.questions import TIMES

Runs = Mapping[str, Mapping[str, Floats]]  # by variant and column, an entry per run
ImageVariances = Mapping[str, float]  # by the ids of questions
Places = npt.NDArray[np.intp]
Found = Estimate | str  # an effect, or why there is none
BLOCK = 3600_000  # milliseconds: the machine may be another one an hour later
COUNTED = ("zero_weights", "dead_units", "distinct_units")


def by_variant(timed: pd.DataFrame) -> dict[str, dict[str, Floats]]:
    """The columns of each variant's runs, from a table as `summary.with_convergence` gives it."""
    return {
        str(name): {str(column): of.to_numpy() for column, of in group.items()}
        for name, group in timed.groupby("variant", sort=False)
    }


def estimates(
    questions: Sequence[Question], runs: Runs, image_variances: ImageVariances
) -> list[Found]:
    """What is known of each question's effect; its variants have runs."""
    found: dict[str, Found] = {}
    for metric in dict.fromkeys(question.metric for question in questions):
        asked = [question for question in questions if question.metric == metric]
        of_metric = _ESTIMATES[metric](asked, runs, image_variances)
        found |= {one.id: of for one, of in zip(asked, of_metric, strict=True)}
    return [found[question.id] for question in questions]


def _means(
    questions: Sequence[Question], runs: Runs, image_variances: ImageVariances
) -> list[Found]:
    """Differences of means over the runs that logged the metric; of ratios, of the logarithms.

    Of questions that are to be answered in pairs, mean differences of runs of the same seed.
    """
    metric = questions[0].metric
    paired = [one for one in questions if one.paired]
    in_pairs = iter(_by_seed(paired, runs, image_variances))
    logged = {name: np.asarray(of[metric], np.float64) for name, of in runs.items()}
    values = {name: of[~np.isnan(of)] for name, of in logged.items()}
    if questions[0].about.is_ratio:
        values = {name: np.log(of[of > 0]) for name, of in values.items()}
    samples = [*values.values()]
    # How far the units of one network spread tells nothing of another's.
    found_spreads = map(own_spread, samples) if metric in COUNTED else spreads(samples)
    spread = dict(zip(values, found_spreads, strict=True))
    found: list[Found] = []
    for one in questions:
        if one.paired:
            found.append(next(in_pairs))
            continue
        if missing := _not_logged(one, values):
            found.append(missing)
            continue
        ours, theirs = values[one.variant], values[one.reference]
        difference = MeanDifference(
            effect=float(ours.mean() - theirs.mean()),
            sizes=(ours.size, theirs.size),
            samples=(spread[one.variant], spread[one.reference]),
            image_variance=image_variances.get(one.id, 0.0),
            counted=metric in COUNTED,
        )
        found.append(difference)
    return found


def _by_seed(
    questions: Sequence[Question], runs: Runs, image_variances: ImageVariances
) -> list[Found]:
    """Mean differences of runs of the same seed; none at all where they are one network."""
    pairs: list[Floats | str] = []
    same: list[bool] = []
    for one in questions:
        of = runs[one.variant], runs[one.reference]
        ours, theirs = (
            {column: values[places] for column, values in runs_of.items()}
            for runs_of, places in zip(of, of_one_seed(*of), strict=True)
        )
        differences = np.asarray(ours[one.metric] - theirs[one.metric], np.float64)
        differences = differences[~np.isnan(differences)]
        none = f"no two runs of a seed have logged {one.metric}"
        pairs.append(differences if differences.size else none)
        same.append(bool((ours["nll"] == theirs["nll"]).all() and not differences.any()))
    found = _of_pairs(questions, pairs, image_variances)
    return [
        replace(of, samples=(Spread(0.0, of.sizes[0] - 1),), image_variance=0.0, counted=True)
        if is_same and isinstance(of, MeanDifference)
        else of
        for of, is_same in zip(found, same, strict=True)
    ]


def of_one_seed(one: Mapping[str, Floats], other: Mapping[str, Floats]) -> tuple[Places, Places]:
    """Where in two tables of runs those are that have a seed in common, in the same order."""
    _, ours, theirs = np.intersect1d(one["seed"], other["seed"], return_indices=True)
    return ours, theirs


def _not_logged(question: Question, values: Mapping[str, Floats]) -> str:
    """Which of the two of a question have no values of its metric; empty if both do."""
    names = question.variant, question.reference
    missing = [name for name in names if not np.isfinite(values[name]).any()]
    return f"no run of {' and '.join(missing)} has logged {question.metric}" if missing else ""


def _of_pairs(
    questions: Sequence[Question],
    pairs: Sequence[Floats | str],
    image_variances: ImageVariances,
) -> list[Found]:
    """Mean differences of pairs; the pairs of each question, or why there are none."""
    samples = [one for one in pairs if not isinstance(one, str)]
    known = iter(zip(samples, spreads(samples), strict=True))
    found: list[Found] = []
    for question, of in zip(questions, pairs, strict=True):
        if isinstance(of, str):
            found.append(of)
            continue
        sample, spread = next(known)
        found.append(
            MeanDifference(
                effect=float(sample.mean()),
                sizes=(sample.size, sample.size),
                samples=(spread,),
                image_variance=image_variances.get(question.id, 0.0),
            )
        )
    return found


def _gains(
    questions: Sequence[Question], runs: Runs, image_variances: ImageVariances
) -> list[Found]:
    """MC Dropout against the same run without it."""
    pairs: list[Floats | str] = []
    for question in questions:
        of = runs[question.variant]
        gains = of["mc_accuracy"] - of["test_accuracy"]
        gains = gains[~np.isnan(gains)]
        pairs.append(gains if gains.size else "no run of it has MC Dropout")
    return _of_pairs(questions, pairs, image_variances)


def _times(
    questions: Sequence[Question], runs: Runs, _image_variances: ImageVariances
) -> list[Found]:
    """Logarithms of ratios of times, in blocks; of a time, test images say nothing."""
    metric = questions[0].metric
    logged = {name: np.asarray(of[metric], np.float64) for name, of in runs.items()}
    pairs = [
        _not_logged(one, logged) or _in_blocks(runs[one.variant], runs[one.reference], metric)
        for one in questions
    ]
    return _of_pairs(questions, pairs, {})


def _in_blocks(one: Mapping[str, Floats], other: Mapping[str, Floats], metric: str) -> Floats | str:
    """A variant's runs, each with the reference's that is nearest in time, on one processor.

    Runs that other work disturbed are left out, and those of which it is not known where they ran.
    """
    from scipy.optimize import linear_sum_assignment  # a third of a second, for a few figures

    ratios: list[float] = []
    apart = 0
    usable = [
        (of["processor"] != "") & ~np.asarray(of["disturbed"], bool) & (of[metric] > 0)
        for of in (one, other)
    ]
    for processor in np.unique(one["processor"][usable[0]].astype(str)):
        mine, theirs = (
            np.flatnonzero(good & (of["processor"] == processor))
            for good, of in zip(usable, (one, other), strict=True)
        )
        gaps = np.abs(np.subtract.outer(one["started"][mine], other["started"][theirs]))
        for i, j in zip(*linear_sum_assignment(gaps), strict=True):
            if gaps[i, j] <= BLOCK:
                ratios.append(math.log(one[metric][mine[i]] / other[metric][theirs[j]]))
            else:
                apart += 1
    if ratios:
        return np.array(ratios)
    if apart:
        return "the runs were more than an hour apart"
    return "no two undisturbed runs on the same processor"


def _convergence(
    questions: Sequence[Question], runs: Runs, _image_variances: ImageVariances
) -> list[Found]:
    """How many times as many epochs it takes to the target."""
    return [_convergence_of(runs[one.variant], runs[one.reference]) for one in questions]


def _convergence_of(one: Mapping[str, Floats], other: Mapping[str, Floats]) -> Found:
    if np.isnan(one["target"]).any():
        return "the baseline has no run that could set the target"
    if not all((of["last_epoch"] > 0).all() for of in (one, other)):
        return "a network that is judged as it is has no epochs"
    variant, reference = (
        Times(
            np.where(np.isnan(of["epochs_to_target"]), of["last_epoch"], of["epochs_to_target"]),
            ~np.isnan(of["epochs_to_target"]),
        )
        for of in (one, other)
    )
    medians = variant.median, reference.median
    if not any(map(math.isfinite, medians)):
        return "most runs of both never reached the target"
    with np.errstate(divide="ignore"):  # never is infinitely late
        effect = float(np.log(medians[0] / medians[1]))
    sizes = len(variant.times), len(reference.times)
    return CensoredRatio(effect=effect, sizes=sizes, variant=variant, reference=reference)


_ESTIMATES: Mapping[str, Callable[[Sequence[Question], Runs, ImageVariances], list[Found]]] = {
    "test_accuracy": _means,
    "generalization_gap": _means,
    "mc_gain": _gains,
    **dict.fromkeys(TIMES, _times),
    "epochs_to_target": _convergence,
    "highest_first_loss": _means,
    **dict.fromkeys(COUNTED, _means),
}
