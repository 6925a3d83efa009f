"""The verdict on every question: made once, here, and only put into words elsewhere.

A verdict follows from an interval: *equal* where all of it is within the question's margin,
*better* or *worse* where it holds no zero, else *undecided*. How wide the interval is follows from
the error rate that the questions of a family share.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from pipeline.answers.intervals import FEWEST, UNKNOWN, Errors, Estimate, Interval
from pipeline.answers.measured import Found, ImageVariances, Runs, estimates
from pipeline.comparisons import Question

FAMILY_ERROR = 0.05  # the chance of a false verdict in a family of questions
MOST_SEEDS = 100  # that are thought of when it is told how many would decide
ROOM = 1.3  # by how much the effect is to exceed the interval, for it to decide 4 times of 5


class Verdict(StrEnum):
    """The answer to a question in short: what its variant is, compared with the reference."""

    BETTER = "better"
    WORSE = "worse"
    EQUAL = "equal"
    UNDECIDED = "undecided"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A question and its answer.

    Args:
        question: as it was asked.
        verdict: None where the question is described, not tested.
        effect, low, high: of the variant against the reference, and the interval that the verdict
            rests on: a difference, or a ratio. NaN where it cannot be told.
        confidence: that of the interval; 0.95 or more, of an equal 0.9 or more.
        sizes: runs of the variant and of the reference.
        covers_images: whether the interval allows for other test images, not for seeds alone.
        reason: why there is no interval; empty where there is one.
        seeds: of each variant, with which it would probably be decided; None where it is, or where
            not even `MOST_SEEDS` would.
        minutes: what training these takes, one after the other.
    """

    question: Question
    verdict: Verdict | None
    effect: float
    low: float
    high: float
    confidence: float
    sizes: tuple[int, int]
    covers_images: bool = False
    reason: str = ""
    seeds: int | None = None
    minutes: float | None = None

    @property
    def winner(self) -> str | None:
        """The variant that is better than the other."""
        names = {Verdict.BETTER: self.question.variant, Verdict.WORSE: self.question.reference}
        return names.get(self.verdict) if self.verdict else None

    @property
    def loser(self) -> str | None:
        """The variant that is worse than the other."""
        names = {Verdict.BETTER: self.question.reference, Verdict.WORSE: self.question.variant}
        return names.get(self.verdict) if self.verdict else None


def answers(
    questions: Sequence[Question], runs: Runs, image_variances: ImageVariances | None = None
) -> list[Answer]:
    """The answers to the questions whose variants both have runs.

    The primary questions share the error rate `FAMILY_ERROR` however often they are looked at while
    seeds are added. The secondary ones share another: no seed is added for their sake, so they are
    tested by whatever the primary ones called for. Both are shared out by Holm's method (1979).

    Args:
        questions: of a comparison.
        runs: from `measured.by_variant`.
        image_variances: of an effect over other test images, by the ids of questions.
    """
    asked = [one for one in questions if {one.variant, one.reference} <= runs.keys()]
    image_variances = image_variances or {}
    found = dict(zip(asked, estimates(asked, runs, image_variances), strict=True))
    return judged(found, runs, image_variances)


def judged(
    found: Mapping[Question, Found], runs: Runs, image_variances: ImageVariances
) -> list[Answer]:
    """The answers to questions whose effects are known, as `answers` shares out the error rates."""
    of_role: dict[str, dict[Question, Estimate]] = {}
    for one, of in found.items():
        if isinstance(of, Estimate):
            of_role.setdefault(one.role, {})[one] = of
    of_each = {one.id: _described(of) for one, of in of_role.pop("described", {}).items()}
    for family in of_role.values():
        of_each |= _judged(family)
    return [
        _answer(one, of, of_each.get(one.id), runs, covers_images=one.id in image_variances)
        for one, of in found.items()
    ]


class _Share(NamedTuple):
    """Of its share of the error rate, what a question spends at one look.

    Primary questions are looked at again whenever a seed is added, which all looks together have to
    pay for: `python -m benchmarks.verdicts` measures what comes of it. To be called equal by
    mistake takes a narrow interval, which the first looks do not have.
    """

    beyond: float  # on better or worse
    equal: float
    looks: int | None = None  # seeds, beyond which a look may spend less and less


_SHARES = {"primary": _Share(0.14, 0.22, looks=12), "secondary": _Share(1, 1)}


class _Judged(NamedTuple):
    """What became of a question: its verdict, the interval that this rests on, and its errors."""

    verdict: Verdict | None
    interval: Interval
    error: float  # its share of the family's
    errors: Errors


def _errors(role: str, error: float, seeds: int, *, equal: bool = False) -> Errors:
    """The error rates of an interval by that of the question, where variants have so many seeds.

    An equal can be wrong at one end of its interval only (Schuirmann 1987).
    """
    share = _SHARES[role]
    spent = 2 * share.equal if equal else share.beyond
    of_looks = min(1.0, share.looks / seeds) if share.looks else 1.0
    return Errors(seeds=spent * of_looks * error, images=2 * error if equal else error)


def _judged(family: Mapping[Question, Estimate]) -> dict[str, _Judged]:
    """Judge the questions of one role by Holm's method.

    Every question gets an equal share of the error rate; what those decided no longer need is
    shared by the others.
    """
    done: dict[str, _Judged] = {}
    left = dict(family)
    while left:
        share = FAMILY_ERROR / len(left)
        tried = {one: _tried(one, of, share) for one, of in left.items()}
        beyond = [one for one, found in tried.items() if _excludes_zero(found.interval)]
        for one in beyond or tried:
            done[one.id] = tried[one]
            del left[one]
    return done


def _described(found: Estimate) -> _Judged:
    """A question that is not tested has an interval of its own."""
    errors = Errors(FAMILY_ERROR, FAMILY_ERROR)
    return _Judged(None, found.interval(errors), FAMILY_ERROR, errors)


def _tried(question: Question, found: Estimate, error: float) -> _Judged:
    """The verdict that an error rate allows."""
    role, seeds = question.role, max(found.sizes)
    errors = _errors(role, error, seeds)
    interval = found.interval(errors)
    narrow = _errors(role, error, seeds, equal=True)
    within = found.interval(narrow)
    if max(-within[0], within[1]) < question.smallest:
        return _Judged(Verdict.EQUAL, within, error, narrow)
    verdict = Verdict.UNDECIDED
    if _excludes_zero(interval):
        is_better = (interval[0] > 0) == (question.about.better > 0)
        verdict = Verdict.BETTER if is_better else Verdict.WORSE
    return _Judged(verdict, interval, error, errors)


def _excludes_zero(interval: Interval) -> bool:
    return interval[0] > 0 or interval[1] < 0


def _answer(
    question: Question, found: Found, judged: _Judged | None, runs: Runs, *, covers_images: bool
) -> Answer:
    if judged is None:
        verdict = None if question.role == "described" else Verdict.UNDECIDED
        judged = _Judged(verdict, UNKNOWN, FAMILY_ERROR, Errors(FAMILY_ERROR, FAMILY_ERROR))
    shown: Callable[[float], float] = np.exp if question.about.is_ratio else float
    (low, high), reason, seeds = judged.interval, "", None
    if isinstance(found, str):
        effect, sizes, reason = math.nan, (0, 0), found
    else:
        effect, sizes = found.effect, found.sizes
        if math.isnan(low):
            few = min(sizes) < FEWEST
            what = "pairs of runs close in time" if question.is_of_times else "seeds"
            reason = f"fewer than {FEWEST} {what}" if few else "the seeds do not differ at all"
        elif judged.verdict is Verdict.UNDECIDED:
            seeds = _enough(question, found, judged.error)
    return Answer(
        question=question,
        verdict=judged.verdict,
        effect=float(shown(effect)),
        low=float(shown(low)),
        high=float(shown(high)),
        confidence=1 - judged.errors.seeds,
        sizes=sizes,
        covers_images=covers_images,
        reason=reason,
        seeds=seeds,
        minutes=None if seeds is None else _minutes(question, seeds, sizes, runs),
    )


def _enough(question: Question, found: Estimate, error: float) -> int | None:
    """With how many seeds it would probably be decided, if the effect is what it seems."""
    effect, margin = abs(found.effect), question.smallest

    def decides(seeds: int) -> bool:
        beyond, equal = (
            found.half_width(_errors(question.role, error, seeds, equal=one), seeds)
            for one in (False, True)
        )
        return ROOM * beyond < effect or effect + ROOM * equal < margin

    more = range(min(found.sizes) + 1, MOST_SEEDS + 1)
    place = bisect_left(more, True, key=decides)  # the more seeds, the narrower the interval
    return more[place] if place < len(more) else None


def _minutes(question: Question, seeds: int, sizes: tuple[int, int], runs: Runs) -> float:
    """What it takes to train the seeds that are missing; of times, pairs of them count."""
    seconds = {name: runs[name]["train_seconds"] for name in (question.variant, question.reference)}
    return sum(
        max(0, seeds - (sizes[0] if question.is_of_times else len(one))) * float(one.mean()) / 60
        for one in seconds.values()
    )
