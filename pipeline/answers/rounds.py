"""Which variants get another seed, until the primary questions of a comparison are decided."""

from collections.abc import Mapping, Sequence

from pipeline.answers.intervals import FEWEST
from pipeline.answers.verdicts import Answer, Verdict


def undecided(answers: Sequence[Answer]) -> list[Answer]:
    """The primary questions that more seeds may decide."""
    return [one for one in _primary(answers) if one.verdict is Verdict.UNDECIDED]


def next_round(answers: Sequence[Answer], seeds: Mapping[str, int], most: int) -> dict[str, int]:
    """How many seeds each variant gets now; none where all is decided or at its limit.

    Of an undecided question, the variant with fewer seeds gets one, or both: so they tell most.

    Args:
        answers: to the questions so far; none where nothing is trained yet.
        seeds: how many every variant has, but those that get no more.
        most: how many it may have.
    """
    first = {name: min(FEWEST, most) - count for name, count in seeds.items()}
    if first := {name: count for name, count in first.items() if count > 0}:
        return first
    more = expected(answers, seeds, most)
    behind = [name for one in undecided(answers) for name in _fewest(one, seeds) if name in more]
    return dict.fromkeys(behind, 1)


def expected(answers: Sequence[Answer], seeds: Mapping[str, int], most: int) -> dict[str, int]:
    """How many more seeds it will probably take of each variant, until all is decided or at most.

    Of a question without a forecast, as many as there may be.
    """
    more: dict[str, int] = {}
    for one in undecided(answers):
        names = _variants(one)
        # Where one of the two gets no more and has too few, those of the other decide nothing.
        if min(one.sizes) < FEWEST and not {*names} <= seeds.keys():
            continue
        for name in names:
            if seeds.get(name, most) < most:
                forecast = min(one.seeds or most, most) - seeds[name]
                more[name] = max(1, forecast, more.get(name, 0))
    return more


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
    asked = {name for one in _primary(answers) for name in _variants(one)} if answers else seeds
    return sum(max(0, most - seeds[name]) for name in asked if name in seeds)


def _primary(answers: Sequence[Answer]) -> list[Answer]:
    return [one for one in answers if one.question.role == "primary"]


def _variants(answer: Answer) -> tuple[str, str]:
    return answer.question.variant, answer.question.reference


def _fewest(answer: Answer, seeds: Mapping[str, int]) -> list[str]:
    """Of a question's variants that may get more seeds, those with the fewest."""
    counts = {name: seeds[name] for name in _variants(answer) if name in seeds}
    return [name for name, count in counts.items() if count == min(counts.values())]
