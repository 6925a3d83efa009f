"""What two steps differ in, by their inputs, in words."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pipeline.comparisons.variants import default_setting

MOST_NAMED = 8  # modules


class Differences(NamedTuple):
    """The inputs that differ between two steps.

    Args:
        modules: whose code does, such as `pipeline.training.fit`.
        others: the names of the others, as in `Step.inputs`.
    """

    modules: Sequence[str]
    others: Sequence[str]


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> Differences:
    """What differs between the inputs of two steps."""
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    code = [name for name in changed if name.startswith("code of ")]
    return Differences(
        [name.removeprefix("code of ") for name in code],
        [name for name in changed if name not in code],
    )


def named_modules(modules: Sequence[str]) -> str:
    """Modules in a sentence: of many, their number."""
    few = len(modules) <= MOST_NAMED
    return ", ".join(modules) if few else f"{len(modules)} modules"


def from_to(name: str, before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Of an input that a person can read, what it was and is; else empty."""
    kind, _, setting = name.partition(" ")
    default = default_setting(setting) if kind == "variant" else "its default"
    if kind not in ("parameter", "variant", "version"):
        return ""
    was = f" from {before.get(name, default)}" if name in before or kind == "variant" else ""
    return f"{was} to {now.get(name, default)}"
