"""Numbers and names as they stand in a sentence."""

import re
from collections.abc import Iterable, Sequence


def counted(number: int, noun: str, nouns: str = "") -> str:
    """A number of things."""
    return f"{number} {noun if number == 1 else nouns or f'{noun}s'}"


def listed(names: Iterable[str]) -> str:
    """Names in a sentence."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def seeds(numbers: Sequence[int]) -> str:
    """Seeds in a sentence, those of a range by its ends."""
    first, last = numbers[0], numbers[-1]
    if len(numbers) > 2 and [*numbers] == [*range(first, last + 1)]:
        return f"seeds {first} to {last}"
    return f"seed{'s'[: len(numbers) > 1]} {listed(map(str, numbers))}"


def together(steps: Iterable[str]) -> list[str]:
    """Names of steps, those that differ in their seed alone as one: `train bn seeds 1 to 3`."""
    of_name: dict[str, list[int]] = {}
    for step in steps:
        seeded = re.fullmatch(r"(.*) seed (\d+)", step)
        of_name.setdefault(seeded[1] if seeded else step, []).extend(
            [int(seeded[2])] if seeded else []
        )
    return [f"{name} {seeds(of)}" if of else name for name, of in of_name.items()]


def minutes(seconds: float, how: str = "about") -> str:
    """A time that is left, no finer than it is known."""
    if seconds < 60:
        return "less than 1 min"
    return f"{how} " + (f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h")
