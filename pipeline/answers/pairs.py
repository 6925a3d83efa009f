"""Two variants side by side: what they differ in, and what becomes of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, NamedTuple

from pipeline.answers import sentences, tables
from pipeline.answers.evidence import Evidence
from pipeline.answers.images import Mistaken, OnlyRight
from pipeline.answers.summary import IF_ASKED, OPTIONAL_COLUMNS
from pipeline.answers.tables import MISSING
from pipeline.answers.verdicts import Answer
from pipeline.comparisons import Question

# What is compared of any two, also where nothing was asked about them: metrics, their names, and
# the columns of the summary that they are about.
METRICS: Mapping[str, tuple[str, str]] = {
    "test_accuracy": ("Test accuracy", "test_accuracy"),
    "generalization_gap": ("Generalization gap", "generalization_gap"),
    "epochs_to_target": ("Epochs to the target", "epochs_to_target"),
    "median_epoch_seconds": ("Seconds per epoch", "seconds_per_epoch"),
    "train_seconds": ("Seconds of training", "total_seconds"),
    **{metric: (title, metric) for metric, title in IF_ASKED.items()},
}
MOST_PAIRS = 15  # all of six variants
MOST_IMAGES = 4  # that only one gets right


class Setting(NamedTuple):
    """A setting that two variants differ in."""

    name: str
    one: str
    other: str


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two variants, `one` against `other`.

    Args:
        asked: whether a question is about the two.
        settings: those that they differ in; None where it was not recorded.
        answers: by `METRICS`, to the question that was asked, or else described.
        only_right: None without predictions of both; with the images that only one gets right.
    """

    one: str
    other: str
    asked: bool
    settings: Sequence[Setting] | None
    answers: Sequence[Answer]
    only_right: OnlyRight | None = None
    only_one: Sequence[Mistaken] = ()
    only_other: Sequence[Mistaken] = ()

    @property
    def names(self) -> tuple[str, str]:
        return self.one, self.other


def pairs(evidence: Evidence) -> list[Pair]:
    """Any two variants: first those of one origin, then what is asked about, then the others.

    Of two variants that were derived from the same one mostly nothing is asked, and they are read
    side by side. Where there are too many, those that nothing is asked about are left out.
    """
    names = [str(name) for name in evidence.summary["variant"]]
    origin = {name: evidence.settings.get(name, {}).get("derived_from") for name in names}
    asked: dict[frozenset[str], _Names] = {}
    for one in (answer.question for answer in evidence.answers):
        if one.variant != one.reference:
            asked.setdefault(frozenset((one.variant, one.reference)), (one.variant, one.reference))
    others = [two for two in combinations(names, 2) if frozenset(two) not in asked]
    related = [
        (one, other) for one, other in others if origin[one] and origin[one] == origin[other]
    ]
    ordered = [*related, *asked.values(), *(two for two in others if two not in related)]
    if len(ordered) > MOST_PAIRS:
        ordered = [*asked.values(), *related][:MOST_PAIRS]
    answers = _answers(evidence, ordered)
    return [_pair(evidence, two, answers[two], asked=frozenset(two) in asked) for two in ordered]


def differences(evidence: Evidence, pair: Pair) -> list[list[str]]:
    """The header, then what the two come to in every metric, and by how much they differ."""
    rows = {row["variant"]: row for row in evidence.summary.to_dict("records")}
    header = ["Metric", *pair.names, "Difference", "Interval", "Confidence", "Verdict"]
    return [
        header,
        *(
            _difference(answer, [rows[name] for name in pair.names], pair)
            for answer in pair.answers
        ),
    ]


def in_short(pair: Pair) -> str:
    """What becomes of the difference in test accuracy."""
    first = pair.answers[0]
    named = f" ({tables.compared(first.question)})" if first.verdict else ""
    size = sentences.size(first)
    return f"{size}, {first.verdict or tables.DESCRIBED}{named}"


def only_right(evidence: Evidence, pair: Pair) -> str:
    """How many images only one of the two gets right, in words."""
    assert pair.only_right
    assert evidence.images
    (one, ours), (other, theirs) = zip(pair.names, pair.only_right[:2], strict=True)
    said = (
        f"Of {len(evidence.images.labels):,} test images `{one}` gets {ours:,.0f} right that "
        f"`{other}` gets wrong, and `{other}` {theirs:,.0f} that `{one}` gets wrong: means over "
        "all pairs of seeds."
    )
    seeds = [
        f"of two seeds of `{name}` each gets {number:,.0f} right that the other gets wrong"
        for name, number in pair.only_right.between_seeds.items()
    ]
    said += f" For comparison, {'; '.join(seeds)}." if seeds else ""
    return said


def _difference(answer: Answer, rows: Sequence[Mapping], pair: Pair) -> list[str]:
    name, column = METRICS[answer.question.metric]
    show = tables.spread if column.endswith("accuracy") else tables.figure
    ends = tables.interval(answer)
    turned = answer.question.variant != pair.one
    cells = [
        *(name, *(show(row, column) for row in rows)),
        sentences.size(answer),
        ends,
        tables.confidence(answer) if ends else "",
        (answer.verdict or tables.DESCRIBED) + (f" ({tables.compared(answer.question)})" * turned),
    ]
    return [cell or MISSING for cell in cells]


_Names = tuple[str, str]


def _answers(evidence: Evidence, pairs: Sequence[_Names]) -> Mapping[_Names, Sequence[Answer]]:
    """To what was asked, and of all else a description."""
    known = {_key(one.question): one for one in evidence.answers}
    about = {one.metric for one in evidence.questions}
    # Runs of earlier versions have not logged all of them.
    metrics = [
        metric
        for metric in METRICS
        if metric not in OPTIONAL_COLUMNS or evidence.timed[metric].notna().any()
        if metric not in IF_ASKED or metric in about
    ]
    wanted = [
        Question(variant=one, reference=other, metric=metric, role="described")
        for one, other in pairs
        for metric in metrics
    ]
    described = evidence.answered([one for one in wanted if _key(one) not in known])
    known |= {_key(one.question): one for one in described}
    found: dict[_Names, list[Answer]] = {}
    for one in wanted:
        found.setdefault((one.variant, one.reference), []).append(known[_key(one)])
    return found


def _key(question: Question) -> tuple[frozenset[str], str]:
    """Which two are compared in what, whichever of them is the reference."""
    return frozenset((question.variant, question.reference)), question.metric


def _pair(evidence: Evidence, two: _Names, answers: Sequence[Answer], *, asked: bool) -> Pair:
    one, other = two
    settings = list(_settings(evidence, one, other)) if _recorded(evidence, two) else None
    pair = Pair(one=one, other=other, asked=asked, settings=settings, answers=answers)
    images = evidence.images
    if images is None or not {one, other} <= images.votes.keys():
        return pair
    return replace(
        pair,
        only_right=images.only_right(one, other),
        only_one=images.that_only(one, other, MOST_IMAGES),
        only_other=images.that_only(other, one, MOST_IMAGES),
    )


def _recorded(evidence: Evidence, two: _Names) -> bool:
    return all(evidence.settings.get(name) for name in two)


def _settings(evidence: Evidence, one: str, other: str) -> Iterator[Setting]:
    rates = {
        str(row["variant"]): {"learning_rate": f"{row['learning_rate']:.3g}"}
        for row in evidence.summary.to_dict("records")
    }
    ours, theirs = ({**evidence.settings[name], **rates[name]} for name in (one, other))
    for name in ours:
        if name != "derived_from" and ours[name] != theirs.get(name):
            said = (_said(of.get(name, MISSING)) for of in (ours, theirs))
            yield Setting(name.replace("_", " "), *said)


def _said(value: Any) -> str:
    match value:
        case None | "":
            return "none"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
    return str(value)
