"""Variants that differ in nothing but how many images of each class they are trained with."""

from collections.abc import Mapping
from typing import NamedTuple

from pipeline.answers.evidence import Evidence

# Settings in which variants of a family may differ.
_MAY_DIFFER = ("images_per_class", "derived_from", "parameters")


class Family(NamedTuple):
    """Such variants by their images of each class, the fewest first, and a name for all."""

    name: str
    variants: Mapping[int, str]


def families(evidence: Evidence) -> list[Family]:
    """The families of all variants whose images are known; none if no family has two of them."""
    found: dict[tuple, dict[int, str]] = {}
    for name in map(str, evidence.summary["variant"]):
        settings, number = evidence.settings.get(name), evidence.images_per_class.get(name)
        if settings and number:
            others = tuple((one, str(of)) for one, of in settings.items() if one not in _MAY_DIFFER)
            found.setdefault(others, {})[number] = name
    if not any(len(of) > 1 for of in found.values()):
        return []
    return [Family(_name(of), dict(sorted(of.items()))) for of in found.values()]


def _name(variants: Mapping[int, str]) -> str:
    """The shortest of their names, without the number that it may end in."""
    stems = (name.removesuffix(str(number)).rstrip("_-") for number, name in variants.items())
    return min(stems, key=len) or next(iter(variants.values()))
