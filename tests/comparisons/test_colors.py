"""Colours that can be seen, on the light and on the dark page of a report."""

import pytest

from pipeline.comparisons.colors import OKABE_ITO, readable, told_apart
from pipeline.comparisons.twenty_layers import COMPARISON

LIGHT, DARK = "#FFFFFF", "#14171B"


def luminance(color: str) -> float:
    """By the definition of WCAG 2.2."""
    shares = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in shares]
    return sum(one * by for one, by in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted([luminance(one), luminance(other)])
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("color", [*OKABE_ITO, *(one.color for one in COMPARISON.variants)])
def test_the_palette_and_the_variants_can_be_seen_as_they_are(color: str) -> None:
    assert min(contrast(color, LIGHT), contrast(color, DARK)) >= 3
    assert readable(color) == color


@pytest.mark.parametrize("color", ["#E69F00", "#F0E442", "#000000", "#FFFFFF", "#00008B"])
def test_a_colour_that_cannot_be_seen_is_made_darker_or_lighter(color: str) -> None:
    assert min(contrast(color, LIGHT), contrast(color, DARK)) < 3
    assert min(contrast(readable(color), LIGHT), contrast(readable(color), DARK)) >= 3


def test_it_stays_the_colour_that_it_is() -> None:
    red, green, blue = (int(readable("#E69F00")[place : place + 2], 16) for place in (1, 3, 5))
    assert red > green > blue == 0


def test_variants_have_the_colours_of_a_comparison_where_those_of_their_runs_are_alike() -> None:
    own = {"scratch": "#0072B2", "transfer_cached": "#009E73"}
    elsewhere = {"scratch": "#CC79A7"}
    assert told_apart(own, elsewhere) == own | elsewhere
    assert told_apart(own, {"scratch": "#009E73"}) == own
    assert told_apart(own, {"other": "#009E73"}) == own | {"other": "#009E73"}


def test_variants_of_one_colour_have_the_next_that_is_free() -> None:
    first, second, third = OKABE_ITO[:3]
    own = {"elu": first, "ninth": first, "relu": second}
    assert told_apart(own, own) == {"elu": first, "ninth": third, "relu": second}
    many = {str(number): OKABE_ITO[number % 8] for number in range(12)}
    assert told_apart(many, {}) == many  # there are no more
