"""Numbers with the digits that mean something: trackers show every digit that they are given."""

import numpy as np


def single_precision(value: float) -> float:
    """The shortest decimal with a value's single precision: 0.91, not 0.9100000262460437.

    What was computed in single precision loses nothing by it.
    """
    return float(value) if float(value).is_integer() else float(str(np.float32(value)))


def three_digits(value: float) -> float:
    """A learning rate to three significant digits, as people read and give it."""
    return float(f"{value:.3g}")
