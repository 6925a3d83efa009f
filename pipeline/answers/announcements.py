"""What is said of a round of seeds before it begins, and when no more follows."""

from collections.abc import Iterable, Mapping, Sequence

from pipeline.answers.intervals import FEWEST
from pipeline.answers.rounds import undecided
from pipeline.answers.sentences import size, to_decide
from pipeline.answers.tables import interval
from pipeline.answers.verdicts import Answer
from pipeline.base import phrases

MOST_NAMED = 2  # questions


def seeds_added(added: Mapping[str, Sequence[int]], answers: Sequence[Answer]) -> str:
    """Which variants get which seeds, and why: so as to judge, or what is undecided."""
    why = still_undecided(answers) or f"no verdict is given on fewer than {FEWEST} seeds"
    return f"{of_variants(added)}, since {why}"


def of_variants(seeds: Mapping[str, Sequence[int]]) -> str:
    """Seeds by variant, those named together that have the same."""
    of_seeds: dict[str, list[str]] = {}
    for name, of in seeds.items():
        of_seeds.setdefault(phrases.seeds(of), []).append(name)
    return "; ".join(f"{of} of {phrases.listed(names)}" for of, names in of_seeds.items())


def ending(
    answers: Sequence[Answer], failed: Iterable[str], limit: str, *, briefly: bool = False
) -> str:
    """Why no more seeds are trained, and what that leaves undecided.

    Args:
        answers: to the questions in the end.
        failed: the variants of which a training failed.
        limit: what there are no more of for, where something is undecided.
        briefly: whether what is undecided is counted, and not named.
    """
    left = still_undecided(answers)
    if briefly and left:
        left = f"{phrases.counted(len(undecided(answers)), 'primary question')} undecided"
    if names := list(failed):
        limit = f"a training of {phrases.listed(names)} failed"
    elif not left:
        return "every primary question is decided"
    return f"{limit}; {left or 'what else is asked is decided'}"


def still_undecided(answers: Sequence[Answer]) -> str:
    """The undecided primary questions, each with its effect and what would probably decide it."""
    found = [_undecided(one) for one in undecided(answers)]
    rest = f"; and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    return "; ".join(found[:MOST_NAMED]) + rest


def _undecided(answer: Answer) -> str:
    question = answer.question
    same = question.variant == question.reference
    names = f"`{question.variant}`" + ("" if same else f" against `{question.reference}`")
    metric = "" if question.metric == "test_accuracy" else f" in {question.metric}"
    if answer.reason:
        return f"{names}{metric} is undecided ({answer.reason})"
    return f"{names}{metric} is undecided, {size(answer)} ({interval(answer)}): {to_decide(answer)}"
