"""The questions of many comparisons: the answers, and whether what is commonly said holds."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.answers import sentences, tables
from pipeline.answers.sentences import Row
from pipeline.answers.verdicts import Answer, Verdict
from pipeline.base import markdown, phrases
from pipeline.comparisons import Question

HOLDS, FAILS, OPEN = "holds", "does not hold", "not decided"
UNKNOWN = "not measured"
BEGIN, END = "<!-- questions -->", "<!-- /questions -->"  # what a page has of them between
UNFOLDS = "<details>"  # what answers begin with there


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A question, with what was measured.

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
        return ", ".join(filter(None, [sentences.verdict(self.answer) or tables.DESCRIBED, how]))

    @property
    def took(self) -> str:
        """The minutes; empty where they are not known."""
        if self.minutes is None:
            return ""
        return f"{self.minutes:.0f}" if self.minutes >= 1 else "less than 1"

    @property
    def evidence(self) -> str:
        """What bears the answer out; empty where that was not logged."""
        names = {self.question.variant, self.question.reference}
        if self.answer is None or not any(self.answer.sizes) or not names <= self.rows.keys():
            return ""
        return sentences.evidence(self.answer, self.rows)

    @property
    def holds(self) -> str:
        """Whether what is commonly said holds; empty where nothing is."""
        if not self.question.claimed:
            return ""
        if self.answer is None:
            return UNKNOWN
        if self.answer.verdict in (None, Verdict.UNDECIDED):
            return OPEN
        return HOLDS if self.answer.verdict == self.question.claimed else FAILS

    @property
    def seeds(self) -> str:
        """How many of the variant and, where these are others, of the reference."""
        sizes = self.answer.sizes if self.answer else ()
        return " and ".join(map(str, dict.fromkeys(sizes))) if any(sizes) else ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """The questions of a comparison.

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
    entries: Sequence[Entry]
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


def in_short(found: Sequence[Section]) -> str:
    """How many questions are answered, and how much holds of what is commonly said."""
    entries = [one for of in found for one in of.entries]
    missing = sum(one.answer is None for one in entries)
    parts = [phrases.counted(len(entries), "question")]
    parts += [f"{missing} of them not measured yet"] if missing else []
    said = [one.holds for one in entries if one.answer and one.holds]
    if said:
        counts = [phrases.counted(said.count(HOLDS), "holds", "hold")]
        counts += [phrases.counted(said.count(FAILS), "does not", "do not")]
        counts += [f"{said.count(OPEN)} not decided"]
        parts += [f"of {phrases.counted(len(said), 'common claim')} {phrases.listed(counts)}"]
    return f"{'; '.join(parts)}."


def parts_of_page(found: Sequence[Section]) -> dict[str, str]:
    """By comparison its answers as Markdown: a table to unfold, below it what is missing."""
    return {
        of.name: "\n\n".join(
            [*_unfolded(of), *(f"Not measured yet: {line}" for line in _missing([of]))]
        )
        for of in found
    }


def _answered(section: Section) -> Sequence[Entry]:
    return [one for one in section.entries if one.answer]


def _unfolded(section: Section) -> list[str]:
    """Nothing where nothing is answered."""
    if not _answered(section):
        return []
    counts = in_short([section]).rstrip(".")
    title = f"<b>{markdown.as_html(section.title)}</b> {counts}"
    facts = f"{_facts(section)}: {markdown.code(section.command)}"
    lines = [UNFOLDS, f"<summary>{title}</summary>", "", *_table(section), "", facts, "</details>"]
    return ["\n".join(lines)]


def _facts(section: Section) -> str:
    return markdown.escaped(f"Measured {'; '.join(section.about)}") if section.about else ""


def _table(section: Section) -> list[str]:
    """The answered questions of a comparison; where nothing is commonly said, without that."""
    answered = _answered(section)
    is_said = any(one.holds for one in answered)
    rows = [["Question", "Answer", *(["Commonly said", "Holds"] if is_said else []), "Minutes"]]
    rows += [["---"] * (len(rows[0]) - 1) + ["---:"]]
    for one in answered:
        said = [one.question.claim, one.holds] if is_said else []
        cells = [one.question.text, one.said, *said, one.took]
        rows.append([markdown.escaped(cell) or tables.MISSING for cell in cells])
    return [f"| {' | '.join(row)} |" for row in rows]


def _missing(found: Sequence[Section]) -> list[str]:
    return [
        f"{phrases.counted(count, 'question')} of {markdown.code(of.name)}: "
        f"{markdown.code(of.command)}"
        for of in found
        if (count := len(of.entries) - len(_answered(of)))
    ]


def page(found: Sequence[Section]) -> str:
    """All of it as Markdown."""
    parts = [in_short(found)]
    for of in found:
        facts = _facts(of) or "Not run yet"
        parts += [f"## {markdown.escaped(of.title)}", f"{facts}. {markdown.code(of.command)}"]
        parts += ["\n".join(_table(of))] if _answered(of) else []
        parts += [
            f"**{markdown.escaped(one.question.text)}** {html.escape(one.evidence, quote=False)}"
            for one in of.entries
            if one.evidence
        ]
    if missing := _missing(found):
        parts += ["Not measured yet:", "\n".join(f"- {line}" for line in missing)]
    return "\n\n".join(parts) + "\n"
