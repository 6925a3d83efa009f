"""What a comparison came to, in words: headlines, answers, and what they hold for.

Nothing is decided here, and no sentence claims more than a verdict does.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pipeline.answers import sentences, tables
from pipeline.answers.evidence import Evidence
from pipeline.answers.fairness import ABSENT
from pipeline.answers.headlines import Headline
from pipeline.answers.summary import BLOWN_UP, IF_ASKED, TARGET_SEEDS
from pipeline.answers.tables import DESCRIBED, PLUS_MINUS
from pipeline.answers.verdicts import FAMILY_ERROR, Verdict
from pipeline.base import markdown, phrases


class Said(NamedTuple):
    """An answer in words: its verdict, the effect that it is about, and what bears it out."""

    question: str
    verdict: str
    effect: str
    evidence: str

    @property
    def answer(self) -> str:
        """The verdict and the effect; empty where neither can be told."""
        return ", ".join(filter(None, [self.verdict, self.effect]))

    @property
    def in_short(self) -> str:
        """The question and its answer, as Markdown."""
        return f"**{self.question}** {self.answer}." if self.answer else f"**{self.question}**"


class Card(NamedTuple):
    """A headline in words: the winners, each with whom it is ahead of, and what else is to say."""

    title: str
    winners: Mapping[str, str]
    evidence: Sequence[str]
    why: Mapping[str, str] = {}  # by winner, what bears it out


# Where one is ahead of all, where some are of others, and where nobody is.
_TITLES = {
    "test_accuracy": ("Best model", "Better model", "No model is shown to be better"),
    "generalization_gap": (
        "Overfits least",
        "Overfits less",
        "None is shown to overfit less",
    ),
    "epochs_to_target": (
        "Converges fastest",
        "Converges faster",
        "None is shown to converge faster",
    ),
    "median_epoch_seconds": (
        "Shortest epochs",
        "Shorter epochs",
        "None is shown to have shorter epochs",
    ),
    "train_seconds": (
        "Shortest training",
        "Shorter training",
        "None is shown to train in less time",
    ),
    "inference_microseconds": (
        "Fastest predictions",
        "Faster predictions",
        "None is shown to predict faster",
    ),
    "zero_weights": ("Most weights of 0", "More weights of 0", "None is shown to be sparser"),
    "dead_units": (
        "Fewest dead units",
        "Fewer dead units",
        "None is shown to have fewer dead units",
    ),
    "distinct_units": (
        "Most distinct units",
        "More distinct units",
        "None is shown to have more distinct units",
    ),
    "highest_first_loss": (
        "Overshoots least",
        "Overshoots less",
        "None is shown to overshoot less",
    ),
}
NO_QUESTION = "There is no question that these runs could answer"
_ROLES = {"primary": "Primary questions", "secondary": "Secondary questions"}
_ROLES |= {"described": "Described, not tested"}


def cards(evidence: Evidence) -> list[Card]:
    """The headlines: which model is better, converges faster and trains faster."""
    rows = _rows(evidence)
    return [_card(headline, rows) for headline in evidence.headlines]


def _rows(evidence: Evidence) -> dict[str, sentences.Row]:
    return {row["variant"]: sentences.Row(row) for row in evidence.summary.to_dict("records")}


def verdict(evidence: Evidence) -> str:
    """The headlines in one line of Markdown, for where there is room for no more."""
    said = []
    for card in cards(evidence):
        named = ", ".join(f"**{name}** ({than})" for name, than in card.winners.items())
        said.append(": ".join(filter(None, [card.title, named])) + ".")
    if not said:  # of other metrics there is no headline
        said = [one.in_short for one in answers(evidence)]
    return " ".join(said) or f"{NO_QUESTION}."


def _card(headline: Headline, rows: Mapping[str, sentences.Row]) -> Card:
    best, better, none = _TITLES[headline.metric]
    winners: dict[str, str] = {}
    why: dict[str, str] = {}
    for one in headline.wins:
        if (name := str(one.winner)) == (headline.best or name):
            over = f"than `{one.loser}`, {sentences.of_winner(one)}"
            winners[name] = "; ".join(filter(None, [winners.get(name), over]))
            rests = sentences.ahead(one, rows)
            why[name] = " ".join(filter(None, [why.get(name), rests]))
    title = better if winners else f"{none} ({_counts(headline)})"
    return Card(best if headline.best else title, winners, list(_standing(headline)), why)


def _counts(headline: Headline) -> str:
    """How many questions came to what, where none of them named a winner."""
    verdicts = [one.verdict or DESCRIBED for one in headline.others]
    counts = {str(one): verdicts.count(one) for one in verdicts}
    counts |= {"denied by validation": len(headline.denied)} if headline.denied else {}
    return ", ".join(f"{count} {of}" for of, count in counts.items())


def _standing(headline: Headline) -> Iterator[str]:
    """What became of the questions that name no winner."""
    yield from denied(headline)
    pairs: dict[str, list[str]] = {}
    for one in headline.others:
        pair = f"`{one.question.variant}` and `{one.question.reference}`"
        more = one.reason or sentences.to_decide(one)
        how = f" ({more})" if more and one.verdict is Verdict.UNDECIDED else ""
        pairs.setdefault(one.verdict or DESCRIBED, []).append(pair + how)
    for verdict, of in pairs.items():
        yield f"{verdict.capitalize()}: {'; '.join(of)}."


def denied(headline: Headline) -> Iterator[str]:
    """The winners on the test images that are none, as validation chooses."""
    for one in headline.denied:
        yield (
            f"`{one.winner}` is better than `{one.loser}` on the test images "
            f"({sentences.of_winner(one)}), but not on the validation images, which choose."
        )


def answers(evidence: Evidence) -> list[Said]:
    """The questions about the runs, answered."""
    rows = _rows(evidence)
    return [
        Said(
            question=one.question.text,
            verdict=(one.verdict or "").capitalize(),
            effect=sentences.effect(one),
            evidence=sentences.evidence(one, rows),
        )
        for one in evidence.answers
    ]


# What it holds for


def trained(evidence: Evidence) -> str:
    """How long all of its trainings took."""
    seconds = evidence.runs["train_seconds"].sum()
    return phrases.minutes(seconds) if seconds > 0 else "an unknown time"


def target(evidence: Evidence) -> str:
    """What runs are timed by; empty without the baseline."""
    loss = evidence.timed["target"].iloc[0]
    if math.isnan(loss):
        return ""
    count = min(TARGET_SEEDS, int((evidence.runs["variant"] == evidence.baseline).sum()))
    seeds = {1: "the first seed", 2: "each of the first two seeds"}
    of = seeds.get(count, "each of the first three seeds")
    return f"the target, the validation loss that {of} of `{evidence.baseline}` reached, {loss:.4g}"


_COLUMNS = {
    "Train accuracy": "of the weights that were kept, without dropout",
    "Test precision": "of what is taken for a class the share that is of it, the mean over classes",
    "Ensemble": "test accuracy of the mean of the seeds' probabilities",
    IF_ASKED["inference_microseconds"]: "processor time of a prediction without dropout",
    IF_ASKED["zero_weights"]: "the share of the kernels' weights that are exactly 0",
    IF_ASKED["dead_units"]: "the share of units that are 0 for every training image",
    IF_ASKED["distinct_units"]: "in the layer with the fewest; equal units count as one",
    IF_ASKED["highest_first_loss"]: "of the first epoch, the geometric mean over the seeds, where "
    f"more than {BLOWN_UP} counts as {BLOWN_UP}",
}


def table_note(evidence: Evidence) -> str:
    """What the columns of the summary are."""
    note = f"Means over the seeds. {PLUS_MINUS}: half the width of the 95% confidence interval of "
    note += "one mean (Student's t). s/epoch: the median. s/training: of one."
    shown = tables.summary_table(evidence)[0]
    note += "".join(f" {name}: {what}." for name, what in _COLUMNS.items() if name in shown)
    if timed := target(evidence):
        note += f" Epochs to {timed}: the median, and how many runs reached it; not in "
        note += "most: of too few for a median, however accurate they are."
    return note


def scope(evidence: Evidence) -> list[str]:
    """What the answers hold for, said once for all of them; nothing where there are none."""
    if not evidence.answers:
        return []
    accuracies = [
        one for one in evidence.answers if one.question.metric == "test_accuracy" and not one.reason
    ]
    covering = [tables.compared(one.question) for one in accuracies if one.covers_images]
    of = f" of {', '.join(covering)}" if len(covering) < len(accuracies) else ""
    images = f"and, in test accuracy{of}, new test images" if covering else "on these test images"
    return [
        f"The intervals cover new seeds {images}, not another search of the learning rate.",
        f"The primary questions share one error rate of {FAMILY_ERROR:.0%}, however often they "
        "were looked at while seeds came in; the secondary ones share another. What is described "
        "is not tested.",
        "Validation chooses, the test set reports: learning rates, the weights that are kept and "
        "who may become champion follow from the validation images alone.",
    ]


def flags(evidence: Evidence) -> list[str]:
    """What to think of before trusting it; runs that are not compared are named elsewhere."""
    return [
        f"{fact.name if fact.name.isupper() else fact.name.lower()} ({fact.finding})"
        for fact in evidence.facts
        if fact.flagged and fact.name != ABSENT
    ]


def markdown_report(evidence: Evidence) -> str:
    """The comparison as a Markdown page: the results, and the answers with what bears them out."""
    sections = ["## Comparison", tables.markdown(tables.summary_table(evidence))]
    sections += [table_note(evidence)]
    rows = [row for row in evidence.summary.to_dict("records") if row["capped"]]
    if capped := [f"`{row['variant']}` {row['capped']:.0f} of {row['seeds']}" for row in rows]:
        sections += [f"Ended at the last permitted epoch, not stopped early: {', '.join(capped)}."]
    said = list(zip(evidence.answers, answers(evidence), strict=True))
    for role, title in _ROLES.items():
        of_role = [of for one, of in said if one.question.role == role]
        sections += [f"## {title}"] if of_role else []
        sections += [f"{of.in_short} {of.evidence}" for of in of_role]
    if evidence.answers:
        sections += ["## What the answers hold for", " ".join(scope(evidence))]
    if evidence.left_out:
        lines = [f"- {markdown.escaped(str(one))}" for one in evidence.left_out]
        sections += ["## Not compared", "\n".join(lines)]
    return "\n\n".join(sections) + "\n"
