"""What a figure shows, read back from Matplotlib; for several test modules."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.image import imread


def xs(line):
    return np.asarray(line.get_xdata()).tolist()


def ys(line):
    return np.asarray(line.get_ydata()).tolist()


def labels_of(axes):
    return axes.get_xlabel(), axes.get_ylabel()


def assert_saves_as_a_png_of_1200_pixels(figure: Figure, path: Path) -> None:
    figure.savefig(path)
    pixels = imread(path)
    assert pixels.shape[1] == 1200
    assert pixels[0, 0].tolist() == [1, 1, 1, 1]  # a light background
    assert (pixels[..., :3] < 0.9).any(axis=-1).sum() > 1000  # and something drawn on it
