"""What became of variants since an earlier comparison: their runs then and now, side by side.

Then and now are judged as two variants of a question are, all variants and metrics of a night as
one family. `python -m benchmarks.regressions` measures how often it rings without a cause, and what
it finds.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from pipeline.answers import measured, tables
from pipeline.answers.intervals import Floats, MeanDifference, spreads
from pipeline.answers.measured import Found
from pipeline.answers.summary import with_convergence
from pipeline.answers.verdicts import Answer, Verdict, judged
from pipeline.comparisons import Question

# A ratio that is less says more of the machine than of the code: on one machine and processor, CPU
# seconds of an epoch of the same variants had an SD of 0.04 (of their logarithms) from one session
# to the next, beside 0.05 from run to run, and 1.12 times as long was the most.
FIFTH = 0.2
NIGHTS_SD = 0.04
MARGINS = {"test_accuracy": 0.01, "epochs_to_target": FIFTH, "median_epoch_seconds": FIFTH}
# By which two trainings with the same seed are known to have come to the same.
DIGITS = ["best_epoch", "best_val_loss", "best_val_accuracy", "test_accuracy"]
CPU_SECONDS = "median_epoch_cpu_seconds"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The tables that a comparison logs.

    Args:
        runs, curves: as `summary.with_convergence` takes them.
        baseline: the variant that sets the target.
    """

    runs: pd.DataFrame
    curves: pd.DataFrame
    baseline: str

    def of(self, variant: str) -> pd.DataFrame:
        """The runs of a variant."""
        return self.runs[self.runs["variant"] == variant]


@dataclass(frozen=True, kw_only=True)
class Shift:
    """What became of a variant in one metric.

    Args:
        answer: now, compared with then; its question's variants have made-up names.
        then, now: the mean accuracy, or the median of the others; NaN where it is not known.
    """

    variant: str
    answer: Answer
    then: float
    now: float

    @property
    def is_regression(self) -> bool:
        """Whether it is worse, beyond noise and by the margin at least."""
        return self.answer.verdict is Verdict.WORSE and _reaches_margin(self.answer)

    @property
    def text(self) -> str:
        """It in words, without the variant."""
        metric = self.answer.question.metric
        said = _SAID[metric].format(*(_figure(metric, value) for value in (self.then, self.now)))
        return f"{said}, {_in_words(self.answer)}"


def shifts(
    then: Compared,
    now: Compared,
    variants: Collection[str],
    *,
    margins: Mapping[str, float] | None = None,
    same_data: bool = True,
    image_variance: float = 0.0,
    looked_before: bool = False,
) -> list[Shift]:
    """What became of variants that both have, in accuracy, convergence and time per epoch.

    A difference in accuracy that is the same to the last digit in all seeds is not tested.

    Args:
        then, now: the comparison that is taken for good, and this one.
        variants: those that may have changed.
        margins: of test accuracy, by variant, where they are not a point.
        same_data: whether the losses of both are of the same images.
        image_variance: of a difference in accuracy, where they are of different ones.
        looked_before: whether these were judged with fewer seeds: accuracy alone is judged again.
    """
    names = [name for name in variants if len(then.of(name)) and len(now.of(name))]
    if not names:
        return []
    table = _table(then, now, names)
    of_each = {str(name): group for name, group in table.groupby("variant", sort=False)}
    ask = _asked_again if looked_before else _asked
    given = margins or {}
    name_of = {one: name for name in names for one in ask(name, then, now, given.get(name))}
    tested = [one for one in name_of if one.metric != "median_epoch_seconds"]
    images = {one.id: image_variance for one in tested if image_variance}
    runs = measured.by_variant(table)
    freedom = len(table) - len(of_each)
    estimates = (_known(of, freedom) for of in measured.estimates(tested, runs, images))
    found = dict(zip(tested, estimates, strict=True))
    if not same_data:
        found |= {one: "other data" for one in tested if one.metric == "epochs_to_target"}
    timed = (one for one in name_of if one not in tested)
    found |= _times({one: (of_each[one.variant], of_each[one.reference]) for one in timed})
    figures = {name: _figures(of) for name, of in of_each.items()}
    return [
        Shift(
            variant=name_of[one.question],
            answer=one,
            then=figures[one.question.reference][one.question.metric],
            now=figures[one.question.variant][one.question.metric],
        )
        for one in judged({one: found[one] for one in name_of}, runs, images)
    ]


def same_digits(then: Compared, now: Compared, variant: str) -> int:
    """How many seeds came to the same results to the last digit; 0 where any did not."""
    columns = [one for one in (*DIGITS, "test_loss") if {one} <= {*then.runs} & {*now.runs}]
    both = then.of(variant).merge(now.of(variant), on="seed", suffixes=("_then", "_now"))
    same = all((both[f"{one}_then"] == both[f"{one}_now"]).all() for one in columns)
    return len(both) if same else 0


def _asked(name: str, then: Compared, now: Compared, margin: float | None) -> list[Question]:
    """What is asked of a variant; with one look at it, no error rate is saved up for others."""
    same = same_digits(then, now, name)
    margins = MARGINS if margin is None else {**MARGINS, "test_accuracy": margin}
    ask = partial(Question, variant=_now(name), reference=_then(name), role="secondary")
    return [
        ask(metric=metric, margin=usual)
        for metric, usual in margins.items()
        if not same or metric == "median_epoch_seconds"
    ]


def _asked_again(name: str, then: Compared, now: Compared, margin: float | None) -> list[Question]:
    """With an error rate that all looks share: more seeds tell of accuracy, not of the machine."""
    asked = _asked(name, then, now, margin)
    return [replace(one, role="primary") for one in asked if one.metric == "test_accuracy"]


def _then(name: str) -> str:
    return f"{name} then"


def _now(name: str) -> str:
    return f"{name} now"


def _table(then: Compared, now: Compared, names: Collection[str]) -> pd.DataFrame:
    """The runs of both under names of their own, with a target that is the same for all.

    All runs of then are there: how much they spread is known better by more of them.
    """
    later = now.runs[now.runs["variant"].isin(names)]
    runs = [
        of.assign(variant=of["variant"].map(renamed))
        for of, renamed in ((then.runs, _then), (later, _now))
    ]
    curves = pd.concat([then.curves, now.curves]).drop_duplicates(["run_id", "epoch"])
    both = pd.concat(runs, ignore_index=True)
    timed = with_convergence(both, curves, _then(then.baseline))
    return timed.assign(processor=timed["processor"].fillna(""))


def _known(of: Found, freedom: float) -> Found:
    """A difference whose spreads are taken to be known as well as that of all runs.

    At one look at three seeds whose own spread is the larger, Welch's t asks for ten times that
    spread, and a training that is broken spreads more. The floor that the others' spread is makes
    up for it: see `python -m benchmarks.regressions`.
    """
    if not isinstance(of, MeanDifference):
        return of
    # Half of it each: two samples are known with as much as both have.
    return replace(of, samples=tuple(one._replace(freedom=freedom / 2) for one in of.samples))


def _times(pairs: Mapping[Question, tuple[pd.DataFrame, pd.DataFrame]]) -> dict[Question, Found]:
    """Logarithms of ratios of times of an epoch, of runs now and then, on one processor.

    Runs of different nights cannot be paired in time. What a machine is on another night is to a
    time what other test images are to an accuracy: no number of seeds tells it.
    """
    samples = {one: _on_one_processor(*pair) for one, pair in pairs.items()}
    every = [of for pair in samples.values() for of in pair]
    known, freedom = iter(spreads(every)), sum(of.size - 1 for of in every)
    found: dict[Question, Found] = {}
    for question, pair in samples.items():
        if not pair:
            found[question] = "no undisturbed runs of both on one processor"
            continue
        now, then = pair
        difference = MeanDifference(
            effect=float(now.mean() - then.mean()),
            sizes=(now.size, then.size),
            samples=(next(known), next(known)),
            image_variance=2 * NIGHTS_SD**2,
        )
        found[question] = _known(difference, freedom)
    return found


def _on_one_processor(now: pd.DataFrame, then: pd.DataFrame) -> Sequence[Floats]:
    """Logarithms of CPU seconds of undisturbed runs, on the processor that both have most runs on.

    Where the CPU seconds of some are not known, by the clock.
    """
    known = pd.concat([now, then])[CPU_SECONDS].notna().all()
    column = CPU_SECONDS if known else "median_epoch_seconds"
    usable = [
        of[(of["processor"] != "") & ~of["disturbed"].astype(bool) & (of[column] > 0)]
        for of in (now, then)
    ]
    counts = [of["processor"].value_counts() for of in usable]
    fewest = pd.concat(counts, axis=1, join="inner").min(axis=1)
    if fewest.empty:
        return ()
    chosen = [of.loc[of["processor"] == fewest.idxmax(), column] for of in usable]
    return [np.log(of.to_numpy(float)) for of in chosen]


def _figures(runs: pd.DataFrame) -> dict[str, float]:
    """What runs come to in every metric."""
    seconds = runs[CPU_SECONDS].astype(float).fillna(runs["median_epoch_seconds"])
    return {
        "test_accuracy": float(runs["test_accuracy"].mean()),
        "epochs_to_target": float(runs["epochs_to_target"].fillna(math.inf).median()),
        "median_epoch_seconds": float(seconds.median()),
    }


_SAID = {
    "test_accuracy": "test accuracy {} is now {}",
    "epochs_to_target": "the target took {} and now takes {}",
    "median_epoch_seconds": "an epoch took {} and now takes {}",
}


def _figure(metric: str, value: float) -> str:
    match metric:
        case "test_accuracy":
            return tables.percent(value)
        case "epochs_to_target":
            return f"{value:.1f} epochs" if math.isfinite(value) else "longer than most runs"
    return f"{value:.3g} s"


def _reaches_margin(answer: Answer) -> bool:
    effect = answer.effect
    if answer.question.about.is_ratio:
        effect = math.log(effect) if effect else -math.inf
    return abs(effect) >= answer.question.smallest


def _in_words(answer: Answer) -> str:
    """What an answer says, such as `worse by 4.2 points (2.9 to 5.5)`."""
    verdict, margin = answer.verdict, tables.margin(answer.question)
    if answer.reason:
        return f"not compared ({answer.reason})"
    if verdict is Verdict.UNDECIDED:
        return f"undecided ({tables.interval(answer)})"
    if verdict is Verdict.EQUAL:
        return f"equal within {margin} ({tables.interval(answer)})"
    if answer.question.about.is_ratio:
        said = f"{verdict}, {tables.effect(answer) or 'far'} ({tables.interval(answer)})"
    else:
        size = f"{verdict} by {100 * abs(answer.effect):.1f} points"
        turned = replace(answer, low=-answer.high, high=-answer.low)
        said = f"{size} ({tables.interval(turned if answer.effect < 0 else answer)})"
    return said + ("" if _reaches_margin(answer) else f", less than the margin of {margin}")
