"""What people use today, on the same network and the same images: `keras.Model.fit`.

Imported in the processes that are measured; TensorFlow keeps its own threads and flags.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.comparisons.files import find_variant
from pipeline.data.splits import open_splits
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
        optimizer = keras.optimizers.Nadam(learning_rate)
        if self.variant.optimizer == "sgd":
            optimizer = keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True)
        model.compile(
            optimizer=optimizer,
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
            **self.compiled,
        )
        return model

    def fit(self, model: keras.Model, *, epochs: int, **arguments: Any) -> dict[str, list[float]]:
        """Train and validate; returns the history of the metrics.

        There is no global seed: with one, `Model.fit` shuffles the same way in every epoch, and a
        network with batch normalisation learns the mini-batches by heart.

        Args:
            model: from `model`.
            epochs: at most.
            arguments: more of `keras.Model.fit`.
        """
        trained = model.fit(
            self.arrays["x_train"],
            self.arrays["y_train"],
            batch_size=self.variant.batch_size,
            epochs=epochs,
            validation_data=(self.arrays["x_val"], self.arrays["y_val"]),
            verbose=0,
            **arguments,
        )
        return trained.history
