"""Which variants get another seed, until the primary questions are decided, and why."""

from collections.abc import Iterable, Mapping, Sequence

from pipeline.answers.intervals import FEWEST
from pipeline.answers.sentences import size, to_decide
from pipeline.answers.tables import interval
from pipeline.answers.verdicts import Answer, Verdict
from pipeline.base import phrases
from pipeline.comparisons.questions import TIMES

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
    more = expected(answers, seeds, most)
    behind = [name for one in undecided(answers) for name in _behind(one, seeds) if name in more]
    return dict.fromkeys(behind, 1)


def expected(answers: Sequence[Answer], seeds: Mapping[str, int], most: int) -> dict[str, int]:
    """How many more seeds it will probably take of each variant, until all is decided or at most.

    Of a question without a forecast, as many as there may be.
    """
    more: dict[str, int] = {}
    for one in undecided(answers):
        # Where one of the two gets no more and has too few, those of the other decide nothing.
        if min(one.sizes) < FEWEST and not {*_variants(one)} <= seeds.keys():
            continue
        for name, room in _room(one, seeds, most).items():
            forecast = min(one.seeds or most, most) - (most - room)
            more[name] = max(1, forecast, more.get(name, 0))
    return more


def _room(answer: Answer, seeds: Mapping[str, int], most: int) -> dict[str, int]:
    """How many more seeds the variants of a question may get for it; those that get none left out.

    Runs of other hours are in no pair, as many as there are of them: pairs are counted instead, up
    to twice as many seeds, since some pairs may be disturbed.
    """
    names = [name for name in _variants(answer) if name in seeds]
    if answer.question.metric in TIMES:
        least = min((2 * most - seeds[name] for name in names), default=0)
        room = dict.fromkeys(names, min(most - answer.sizes[0], least))
    else:
        room = {name: most - seeds[name] for name in names}
    return {name: number for name, number in room.items() if number > 0}


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


def at_most(answers: Sequence[Answer], seeds: Mapping[str, int], most: int) -> int:
    """How many more trainings there can be: what is decided may be undecided by further seeds."""
    if not answers:
        return sum(max(0, most - count) for count in seeds.values())
    more: dict[str, int] = {}
    for one in _primary(answers):
        for name, room in _room(one, seeds, most).items():
            more[name] = max(room, more.get(name, 0))
    return sum(more.values())


def _primary(answers: Sequence[Answer]) -> list[Answer]:
    return [one for one in answers if one.question.role == "primary"]


def _variants(answer: Answer) -> tuple[str, str]:
    return answer.question.variant, answer.question.reference


def _behind(answer: Answer, seeds: Mapping[str, int]) -> list[str]:
    """Of a question's variants that may get more seeds, those that are to get one now."""
    counts = {name: seeds[name] for name in _variants(answer) if name in seeds}
    is_of_times = answer.question.metric in TIMES
    return [name for name, count in counts.items() if is_of_times or count == min(counts.values())]


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
