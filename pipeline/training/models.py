"""Keras models: raw images in, class probabilities out, everything between from the variant."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from pipeline.comparisons.variants import Variant
from pipeline.training import xla_layers


def build_model(
    variant: Variant,
    *,
    image_shape: Sequence[int],
    n_classes: int,
    mean: np.ndarray,
    variance: np.ndarray,
    seed: int,
    for_training: bool = False,
) -> keras.Model:
    """Build the uncompiled network of a variant.

    Flattening and standardisation are its first layers, so that the logged model is served as it
    is and nobody can forget to scale the images.

    Args:
        variant: the architecture.
        image_shape: height, width and channels of an image.
        n_classes: number of classes.
        mean: float32 of shape (height * width * channels,), of the training split.
        variance: the same, of the training split.
        seed: decides the initial weights and the dropout masks.
        for_training: whether the layers are those of `xla_layers`; the weights fit both.

    Returns:
        A functional model from uint8 images of shape (batch, *image_shape) to float32
        probabilities of shape (batch, n_classes).
    """
    layers: Any = xla_layers if for_training else keras.layers
    dropouts = {"alpha": layers.AlphaDropout, "standard": layers.Dropout}
    seeds = iter(np.random.SeedSequence(seed).generate_state(2 * variant.hidden_layers + 2))
    image = keras.Input(tuple(image_shape), dtype="uint8", name="image")
    hidden = keras.layers.Flatten(name="flatten")(image)
    hidden = keras.layers.Normalization(mean=mean, variance=variance, name="standardize")(hidden)
    for layer in range(1, variant.hidden_layers + 1):
        hidden = layers.Dense(
            variant.units,
            kernel_initializer=_initializer(variant.kernel_initializer, next(seeds)),
            name=f"dense_{layer}",
        )(hidden)
        if variant.batch_normalization:
            hidden = keras.layers.BatchNormalization(name=f"batch_normalization_{layer}")(hidden)
        hidden = layers.Activation(variant.activation, name=f"activation_{layer}")(hidden)
        is_last = layer == variant.hidden_layers
        if variant.dropout and (variant.dropout_layers == "all" or is_last):
            # Keras reads the seed, a uint32, through an int32.
            hidden = dropouts[variant.dropout](
                variant.dropout_rate, seed=int(next(seeds) >> 1), name=f"dropout_{layer}"
            )(hidden)
    probabilities = layers.Dense(
        n_classes,
        activation="softmax",
        kernel_initializer=_initializer("glorot_uniform", next(seeds)),
        name="probabilities",
    )(hidden)
    return keras.Model(image, probabilities, name=variant.name)


def _initializer(name: str, seed: np.uint32) -> keras.initializers.Initializer:
    return keras.initializers.get({"class_name": name, "config": {"seed": int(seed)}})


def activation_statistics(model: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the activations of every hidden layer.

    A network self-normalises when they stay near 0 and 1 through all layers (Klambauer et al.
    2017, "Self-Normalizing Neural Networks").

    Args:
        model: a model from `build_model`.
        images: uint8 of shape (n, height, width, channels).

    Returns:
        Two float64 arrays of shape (hidden_layers,).
    """
    layers = [layer for layer in model.layers if layer.name.startswith("activation_")]
    activations = keras.Model(model.input, [layer.output for layer in layers])
    # In batches: as float32, and copied by every layer, all images at once take 50 MB.
    batches = [activations(images[i : i + 500], training=False) for i in range(0, len(images), 500)]
    outputs = [np.concatenate(layer).astype(np.float64) for layer in zip(*batches, strict=True)]
    return (
        np.array([output.mean() for output in outputs]),
        np.array([output.std() for output in outputs]),
    )
