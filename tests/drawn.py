"""Curves to draw, and what a figure shows, read back from Matplotlib; for several test modules."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread

from pipeline.report import drawing
from pipeline.report.drawing import Panel


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


def make_curve(variant="elu", seed=1, epochs=6, learning_rate=0.001, offset=0.0):
    epoch = np.arange(1, epochs + 1)
    return pd.DataFrame(
        {
            "run_id": f"{variant}-{seed}",
            "variant": variant,
            "seed": seed,
            "epoch": epoch,
            "loss": 2.0 / epoch + offset,
            "accuracy": 0.5 - 0.4 / epoch,
            "val_loss": 2.1 / epoch + offset,
            "val_accuracy": 0.45 - 0.4 / epoch,
            "learning_rate": learning_rate,
            "epoch_seconds": 2.0,
            "elapsed_seconds": 2.0 * epoch,
        }
    )


def axes_of(panel: Panel) -> Axes:
    axes = drawing.blank_figure(3.0).subplots()
    panel.draw(axes)
    return axes
