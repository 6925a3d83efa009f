"""One answer in words: its effect, what bears it out, and what would decide it."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.answers import tables
from pipeline.answers.summary import BLOWN_UP
from pipeline.answers.verdicts import MOST_SEEDS, Answer, Verdict
from pipeline.comparisons.questions import TIMES


class Row(dict[str, Any]):
    """A variant's row of the summary; formatted by the name of a column, its figure in words."""

    def __format__(self, column: str) -> str:
        match column:
            case "variant":
                return f"`{self['variant']}`"
            case "seeds":
                return f"{self['seeds']} seed{'s'[: self['seeds'] != 1]}"
            case "reached_target":
                epochs, seconds = f"{self:epochs_to_target}", f"{self:seconds_to_target}"
                took = epochs if epochs == tables.UNREACHED else f"{epochs} epochs, {seconds} s"
                return f"{took} ({self[column]:.0f} of {self['seeds']} reached it)"
        return tables.figure(self, column)


# By metric: what the two variants, `one` and `other`, come to.
_SENTENCES = {
    "test_accuracy": (
        "Test accuracy {one:test_accuracy} ({one:seeds}), "
        "in {other:variant} {other:test_accuracy} ({other:seeds})."
    ),
    "generalization_gap": (
        "Training accuracy less test accuracy: {one:generalization_gap} in {one:variant} "
        "({one:train_accuracy} and {one:test_accuracy}), {other:generalization_gap} in "
        "{other:variant} ({other:train_accuracy} and {other:test_accuracy})."
    ),
    "mc_gain": (
        "Test accuracy {one:mc_accuracy} with MC Dropout and {one:test_accuracy} without "
        "({one:seeds}). The negative log-likelihood goes from {one:nll} to {one:mc_nll} and the "
        "expected calibration error from {one:ece} to {one:mc_ece} (described, not tested)."
    ),
    "epochs_to_target": (
        "To the target, in the median: {one:variant} {one:reached_target}, "
        "{other:variant} {other:reached_target}."
    ),
    "median_epoch_seconds": (
        "An epoch takes {one:seconds_per_epoch} s in {one:variant} and {other:seconds_per_epoch} s "
        "in {other:variant} (medians){pairs}."
    ),
    "train_seconds": (
        "A training takes {one:total_seconds} s in {one:variant} and {other:total_seconds} s in "
        "{other:variant} (means){pairs}."
    ),
    "inference_microseconds": (
        "An image takes {one:inference_microseconds} \N{MICRO SIGN}s of processor time in "
        "{one:variant} and {other:inference_microseconds} in {other:variant} (means){pairs}."
    ),
    "zero_weights": (
        "Of the weights {one:zero_weights} are 0 in {one:variant} and {other:zero_weights} in "
        "{other:variant}, at a test accuracy of {one:test_accuracy} and {other:test_accuracy}."
    ),
    "dead_units": (
        "Of the units {one:dead_units} are 0 for every training image in {one:variant} and "
        "{other:dead_units} in {other:variant}."
    ),
    "distinct_units": (
        "Counting equal units as one, the layer with the fewest has {one:distinct_units} units in "
        "{one:variant} and {other:distinct_units} in {other:variant}."
    ),
    "highest_first_loss": (
        "The highest loss of a mini-batch in the first epoch is {one:highest_first_loss} nats per "
        "image in {one:variant} and {other:highest_first_loss} in {other:variant} (geometric "
        f"means, where more than {BLOWN_UP} counts as {BLOWN_UP})."
    ),
}
# What a ratio is a ratio of.
_UNITS = {"epochs_to_target": " as many epochs", "highest_first_loss": " as high"}
_UNITS |= dict.fromkeys(TIMES, " as long")


def size(answer: Answer) -> str:
    """The effect alone; empty where it is no figure."""
    found = tables.effect(answer)
    return found + _UNITS.get(answer.question.metric, "") if found else ""


def effect(answer: Answer) -> str:
    """The effect with the interval that the verdict rests on; empty where there is neither."""
    found, ends = size(answer), tables.interval(answer)
    if not ends:
        return found
    if answer.low == answer.high:
        return f"{found} (the same in all seeds)"
    level = f"{tables.confidence(answer)} interval"
    return f"{found} ({level} {ends})" if found else f"{ends} ({level})"


def of_winner(answer: Answer) -> str:
    """By how much the winner is ahead."""
    turned = _turned(answer)
    return size(turned) or effect(turned)


def _turned(answer: Answer) -> Answer:
    """An answer as it reads of the winner, against the other."""
    if answer.winner != answer.question.reference:
        return answer
    if answer.question.about.is_ratio:
        mean, high, low = (
            1 / end if end else math.inf for end in (answer.effect, answer.low, answer.high)
        )
    else:
        mean, high, low = -answer.effect, -answer.low, -answer.high
    return replace(answer, effect=mean, low=low, high=high)


def verdict(answer: Answer) -> str:
    """A verdict, and what it leaves open; empty where none is given."""
    if answer.verdict is Verdict.EQUAL:
        return f"equal within {tables.margin(answer.question)}"
    perhaps = ", perhaps by too little" if answer.winner and within_margin(answer) else ""
    return f"{answer.verdict}{perhaps}" if answer.verdict else ""


def within_margin(answer: Answer) -> str:
    """That a winner may be ahead by too little to matter, where the interval allows it."""
    ends = [answer.low, answer.high]
    if answer.question.about.is_ratio:
        ends = [math.log(end) if 0 < end < math.inf else math.inf for end in ends]
    if min(map(abs, ends)) >= answer.question.smallest:
        return ""
    return f"It may be too little to matter: the margin is {tables.margin(answer.question)}."


def ahead(answer: Answer, rows: Mapping[str, Row]) -> str:
    """How sure it is that the winner is ahead, of what figures; of a better model its price."""
    of = {"one": rows[str(answer.winner)], "other": rows[str(answer.loser)], "pairs": ""}
    metrics = [answer.question.metric]
    metrics += ["train_seconds"] if metrics == ["test_accuracy"] else []
    figures = [_SENTENCES[metric].format(**of) for metric in metrics]
    interval = f"{tables.confidence(answer)} interval: {tables.interval(_turned(answer))}."
    return " ".join([interval, *figures, within_margin(answer)]).strip()


def evidence(answer: Answer, rows: Mapping[str, Row]) -> str:
    """What an answer rests on, by the rows of the summary."""
    question, count = answer.question, answer.sizes[0]
    one, other = rows[question.variant], rows[question.reference]
    pairs = f"; compared in {count} pair{'s'[: count != 1]} of runs close in time" if count else ""
    sentences = [_SENTENCES[question.metric].format(one=one, other=other, pairs=pairs)]
    sentences += [f"No interval: {answer.reason}."] if answer.reason else []
    if answer.winner and (perhaps := within_margin(answer)):
        sentences += [perhaps]
    if answer.verdict is Verdict.EQUAL:
        sentences += [f"The whole interval is within the margin of {tables.margin(question)}."]
    elif answer.verdict is Verdict.UNDECIDED and (more := to_decide(answer)):
        sentences += [f"{more[0].upper()}{more[1:]}."]
    return " ".join(sentences)


def to_decide(answer: Answer) -> str:
    """What would probably decide a question; empty where too little is known to tell."""
    what = "pairs of runs close in time" if answer.question.is_of_times else "seeds of each"
    if answer.seeds is not None:
        takes = _duration(answer.minutes or 0.0)
        return f"about {answer.seeds} {what} in all would probably decide it{takes}"
    has_ends = math.isfinite(answer.high) and not (
        answer.question.about.is_ratio and not answer.low
    )
    return f"not even {MOST_SEEDS} {what} would probably decide it" if has_ends else ""


def _duration(minutes: float) -> str:
    if not 0 < minutes < math.inf:  # not known, or there are runs enough
        return ""
    if minutes >= 120:
        return f", {minutes / 60:.0f} more hours of training"
    return f", {math.ceil(minutes)} more minute{'s'[: minutes > 1]} of training"
