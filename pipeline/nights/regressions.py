"""What is worse than on the last good night, better, or the same: findings, in words."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from pipeline.answers import sentences, tables
from pipeline.answers.changes import about, turned
from pipeline.answers.night import Finding
from pipeline.answers.regressions import Compared, Shift, same_digits, shifts
from pipeline.answers.summary import CURVE_COLUMNS, RUN_COLUMNS
from pipeline.answers.verdicts import Answer, Verdict
from pipeline.base.phrases import counted, listed
from pipeline.comparing import artifacts
from pipeline.nights.causes import cause, factors
from pipeline.nights.other_data import DATA, OtherData, other_data
from pipeline.nights.record import Night, Trained
from pipeline.steps.step import resolved_parameters
from pipeline.tracking import client

DECIDED = {Verdict.BETTER, Verdict.WORSE, Verdict.EQUAL}


@dataclass(frozen=True, kw_only=True)
class Regressions:
    """What a night found when it was compared with the last good one.

    Args:
        findings: alarms first.
        regressed: the variants that became worse.
    """

    findings: Sequence[Finding]
    regressed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What the run of a comparison has logged."""

    compared: Compared
    answers: Sequence[Answer]

    @property
    def margins(self) -> dict[str, float]:
        """What is too small to matter, by the variants whose test accuracy is asked about."""
        asked = [one.question for one in self.answers if one.question.metric == "test_accuracy"]
        of_each: dict[str, list[float]] = {}
        for one in asked:
            of_each.setdefault(one.variant, []).append(one.margin or 0.0)
        return {name: min(margins) for name, margins in of_each.items()}


def logged(run_id: str) -> Logged | None:
    """What a comparison came to; None where its run, or what it logged, is gone or damaged."""
    run = client.find_run(run_id)
    if run is None:
        return None
    read = partial(artifacts.read, run_id, of=run.info.run_name)
    runs = read("runs.csv", parse=partial(_table, columns=RUN_COLUMNS))
    curves = read("curves.csv", parse=partial(_table, columns=CURVE_COLUMNS))
    answers = read("answers.csv", parse=lambda content: tables.answers_of(_table(content)))
    baseline = resolved_parameters(run).get("baseline", "")
    if runs is None or curves is None or answers is None:
        return None
    return Logged(compared=Compared(runs=runs, curves=curves, baseline=baseline), answers=answers)


def _table(content: bytes, columns: Sequence[str] = ()) -> pd.DataFrame:
    table = pd.read_csv(io.BytesIO(content), float_precision="round_trip")
    if missing := {*columns} - {*table}:
        raise ValueError(f"a table without {listed(sorted(missing))}")
    return table


def regressions(
    good: Night,
    compared: str,
    trained: Mapping[str, Trained],
    *,
    commit: str = "",
    first_bad: Night | None = None,
) -> Regressions:
    """What became of the variants and verdicts of the last good night.

    A variant whose trainings are decided by the same as then is not judged again: more seeds of it
    are no news. That something is worse, or that a verdict turned, is an alarm.

    Args:
        good: that night.
        compared: the run of tonight's comparison.
        trained: tonight's trainings, by variant.
        commit: of git, tonight.
        first_bad: the first night since that rang, which what differed then is the cause of.
    """
    then, now = logged(good.compared), logged(compared)
    if then is None or now is None:
        whose = "of the last good night" if then is None else "of tonight"
        text = f"What the comparison {whose} logged is gone: nothing is compared with it."
        return Regressions(findings=[Finding(text=text)])
    changed = {
        name: (good.trained[name], one)
        for name, one in trained.items()
        if name in good.trained and good.trained[name].replicates_key != one.replicates_key
    }
    # All variants of a comparison are trained on the same.
    data = next((of for pair in changed.values() if (of := other_data(*pair))), None)
    causes = _causes(good, changed, commit, first_bad, data)
    found = became(then, now, changed, data=data)
    worse = [one for one in found if one.is_regression]
    findings = [
        *_alarms(worse, causes),
        *_verdicts(then.answers, now.answers, causes),
        *_others(then, now, found, causes),
        *_came_or_went(good, trained),
    ]
    return Regressions(
        findings=sorted(findings, key=lambda one: not one.is_alarm),
        regressed=tuple(dict.fromkeys(one.variant for one in worse)),
    )


def _causes(
    good: Night,
    changed: Mapping[str, tuple[Trained, Trained]],
    commit: str,
    first_bad: Night | None,
    data: OtherData | None,
) -> dict[str, str]:
    """By variant, what differs between the good night and the first that rang, or tonight."""
    bad = [first_bad] if first_bad else []
    causes = {}
    for name, (then, now) in changed.items():
        nights = [(night.trained[name], night.commit) for night in bad if name in night.trained]
        found = (
            factors(then, later, commits=(good.commit, of), data=data)
            for later, of in (*nights, (now, commit))
        )
        causes[name] = cause(next(filter(None, found), []))
    return causes


def _alarms(worse: Sequence[Shift], causes: Mapping[str, str]) -> Iterator[Finding]:
    for one in worse:
        text = f"{one.variant}: {one.text}."
        yield Finding(text=text, is_alarm=True, cause=causes[one.variant])


def became(
    then: Logged,
    now: Logged,
    changed: Mapping[str, tuple[Trained, Trained]],
    *,
    data: OtherData | None = None,
) -> list[Shift]:
    """What became of variants, by their trainings then and now; `data` as from `other_data`."""
    return shifts(
        then.compared,
        now.compared,
        [*changed],
        margins=now.margins,
        same_data=all(
            one.inputs.get(DATA) == other.inputs.get(DATA) for one, other in changed.values()
        ),
        # Of a share, over other images: at most that of a half.
        image_variance=2 * 0.25 / data.test_images if data and data.test_images else 0.0,
    )


def _others(
    then: Logged, now: Logged, found: Sequence[Shift], causes: Mapping[str, str]
) -> Iterator[Finding]:
    """What is the same, better or undecided, by variant."""
    for name, why in causes.items():
        parts = []
        if seeds := same_digits(then.compared, now.compared, name):
            parts = [f"the same to the last digit ({counted(seeds, 'seed')})"]
        parts += [
            one.text
            for one in found
            if one.variant == name and not one.is_regression
            if one.answer.question.metric != "epochs_to_target" or one.answer.verdict in DECIDED
        ]
        if parts:
            yield Finding(text=f"{name}: {'; '.join(parts)}.", cause=why)


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
        )


def _why(was: Answer, one: Answer, causes: Mapping[str, str]) -> str:
    question = one.question
    if was.question.margin != question.margin:
        return f"The margin was {tables.margin(was.question)} and is {tables.margin(question)}."
    names = question.variant, question.reference
    if known := dict.fromkeys(causes[name] for name in names if name in causes):
        return " ".join(known)
    runs, more = (listed(map(str, of.sizes)) for of in (was, one))
    return f"Nothing that decides results differs since: {runs} runs were compared, now {more}."


def _came_or_went(good: Night, trained: Mapping[str, Trained]) -> Iterator[Finding]:
    if new := [name for name in trained if name not in good.trained]:
        yield Finding(text=f"New since the last good night: {listed(new)}.")
    if gone := [name for name in good.trained if name not in trained]:
        yield Finding(text=f"No longer compared: {listed(gone)}.")
