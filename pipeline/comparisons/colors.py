"""The colours of variants and figures: the palette of Okabe and Ito (2008) for the colour-blind.

What is light in it is darker here, so that a line has a contrast of 3 to white (WCAG 2.2, 1.4.11).
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence

BLUE, VERMILLION, GREEN, PINK, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#C68900"
OKABE_ITO = (BLUE, VERMILLION, GREEN, PINK, ORANGE, "#4A9DCB", "#9F9729", "#656565")
GREY = "#5F5F5F"  # of what is no variant
# Relative luminances at a contrast of 3 to the page of the report in dark and in light, #14171B and
# white, and a little within.
_DARKEST, _LIGHTEST = 0.13, 0.298


def in_order(given: Sequence[str]) -> Iterator[str]:
    """The colour of each of some variants: its own, or the next that is still free."""
    free = itertools.chain(
        (one for one in OKABE_ITO if one not in given), itertools.cycle(OKABE_ITO)
    )
    return (color or next(free) for color in given)


def told_apart(own: Mapping[str, str], of_runs: Mapping[str, str]) -> dict[str, str]:
    """The colours of variants that are compared, by name.

    Those of their runs, or, where these are alike, the comparison's own: a run that was trained for
    another comparison has the colour that it was given there. Where these are alike, too, as of a
    comparison of more variants than there are colours, the next that is still free.
    """
    for colors in ({**own, **of_runs}, {**of_runs, **own}):
        if len({*colors.values()}) == len(colors):
            return colors
    firsts = [one if one not in [*own.values()][:at] else "" for at, one in enumerate(own.values())]
    return {**of_runs, **dict(zip(own, in_order(firsts), strict=True))}


def readable(color: str) -> str:
    """A colour (hex) as it is, or so much darker or lighter that it is seen on light and dark."""
    encoded = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in encoded]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    if _DARKEST <= luminance <= _LIGHTEST:
        return color
    if luminance > _LIGHTEST:
        linear = [one * _LIGHTEST / luminance for one in linear]
    else:
        share = (_DARKEST - luminance) / (1 - luminance)
        linear = [one + share * (1 - one) for one in linear]
    encoded = [
        12.92 * one if one <= 0.0031308 else 1.055 * one ** (1 / 2.4) - 0.055 for one in linear
    ]
    return "#" + "".join(f"{round(255 * one):02X}" for one in encoded)
