"""What people use today, on the same network and the same images: `keras.Model.fit`.

Imported in the processes that are measured; TensorFlow keeps its own threads and flags.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.comparisons.files import find_variant
from pipeline.data.splits import open_splits
from pipeline.training.blocks import order_of_epoch
from pipeline.training.models import build_model

# How `Model.fit` is compiled: as it comes, and as fast as its own options make it.
COMPILED: Mapping[str, Mapping[str, Any]] = {
    "Model.fit": {},
    "Model.fit, jit": {"jit_compile": True, "steps_per_execution": 32},
}


class Peer:
    """The network of a variant with plain `Model.fit`, its images in memory as they are stored.

    Args:
        variant: name of the architecture.
        directory: where `splits.save` put the data set.
        compiled: a key of `COMPILED`.
    """

    def __init__(self, variant: str, directory: str, compiled: str = "Model.fit"):
        self.variant, _ = find_variant(variant)
        self.splits = open_splits(Path(directory))
        self.arrays = {
            name: np.array(getattr(self.splits, name))  # in memory, not memory-mapped
            for name in ("x_train", "y_train", "x_val", "y_val")
        }
        self.compiled = COMPILED[compiled]

    def model(self, *, seed: int, learning_rate: float) -> keras.Model:
        """A freshly compiled model with the initial weights of a seed."""
        built = build_model(self.variant, self.splits, seed=seed)
        return self.compile(built, learning_rate=learning_rate)

    def compile(self, model: keras.Model, *, learning_rate: float) -> keras.Model:
        """Compile a model for training; returns it."""
        optimizers = {
            "adam": keras.optimizers.Adam,
            "nadam": keras.optimizers.Nadam,
            "sgd": partial(keras.optimizers.SGD, momentum=0.9, nesterov=True),
        }
        model.compile(
            optimizer=optimizers[self.variant.optimizer](learning_rate),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
            **self.compiled,
        )
        return model

    def fit(self, model: keras.Model, *, epochs: int, **arguments: Any) -> dict[str, list[float]]:
        """Train and validate, of pairs on a generator; returns the history of the metrics.

        There is no global seed: with one, `Model.fit` shuffles the same way in every epoch, and a
        network with batch normalisation learns the mini-batches by heart.

        Args:
            model: from `model`.
            epochs: at most.
            arguments: more of `keras.Model.fit`.
        """
        named: dict[str, Any] = {
            "x": self.arrays["x_train"],
            "y": self.arrays["y_train"],
            "batch_size": self.variant.batch_size,
        }
        if self.splits.pairs:
            steps = math.ceil(len(self.arrays["y_train"]) / self.variant.batch_size)
            named = {"x": self._pairs(), "steps_per_epoch": steps, "shuffle": False}
        trained = model.fit(
            **named,
            epochs=epochs,
            validation_data=(self.arrays["x_val"], self.arrays["y_val"]),
            verbose=0,
            **arguments,
        )
        return trained.history

    def _pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Mini-batches of pairs, endlessly; those of an epoch are drawn at once, as in ours."""
        images, labels = self.arrays["x_train"], self.arrays["y_train"]
        for epoch in itertools.count(1):
            order, same = order_of_epoch(labels, seed=1, epoch=epoch, pairs=True)
            for start in range(0, len(order), self.variant.batch_size):
                batch = slice(start, start + self.variant.batch_size)
                yield images[order[batch]], same[batch]
