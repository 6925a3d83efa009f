"""What a question's metric measures: from the table of runs to an effect with its interval."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
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
    """Differences of means over the runs that logged the metric; of ratios, of the logarithms."""
    metric = questions[0].metric
    logged = {name: np.asarray(of[metric], np.float64) for name, of in runs.items()}
    values = {name: of[~np.isnan(of)] for name, of in logged.items()}
    if questions[0].about.is_ratio:
        values = {name: np.log(of[of > 0]) for name, of in values.items()}
    every = [*values.values()]
    # How far the units of one network spread tells nothing of another's.
    found_spreads = map(own_spread, every) if metric in COUNTED else spreads(every)
    spread = dict(zip(values, found_spreads, strict=True))
    found: list[Found] = []
    for one in questions:
        if missing := _not_logged(one, values):
            found.append(missing)
            continue
        if same := _seeds_of_one_network(runs[one.variant], runs[one.reference], metric):
            samples = (Spread(0.0, same - 1),)
            found.append(
                MeanDifference(effect=0.0, sizes=(same, same), samples=samples, counted=True)
            )
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


def _seeds_of_one_network(
    one: Mapping[str, Floats], other: Mapping[str, Floats], metric: str
) -> int:
    """How many seeds make two variants the same network, to the last digit; of all or of none."""
    if not {"test_loss", "seed"} <= one.keys() & other.keys():
        return 0
    _, ours, theirs = np.intersect1d(one["seed"], other["seed"], return_indices=True)
    columns = ("test_loss", metric)
    are_same = all(np.array_equal(one[name][ours], other[name][theirs]) for name in columns)
    return ours.size if are_same else 0


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
        # As many pairs of one hour as can be, however far apart that leaves the others.
        costs = np.where(gaps <= BLOCK, gaps, BLOCK * (1 + min(gaps.shape)))
        for i, j in zip(*linear_sum_assignment(costs), strict=True):
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
