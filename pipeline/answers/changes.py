"""What has changed since the comparison before, of the same name on the same data."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import pandas as pd

from pipeline.answers import sentences, tables
from pipeline.answers.announcements import listed, of_variants
from pipeline.answers.evidence import Evidence
from pipeline.answers.tables import DESCRIBED, MISSING
from pipeline.answers.verdicts import Answer

BEYOND, WITHIN = "beyond the interval before", "within the interval before"


class Change(NamedTuple):
    """One figure or verdict that is another one than before."""

    what: str
    before: str
    now: str
    how: str  # beyond or within the interval that it had, or in which way it is another one


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What has changed, in a sentence, as Markdown, and figure by figure."""

    sentence: str
    rows: Sequence[Change] = ()


def changes(evidence: Evidence) -> Changes:
    """What has changed; of a first comparison that it is the first."""
    before = evidence.before
    if before is None:
        return Changes(sentence="This is the first comparison of its name on this data.")
    since = f"{datetime.fromtimestamp(before.ended / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    rows = [*_of_answers(before.answers, evidence.answers), *_of_accuracies(evidence)]
    said = [
        *_turned(before.answers, evidence.answers),
        *_of_runs(_runs(before.runs), _runs(evidence.runs)),
    ]
    if beyond := [one.what for one in rows if one.how == BEYOND]:
        said += [f"beyond the interval before: {'; '.join(beyond)}"]
    if before.champion and evidence.champion and before.champion != evidence.champion:
        said += [f"champion is {evidence.champion}, and was {before.champion}"]
    if not said:
        nothing = "but figures within their intervals" if rows else ""
        said = [" ".join(filter(None, ["nothing", nothing]))]
    return Changes(
        sentence=f"Changed since the comparison of {since}: {'; '.join(said)}.", rows=rows
    )


def _about(answer: Answer) -> str:
    question = answer.question
    metric = "" if question.metric == "mc_gain" else f", {question.metric.replace('_', ' ')}"
    return tables.compared(question) + metric


def _turned(before: Sequence[Answer], now: Sequence[Answer]) -> Iterator[str]:
    were = {one.question.id: one for one in before}
    for one in now:
        was = were.get(one.question.id)
        if was and (was.verdict or one.verdict) and was.verdict != one.verdict:
            old, new = (of.verdict or DESCRIBED for of in (was, one))
            yield f"{_about(one)} turned from {old} to {new}"


def _of_answers(before: Sequence[Answer], now: Sequence[Answer]) -> Iterator[Change]:
    """The answers with another verdict or effect, and the questions that came or went."""
    were = {one.question.id: one for one in before}
    for one in now:
        was = were.pop(one.question.id, None)
        if was is None:
            yield Change(_about(one), MISSING, _answered(one), "a new question")
        elif _answered(was) != _answered(one):
            how = _moved(one.effect, was.low, was.high)
            if was.question.margin != one.question.margin:
                how = f"the margin was {tables.margin(was.question)}"
            yield Change(_about(one), _answered(was), _answered(one), how)
    for gone in were.values():
        yield Change(_about(gone), _answered(gone), MISSING, "no longer asked")


def _answered(answer: Answer) -> str:
    return ", ".join(filter(None, [answer.verdict or DESCRIBED, sentences.size(answer)]))


def _moved(value: float, low: float, high: float) -> str:
    if math.isnan(low) or math.isnan(high) or math.isnan(value):
        return ""
    return WITHIN if low <= value <= high else BEYOND


def _of_accuracies(evidence: Evidence) -> Iterator[Change]:
    """The variants whose mean test accuracy is another one, and those that came or went."""
    assert evidence.before
    were, are = (
        {row["variant"]: row for row in of.to_dict("records")}
        for of in (evidence.before.summary, evidence.summary)
    )
    for name in dict.fromkeys([*are, *were]):
        what = f"{name}, test accuracy"
        was, now = (
            tables.spread(of[name], "test_accuracy") if name in of else MISSING
            for of in (were, are)
        )
        if name not in were or name not in are:
            yield Change(what, was, now, "new" if name in are else "no longer compared")
        elif was != now:
            mean, half = (were[name][of] for of in ("test_accuracy", "test_accuracy_half_width"))
            how = _moved(are[name]["test_accuracy"], mean - half, mean + half)
            yield Change(what, was, now, how)


_Runs = Mapping[str, Mapping[int, str]]  # ids, by variant and seed


def _runs(table: pd.DataFrame) -> _Runs:
    return {
        str(name): dict(zip(of["seed"].tolist(), of["run_id"], strict=True))
        for name, of in table.groupby("variant", sort=False)
    }


def _of_runs(before: _Runs, now: _Runs) -> Iterator[str]:
    """The variants that came or went; of the others, the seeds that did, or were trained anew."""
    for left, right, how in ((now, before, "new"), (before, now, "no longer compared")):
        if names := [name for name in left if name not in right]:
            yield f"variant{'s'[: len(names) > 1]} {listed(names)} {how}"
    shared = [name for name in now if name in before]
    of_seeds = {
        "added": {name: sorted(now[name].keys() - before[name].keys()) for name in shared},
        "no longer compared": {
            name: sorted(before[name].keys() - now[name].keys()) for name in shared
        },
        "trained anew": {
            name: sorted(
                seed
                for seed in now[name].keys() & before[name].keys()
                if now[name][seed] != before[name][seed]
            )
            for name in shared
        },
    }
    for how, seeds in of_seeds.items():
        if known := {name: of for name, of in seeds.items() if of}:
            yield f"{of_variants(known)} {how}"
