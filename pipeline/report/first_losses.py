"""The losses of the first epoch's mini-batches, smoothed alike where compared and where drawn."""

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

WIDTH = 10  # mini-batches


def smoothed(losses: np.ndarray) -> pd.Series:
    """Means of ten mini-batches one after the other, up to one that is not finite.

    Single ones differ by a tenth for no other reason than their images. Of fewer than ten it is
    their mean, of none nothing.

    Args:
        losses: one per mini-batch, shape `(n,)`.

    Returns:
        The means, by the number of the last mini-batch in each, counted from 1.
    """
    broken = np.flatnonzero(~np.isfinite(losses))
    finite = np.asarray(losses[: broken[0] if broken.size else None], dtype=float)
    if not finite.size:
        return pd.Series(dtype=float)
    width = min(WIDTH, finite.size)
    means = sliding_window_view(finite, width).mean(axis=1)
    return pd.Series(means, index=np.arange(width, finite.size + 1))
