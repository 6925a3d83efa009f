"""Trainings of small networks on few images, for several test modules."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.comparisons import Data
from pipeline.data import npz
from pipeline.data.splits import Splits
from pipeline.data.splitting import split_arrays
from pipeline.training.fit import Fit
from pipeline.training.trainer import Trainer


def soon_overfitted(path: Path) -> Splits:
    """The data set of a file, with wrong labels to validate with, so that val_loss soon rises."""
    found = split_arrays(npz.read(path), Data(val_size=40, split_seed=0))
    wrong = np.arange(40) % 5 == 0
    y_val = np.where(wrong, (found.y_val + 1) % 3, found.y_val).astype(np.int32)
    return dataclasses.replace(found, y_val=y_val)


def ignore(_epoch: int, _metrics: Mapping[str, float]) -> None:
    """Take no notice of an epoch."""


def fit(trainer: Trainer, **changes: Any) -> Fit:
    settings = {"learning_rate": 0.003, "epochs": 4, "patience": None, "seed": 5}
    return trainer.fit(**{**settings, "on_epoch": ignore, **changes})


def cut_off(trainer: Trainer, *, after: int, **changes: Any) -> None:
    """A training that is cut off after an epoch; another one then uses the trainer."""

    def end(epoch: int, _metrics: Mapping[str, float]) -> None:
        if epoch == after:
            raise KeyboardInterrupt

    try:
        fit(trainer, **changes, on_epoch=end)
    except KeyboardInterrupt:
        fit(trainer, epochs=1, seed=77)
    else:
        raise AssertionError("it came to its end")
