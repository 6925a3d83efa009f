"""What is worse than on the last good night, better, or the same: findings, in words.

A few new seeds tell a large change alone. What is undecided is no alarm, and so the night a good
one; but its variant stays to be judged against what it was before, whenever it has more seeds.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from typing import NamedTuple

from pipeline.answers import sentences, tables
from pipeline.answers.changes import about, turned
from pipeline.answers.night import Finding
from pipeline.answers.regressions import Shift, same_digits
from pipeline.answers.verdicts import Answer, Verdict
from pipeline.base.phrases import counted, listed
from pipeline.nights.causes import cause, factors
from pipeline.nights.logged import Logged, became, logged
from pipeline.nights.other_data import OtherData, other_data
from pipeline.nights.past import recorded
from pipeline.nights.record import Night, Trained
from pipeline.tracking import client

DECIDED = {Verdict.BETTER, Verdict.WORSE, Verdict.EQUAL}


@dataclass(frozen=True, kw_only=True)
class Regressions:
    """What a night found when it was compared with the last good one.

    Args:
        findings: alarms first.
        regressed: by variant that became worse, the night that it is judged against.
        against, decided: as in `Night`.
    """

    findings: Sequence[Finding]
    regressed: Mapping[str, Night] = field(default_factory=dict)
    against: Mapping[str, str] = field(default_factory=dict)
    decided: Mapping[str, str] = field(default_factory=dict)


def regressions(
    good: Night,
    compared: str,
    trained: Mapping[str, Trained],
    *,
    commit: str = "",
    bad: Sequence[Night] = (),
) -> Regressions:
    """What became of the variants and verdicts of the last good night.

    A variant whose trainings are decided by the same as then is not judged again: more seeds of it
    are no news. That something is worse, or that a verdict turned, is an alarm.

    Args:
        good: that night.
        compared: the run of tonight's comparison.
        trained: tonight's trainings, by variant.
        commit: of git, tonight.
        bad: the nights since: what differed on the first that rang for a variant is the cause.
    """
    then, now = logged(good.compared), logged(compared)
    if not then or not now:
        return Regressions(findings=[_gone("tonight" if then else "the last good night")])
    references = _references(good)
    changed, is_news = _changed(good, references, trained)
    lost, judged = list[Finding](), list[_Judged]()
    for night in {references[name].run_id: references[name] for name in is_news}.values():
        before = then if night is good else logged(night.compared)
        if not before:
            lost.append(_gone(f"the night of {_date(night)}"))
            continue
        its = {name: trained[name] for name in is_news if references[name] == night}
        judged.append(_judged(night, before, now, its, commit, bad, is_last=night is good))
    causes = {name: why for of in judged for name, why in of.causes.items()}
    findings = [
        *chain.from_iterable(map(_alarms, judged)),
        *_verdicts(_last_decided(good, then, now), now.answers, causes),
        *(one for of in judged for one in _others(of, now)),
        *_came_or_went(good, references, trained),
        *lost,
    ]
    every = [(of.night, one) for of in judged for one in of.found]
    is_open = {one.variant for _, one in every if _is_open(one)}
    waiting = is_open | ({*changed} - {*is_news}) | (references.keys() - trained.keys())
    return Regressions(
        findings=sorted(findings, key=lambda one: not one.is_alarm),
        regressed={one.variant: night for night, one in every if one.is_regression},
        against={name: references[name].run_id for name in references if name in waiting},
        decided={**_decided(good), **_decides(then, good.compared), **_decides(now, compared)},
    )


class _Judged(NamedTuple):
    """What became of variants since one night."""

    night: Night
    since: str  # in words, where it is not the last good one
    then: Logged
    found: Sequence[Shift]
    causes: Mapping[str, str]  # by variant


def _judged(
    night: Night,
    then: Logged,
    now: Logged,
    trained: Mapping[str, Trained],
    commit: str,
    bad: Sequence[Night],
    *,
    is_last: bool,
) -> _Judged:
    changed = {name: (night.trained[name], one) for name, one in trained.items()}
    # All variants of a comparison are trained on the same.
    data = next((of for pair in changed.values() if (of := other_data(*pair))), None)
    causes = _causes(night, changed, commit, bad, data)
    since = "" if is_last else f" (since the night of {_date(night)})"
    found = became(then, now, changed, data=data, looked_before=not is_last)
    return _Judged(night, since, then, found, causes)


def _gone(whose: str) -> Finding:
    text = f"What the comparison of {whose} logged is gone: nothing is compared with it."
    return Finding(text=text)


def _date(night: Night) -> str:
    return f"{datetime.fromtimestamp(night.began, UTC):%Y-%m-%d}"


def _references(good: Night) -> dict[str, Night]:
    """By variant, the night that it is judged against: the good one, or that which this names.

    What was accepted is not judged by what it was before.
    """
    found = dict.fromkeys(good.trained, good)
    for name, run_id in good.against.items():
        run = None if good.alarms and name in found else client.find_run(run_id)
        if run and (night := recorded(run)) and name in night.trained:
            found[name] = night
    return found


def _changed(
    good: Night, references: Mapping[str, Night], trained: Mapping[str, Trained]
) -> tuple[list[str], list[str]]:
    """The variants that something has changed in; and those of them with trainings that are new.

    These are others than the good night had, which was judged by an earlier one itself.
    """
    changed = [
        name
        for name, night in references.items()
        if name in trained and night.trained[name].replicates_key != trained[name].replicates_key
    ]

    def is_news(name: str) -> bool:
        before = good.trained.get(name)
        return before is None or {*trained[name].run_ids} != {*before.run_ids}

    return changed, [name for name in changed if references[name] is good or is_news(name)]


def _is_open(of: Shift) -> bool:
    """Whether more seeds may still tell that a variant became worse: of accuracy, they do."""
    metric, verdict = of.answer.question.metric, of.answer.verdict
    return metric == "test_accuracy" and verdict is Verdict.UNDECIDED


def _causes(
    then: Night,
    changed: Mapping[str, tuple[Trained, Trained]],
    commit: str,
    bad: Sequence[Night],
    data: OtherData | None,
) -> dict[str, str]:
    """By variant, what differs between a night and the first that rang for it, or tonight."""
    causes = {}
    for name, (before, now) in changed.items():
        rang = [one for one in bad if any(of.startswith(f"{name} ") for of in one.about)]
        nights = [(one.trained[name], one.commit) for one in rang[:1] if name in one.trained]
        found = (
            factors(before, later, commits=(then.commit, of), data=data)
            for later, of in (*nights, (now, commit))
        )
        causes[name] = cause(next(filter(None, found), []))
    return causes


def _alarms(of: _Judged) -> Iterator[Finding]:
    for one in of.found:
        if one.is_regression:
            yield Finding(
                text=f"{one.variant}{of.since}: {one.text}.",
                is_alarm=True,
                cause=of.causes[one.variant],
                about=f"{one.variant} {one.answer.question.metric}",
            )


def _others(of: _Judged, now: Logged) -> Iterator[Finding]:
    """What is the same, better or undecided, by variant."""
    for name, why in of.causes.items():
        parts = []
        if seeds := same_digits(of.then.compared, now.compared, name):
            parts = [f"the same to the last digit ({counted(seeds, 'seed')})"]
        parts += [
            one.text
            for one in of.found
            if one.variant == name and not one.is_regression
            if one.answer.question.metric != "epochs_to_target" or one.answer.verdict in DECIDED
        ]
        if parts:
            yield Finding(text=f"{name}{of.since}: {'; '.join(parts)}.", cause=why)


def _verdicts(
    then: Sequence[Answer], now: Sequence[Answer], causes: Mapping[str, str]
) -> Iterator[Finding]:
    """The verdicts that turned; one that has come or gone for want of seeds is no alarm."""
    for was, one in turned(then, now):
        if was.verdict is None or one.verdict is None:  # it is described now, or was
            continue
        old, new = (
            " ".join(
                filter(None, [of.verdict, f"({size})" if (size := sentences.size(of)) else ""])
            )
            for of in (was, one)
        )
        asked = was.question.margin == one.question.margin
        yield Finding(
            text=f"{about(one)}: {old} is now {new}.",
            is_alarm=asked and {was.verdict, one.verdict} <= DECIDED,
            cause=_why(was, one, causes),
            about=one.question.id,
        )


def _decided(good: Night) -> Mapping[str, str]:
    """What an earlier night knows; what was accepted is not judged by what it was before."""
    return {} if good.alarms else good.decided


def _decides(of: Logged, compared: str) -> dict[str, str]:
    """The questions that a comparison decides, each with its run."""
    return {one.question.id: compared for one in of.answers if one.verdict in DECIDED}


def _last_decided(good: Night, then: Logged, now: Logged) -> list[Answer]:
    """The answers of then; of a question that is decided now and was not, those that it had before.

    A verdict that turns often is undecided for a night in between.
    """
    decided = _decided(good)
    are = {one.question.id for one in now.answers if one.verdict in DECIDED}
    found = []
    for one in then.answers:
        asked = one.question.id
        if one.verdict is Verdict.UNDECIDED and asked in are and asked in decided:
            before = logged(decided[asked])
            found += [of for of in before.answers if of.question.id == asked] if before else [one]
        else:
            found.append(one)
    return found


def _why(was: Answer, one: Answer, causes: Mapping[str, str]) -> str:
    question = one.question
    if was.question.margin != question.margin:
        return f"The margin was {tables.margin(was.question)} and is {tables.margin(question)}."
    names = question.variant, question.reference
    if known := dict.fromkeys(causes[name] for name in names if name in causes):
        return " ".join(known)
    runs, more = (listed(map(str, of.sizes)) for of in (was, one))
    return f"Nothing that decides results differs since: {runs} runs were compared, now {more}."


def _came_or_went(
    good: Night, references: Collection[str], trained: Collection[str]
) -> Iterator[Finding]:
    if new := [name for name in trained if name not in references]:
        yield Finding(text=f"New since the last good night: {listed(new)}.")
    if gone := [name for name in good.trained if name not in trained]:
        yield Finding(text=f"No longer compared: {listed(gone)}.")
