"""Which variants get another seed, until the primary questions are decided, and why."""

from collections.abc import Iterable, Mapping, Sequence

from pipeline.answers.intervals import FEWEST
from pipeline.answers.sentences import size, to_decide
from pipeline.answers.tables import interval
from pipeline.answers.verdicts import Answer, Verdict
from pipeline.base import phrases
from pipeline.comparisons import Question

MOST_NAMED = 2  # questions


def undecided(answers: Sequence[Answer]) -> list[Answer]:
    """The primary questions that more seeds may decide."""
    return [one for one in _primary(answers) if one.verdict is Verdict.UNDECIDED]


def next_round(answers: Sequence[Answer], seeds: Mapping[str, int], most: int) -> dict[str, int]:
    """How many seeds each variant gets now; none where all is decided or at its limit.

    Of an undecided question, the variant with fewer seeds gets one, or both: so they tell most. Of
    one about times both do, since runs are compared with those of the same hour.

    Args:
        answers: to the questions so far; none where nothing is trained yet.
        seeds: how many every variant has, but those that get no more.
        most: how many it may have.
    """
    first = {name: min(FEWEST, most) - count for name, count in seeds.items()}
    if first := {name: count for name, count in first.items() if count > 0}:
        return first
    behind = [name for one in undecided(answers) for name in _behind(one, seeds, most)]
    return dict.fromkeys(behind, 1)


def expected(answers: Sequence[Answer], seeds: Mapping[str, int], most: int) -> dict[str, int]:
    """How many more seeds it will probably take of each variant, until all is decided or at most.

    Of a question without a forecast, as many as there may be.
    """
    more: dict[str, int] = {}
    for one in undecided(answers):
        for name, room in _room(one, seeds, most).items():
            forecast = min(one.seeds or most, most) - (most - room)
            more[name] = max(1, forecast, more.get(name, 0))
    return more


def _room(answer: Answer, seeds: Mapping[str, int], most: int) -> dict[str, int]:
    """How many more seeds its variants may get for a question; those that get none left out.

    Of a question about times, pairs are counted: runs of other hours are in none.
    """
    names = [name for name in dict.fromkeys(_variants(answer)) if name in seeds]
    is_of_times = answer.question.is_of_times
    # Where one of the two gets no more and has too few, those of the other decide nothing.
    if {*names} != {*_variants(answer)} and (is_of_times or min(answer.sizes) < FEWEST):
        return {}
    if is_of_times:
        left = min(most - min(answer.sizes), _most_pairs(names, seeds, most))
        return dict.fromkeys(names, left) if left > 0 else {}
    return {name: most - seeds[name] for name in names if seeds[name] < most}


def _most_pairs(names: Sequence[str], seeds: Mapping[str, int], most: int) -> int:
    """How many more seeds of each are tried, so as to have pairs that nothing disturbed."""
    return 2 * most - min(seeds[name] for name in names)


def filled(added: Mapping[str, int], more: Mapping[str, int], workers: int) -> dict[str, int]:
    """A round with the seeds of later ones that workers would else be idle for.

    Args:
        added: how many seeds each variant gets.
        more: how many it will probably take, from `expected`.
        workers: how many trainings run at once.
    """
    seeds = dict(added)
    while names := [name for name, count in seeds.items() if count < more.get(name, 0)]:
        if sum(seeds.values()) + len(names) > workers:
            break
        seeds |= {name: seeds[name] + 1 for name in names}
    return seeds


def at_most(questions: Sequence[Question], seeds: Mapping[str, int], most: int) -> int:
    """How many more trainings there can be: what is decided may be undecided by further seeds."""
    more = {name: max(0, min(FEWEST, most) - count) for name, count in seeds.items()}
    for one in questions:
        names = [name for name in (one.variant, one.reference) if name in seeds]
        for name in names if one.role == "primary" else ():
            room = _most_pairs(names, seeds, most) if one.is_of_times else most - seeds[name]
            more[name] = max(room, more[name])
    return sum(more.values())


def _primary(answers: Sequence[Answer]) -> list[Answer]:
    return [one for one in answers if one.question.role == "primary"]


def _variants(answer: Answer) -> tuple[str, str]:
    return answer.question.variant, answer.question.reference


def _behind(answer: Answer, seeds: Mapping[str, int], most: int) -> list[str]:
    """Of a question's variants that may get more seeds, those that are to get one now."""
    names = list(_room(answer, seeds, most))
    if answer.question.is_of_times:
        return names
    fewest = min((seeds[name] for name in names), default=0)
    return [name for name in names if seeds[name] == fewest]


# What is said of a round before it begins, and when no more follows


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
