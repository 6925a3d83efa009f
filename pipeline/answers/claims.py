"""What is commonly said, beside what was measured: questions of many comparisons, in one table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.answers import sentences, tables
from pipeline.answers.sentences import Row
from pipeline.answers.verdicts import Answer, Verdict
from pipeline.base import markdown, phrases
from pipeline.comparisons import Question

_HOLDS = {True: "holds", False: "does not hold", None: "not decided"}
_HEADER = ["Question", "Answer", "Commonly said", "Holds", "Minutes"]
BEGIN, END = "<!-- questions -->", "<!-- /questions -->"  # what a page has of them between


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A question about which something is commonly said.

    Args:
        question: as it is declared now.
        answer: None where no finished run has one.
        rows: of the summary, by variant.
        minutes: of training, of the two variants it is about.
    """

    question: Question
    answer: Answer | None = None
    rows: Mapping[str, Row] = field(default_factory=dict)
    minutes: float | None = None

    @property
    def said(self) -> str:
        """The verdict, with what it rests on in figures."""
        if self.answer is None:
            return "not measured yet"
        how = sentences.effect(self.answer) or self.answer.reason
        return ", ".join(filter(None, [self.answer.verdict or tables.DESCRIBED, how]))

    @property
    def evidence(self) -> str:
        """What bears the answer out; empty where that was not logged."""
        names = {self.question.variant, self.question.reference}
        if self.answer is None or not any(self.answer.sizes) or not names <= self.rows.keys():
            return ""
        return sentences.evidence(self.answer, self.rows)

    @property
    def holds(self) -> str:
        """Whether what is commonly said holds."""
        verdict = self.answer.verdict if self.answer else None
        if verdict in (None, Verdict.UNDECIDED):
            return _HOLDS[None]
        return _HOLDS[verdict == self.question.claimed]

    @property
    def seeds(self) -> str:
        """How many of the variant and, where these are others, of the reference."""
        sizes = self.answer.sizes if self.answer else ()
        return " and ".join(map(str, dict.fromkeys(sizes))) if any(sizes) else ""


@dataclass(frozen=True, kw_only=True)
class Claims:
    """Those of a comparison.

    Args:
        name, title: of the comparison.
        command: what answers them.
        run_id, address: of the run that did; empty where there is none.
        made: its date.
        dataset, hardware: what it was run on.
        commit: of the code.
        picture: what shows most of it, as a data URI; `shows` says what it is.
    """

    name: str
    title: str
    command: str
    claims: Sequence[Claim]
    run_id: str = ""
    address: str = ""
    made: str = ""
    dataset: str = ""
    hardware: str = ""
    commit: str = ""
    minutes: float | None = None
    picture: str = ""
    shows: str = ""

    @property
    def about(self) -> Sequence[str]:
        """Where its answers come from, in a few words each."""
        took = phrases.minutes(60 * self.minutes, "").strip() if self.minutes else ""
        code = f"commit {self.commit[:10]}" if self.commit else ""
        trained = f"{took} of training" if took else ""
        return [one for one in (self.made, self.dataset, self.hardware, trained, code) if one]


def in_short(found: Sequence[Claims]) -> str:
    """How many of the claims hold."""
    holds = [one.holds for of in found for one in of.claims]
    counts = ", ".join(f"{said} {holds.count(said)}" for said in _HOLDS.values())
    return f"Of {phrases.counted(len(holds), 'claim')}: {counts}."


def table(found: Sequence[Claims]) -> str:
    """All questions as a table in Markdown, with what is missing below."""
    rows = [_HEADER]
    for of in found:
        for one in of.claims:
            if one.answer:
                minutes = "" if one.minutes is None else f"{one.minutes:.0f}"
                cells = [one.question.text, one.said, one.question.claim, one.holds, minutes]
                rows.append([markdown.escaped(cell) or tables.MISSING for cell in cells])
    header, rule = rows[0], ["---"] * (len(_HEADER) - 1) + ["---:"]
    lines = [f"| {' | '.join(row)} |" for row in (header, rule, *rows[1:])]
    return "\n".join([*(lines if len(rows) > 1 else []), *_missing(found)])


def _missing(found: Sequence[Claims]) -> list[str]:
    lines = [
        f"- {phrases.counted(count, 'question')} of `{of.name}`: {markdown.code(of.command)}"
        for of in found
        if (count := sum(one.answer is None for one in of.claims))
    ]
    return ["", "Not measured yet:", "", *lines] if lines else []


def page(found: Sequence[Claims]) -> str:
    """All of it as Markdown."""
    parts = [in_short(found), table(found)]
    for of in found:
        facts = "; ".join(of.about) or "not run yet"
        parts += [f"## {markdown.escaped(of.title)}", f"{facts}. {markdown.code(of.command)}"]
        parts += [f"**{one.question.text}** {one.evidence}" for one in of.claims if one.evidence]
    return "\n\n".join(parts) + "\n"
