"""Which variants get another seed, until the primary questions of a comparison are decided."""

from collections.abc import Mapping, Sequence

from pipeline.answers.intervals import FEWEST
from pipeline.answers.verdicts import Answer, Verdict


def undecided(answers: Sequence[Answer]) -> list[Answer]:
    """The primary questions that more seeds may decide."""
    return [
        one
        for one in answers
        if one.question.role == "primary" and one.verdict is Verdict.UNDECIDED
    ]


def next_round(answers: Sequence[Answer], seeds: Mapping[str, int], most: int) -> dict[str, int]:
    """How many seeds each variant gets now; none where all is decided or at its limit.

    Args:
        answers: to the questions so far; none where nothing is trained yet.
        seeds: how many every variant has.
        most: how many it may have.
    """
    first = {name: min(FEWEST, most) - count for name, count in seeds.items()}
    if first := {name: count for name, count in first.items() if count > 0}:
        return first
    asked = [name for one in undecided(answers) for name in _variants(one)]
    return {name: 1 for name in dict.fromkeys(asked) if seeds.get(name, most) < most}


def _variants(answer: Answer) -> tuple[str, str]:
    return answer.question.variant, answer.question.reference
