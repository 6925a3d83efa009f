"""The colours of variants and figures: the colour-blind safe palette of Okabe and Ito (2008)."""

import itertools
from collections.abc import Iterator, Sequence

BLUE, VERMILLION, GREEN, PINK, ORANGE = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"
OKABE_ITO = (BLUE, VERMILLION, GREEN, PINK, ORANGE, "#56B4E9", "#F0E442", "#000000")
GREY = "#5F5F5F"  # of what is no variant


def in_order(given: Sequence[str]) -> Iterator[str]:
    """The colour of each of some variants: its own, or the next that is still free."""
    free = itertools.chain(
        (one for one in OKABE_ITO if one not in given), itertools.cycle(OKABE_ITO)
    )
    return (color or next(free) for color in given)
