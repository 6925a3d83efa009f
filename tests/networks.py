"""Small networks to log, and logging them as training runs do."""

from typing import Any

import mlflow
import numpy as np

from pipeline.uncertainty import logged_models

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 2), dtype=np.uint8)


def build(*middle: Any, seed: int = 1) -> Any:
    """A small network from raw images to three probabilities, with some layers in its middle."""
    import keras

    keras.utils.set_random_seed(seed)
    image = keras.Input(IMAGES.shape[1:], dtype="uint8", name="image")
    hidden = keras.layers.Rescaling(1 / 255)(keras.layers.Flatten()(image))
    for layer in (keras.layers.Dense(8, activation="selu"), *middle):
        hidden = layer(hidden)
    return keras.Model(image, keras.layers.Dense(3, activation="softmax")(hidden))


def with_dropout() -> Any:
    import keras

    return build(keras.layers.BatchNormalization(), keras.layers.AlphaDropout(0.5, seed=1))


def log(model: Any) -> str:
    """Log a model in a run of its own; its address."""
    with mlflow.start_run() as run:
        logged_models.log(model, example=IMAGES[:2], run_id=run.info.run_id)
    return f"runs:/{run.info.run_id}/{model.name}"
