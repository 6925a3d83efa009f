"""Keras models: raw images in, class probabilities out, everything between from the variant."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import keras
import numpy as np

from pipeline.base import InputError, did_you_mean
from pipeline.comparisons import Variant
from pipeline.training import xla_layers

_EXPECTED = {
    "activation": "a Keras activation, such as elu, selu, relu, swish, gelu or tanh",
    "kernel_initializer": "a random Keras initializer, such as he_normal or lecun_normal",
}


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
        mean, variance: float32 of shape (height * width * channels,), of the training split.
        seed: decides the initial weights and the dropout masks.
        for_training: whether the layers are those of `xla_layers`; the weights fit both.

    Returns:
        A functional model from uint8 images of shape (batch, *image_shape) to float32
        probabilities of shape (batch, n_classes).

    Raises:
        InputError: if Keras has no such activation or initializer.
    """
    layers: Any = xla_layers if for_training else keras.layers
    seeds = iter(np.random.SeedSequence(seed).generate_state(2 * variant.hidden_layers + 2))
    image = keras.Input(tuple(image_shape), dtype="uint8", name="image")
    hidden = keras.layers.Flatten(name="flatten")(image)
    hidden = keras.layers.Normalization(mean=mean, variance=variance, name="standardize")(hidden)
    for number in range(1, variant.hidden_layers + 1):
        hidden = _hidden_layer(variant, number, hidden, layers=layers, seeds=seeds)
    initializer = keras.initializers.GlorotUniform(int(next(seeds)))
    probabilities = layers.Dense(
        n_classes, activation="softmax", kernel_initializer=initializer, name="probabilities"
    )(hidden)
    return keras.Model(image, probabilities, name=variant.name)


def _hidden_layer(
    variant: Variant, number: int, hidden: Any, *, layers: Any, seeds: Iterator[np.uint32]
) -> Any:
    """The output of a hidden layer and what follows it, for that of the one before."""
    hidden = layers.Dense(
        variant.units,
        kernel_initializer=_initializer(variant, next(seeds)),
        name=f"dense_{number}",
    )(hidden)
    if variant.batch_normalization:
        hidden = keras.layers.BatchNormalization(name=f"batch_normalization_{number}")(hidden)
    with _refused_if_unknown(variant, "activation", keras.activations):
        hidden = layers.Activation(variant.activation, name=f"activation_{number}")(hidden)
    is_last = number == variant.hidden_layers
    if variant.dropout and (variant.dropout_layers == "all" or is_last):
        kind = {"alpha": layers.AlphaDropout, "standard": layers.Dropout}[variant.dropout]
        # Keras reads the seed, a uint32, through an int32.
        seed = int(next(seeds) >> 1)
        hidden = kind(variant.dropout_rate, seed=seed, name=f"dropout_{number}")(hidden)
    return hidden


def _initializer(variant: Variant, seed: np.uint32) -> keras.initializers.Initializer:
    described = {"class_name": variant.kernel_initializer, "config": {"seed": int(seed)}}
    with _refused_if_unknown(variant, "kernel_initializer", keras.initializers):
        return keras.initializers.get(described)


@contextmanager
def _refused_if_unknown(variant: Variant, setting: str, module: ModuleType) -> Iterator[None]:
    """Turn what Keras says of a name that it does not know, or cannot use here, into a refusal."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        name = getattr(variant, setting)
        known = [one for one in dir(module) if not one.startswith("_")]
        raise InputError(
            f"{setting} of variant '{variant.name}'",
            expected=_EXPECTED[setting],
            received=repr(name),
            action=(did_you_mean(name, known) if name not in known else "")
            or "Correct it where the variant is declared.",
        ) from error


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
