"""What has changed since the comparison before, of the same name on the same data."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import pandas as pd

from pipeline.answers import sentences, tables
from pipeline.answers.evidence import Evidence
from pipeline.answers.pairs import METRICS
from pipeline.answers.rounds import of_variants
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
    """What has changed, in a few words, as Markdown, and figure by figure."""

    sentence: str
    rows: Sequence[Change] = ()


def changes(evidence: Evidence) -> Changes:
    """What has changed; of a first comparison that it is the first."""
    before = evidence.before
    if before is None:
        return Changes(sentence="This is the first comparison of its name on this data.")
    since = f"{datetime.fromtimestamp(before.ended / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    rows = [*_of_answers(before.answers, evidence.answers), *_of_accuracies(evidence)]
    said = {
        "Verdicts": "; ".join(_verdicts(before.answers, evidence.answers)),
        "Beyond the interval before": "; ".join(one.what for one in rows if one.how == BEYOND),
        **_of_runs(_runs(before.runs), _runs(evidence.runs)),
    }
    if before.champion and evidence.champion and before.champion != evidence.champion:
        said["Champion"] = f"{evidence.champion}, before {before.champion}"
    found = [f"{what}: {how}." for what, how in said.items() if how]
    if found:
        sentence = " ".join([f"What changed since the comparison of {since}.", *found])
    elif rows:
        sentence = f"Since the comparison of {since}, figures have moved within their intervals."
    else:
        sentence = f"Nothing has changed since the comparison of {since}."
    return Changes(sentence=sentence, rows=rows)


def about(answer: Answer) -> str:
    """What an answer is about, such as `bn over elu, test accuracy`."""
    question = answer.question
    metric = METRICS[question.metric][0].lower() if question.metric in METRICS else ""
    return ", ".join(filter(None, [tables.compared(question), metric]))


def turned(before: Sequence[Answer], now: Sequence[Answer]) -> Iterator[tuple[Answer, Answer]]:
    """The answers with another verdict, as they were and as they are."""
    were = {one.question.id: one for one in before}
    for one in now:
        was = were.get(one.question.id)
        if was and was.verdict != one.verdict:
            yield was, one


def _verdicts(before: Sequence[Answer], now: Sequence[Answer]) -> Iterator[str]:
    for pair in turned(before, now):
        old, new = (of.verdict or DESCRIBED for of in pair)
        yield f"{about(pair[1])} from {old} to {new}"


def _of_answers(before: Sequence[Answer], now: Sequence[Answer]) -> Iterator[Change]:
    """The answers with another verdict or effect, and the questions that came or went."""
    were = {one.question.id: one for one in before}
    for one in now:
        was = were.pop(one.question.id, None)
        if was is None:
            yield Change(about(one), MISSING, _answered(one), "a new question")
        elif _answered(was) != _answered(one):
            how = _moved(one.effect, was.low, was.high)
            if was.question.margin != one.question.margin:
                how = f"the margin was {tables.margin(was.question)}"
            yield Change(about(one), _answered(was), _answered(one), how)
    for gone in were.values():
        yield Change(about(gone), _answered(gone), MISSING, "no longer asked")


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


_Seeds = Mapping[int, str]  # ids of runs, by seed
_Runs = Mapping[str, _Seeds]  # by variant


def _runs(table: pd.DataFrame) -> _Runs:
    return {
        str(name): dict(zip(of["seed"].tolist(), of["run_id"], strict=True))
        for name, of in table.groupby("variant", sort=False)
    }


def _of_runs(before: _Runs, now: _Runs) -> dict[str, str]:
    """The variants that came or went; of the others, the seeds that did, or were trained anew."""
    shared = [name for name in now if name in before]

    def of_shared(kept: Callable[[_Seeds, _Seeds], Iterable[int]]) -> str:
        found = {name: sorted(kept(before[name], now[name])) for name in shared}
        return of_variants({name: seeds for name, seeds in found.items() if seeds})

    return {
        "New variants": ", ".join(name for name in now if name not in before),
        "Variants no longer compared": ", ".join(name for name in before if name not in now),
        "Added": of_shared(lambda were, are: are.keys() - were.keys()),
        "No longer compared": of_shared(lambda were, are: were.keys() - are.keys()),
        "Trained anew": of_shared(
            lambda were, are: (seed for seed in are if were.get(seed, are[seed]) != are[seed])
        ),
    }
