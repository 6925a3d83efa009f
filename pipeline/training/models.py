"""Keras models: raw images in, class probabilities out, everything between from the variant."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from pipeline.base import InputError, did_you_mean
from pipeline.comparisons import Variant
from pipeline.data.splits import Splits
from pipeline.training import xla


def build_model(
    variant: Variant, splits: Splits, *, seed: int, for_training: bool = False
) -> keras.Model:
    """Build the uncompiled network of a variant, from uint8 images to float32 probabilities.

    Flattening and standardisation, by the mean and variance of the training split, are its first
    layers, so that the logged model is served as it is and nobody can forget to scale the images.

    Args:
        seed: decides the initial weights and the dropout masks.
        for_training: whether the layers are those of `xla`; the weights fit both.

    Raises:
        InputError: if Keras has no such activation or initializer.
    """
    layers: Any = xla if for_training else keras.layers
    seeds = iter(np.random.SeedSequence(seed).generate_state(2 * variant.hidden_layers + 2))
    image = keras.Input(splits.image_shape, dtype="uint8", name="image")
    hidden = keras.layers.Flatten(name="flatten")(image)
    statistics = {"mean": splits.mean, "variance": splits.variance}
    hidden = keras.layers.Normalization(**statistics, name="standardize")(hidden)
    for number in range(1, variant.hidden_layers + 1):
        hidden = _hidden_layer(variant, number, hidden, layers=layers, seeds=seeds)
    last = {"activation": "softmax", "name": "probabilities"}
    initializer = keras.initializers.GlorotUniform(int(next(seeds)))
    outputs = layers.Dense(splits.n_classes, kernel_initializer=initializer, **last)(hidden)
    return keras.Model(image, outputs, name=variant.name)


def _hidden_layer(
    variant: Variant, number: int, hidden: Any, *, layers: Any, seeds: Iterator[np.uint32]
) -> Any:
    """The output of a hidden layer and what follows it, for that of the one before."""
    described = {"class_name": variant.kernel_initializer, "config": {"seed": int(next(seeds))}}
    kind = "a random Keras initializer, such as he_normal or lecun_normal"
    with _refused_if_unknown(variant, "kernel_initializer", kind, dir(keras.initializers)):
        initializer = keras.initializers.get(described)
    dense = layers.Dense(variant.units, kernel_initializer=initializer, name=f"dense_{number}")
    hidden = dense(hidden)
    if variant.batch_normalization:
        hidden = keras.layers.BatchNormalization(name=f"batch_normalization_{number}")(hidden)
    kind = "a Keras activation, such as elu, selu, relu, swish, gelu or tanh"
    with _refused_if_unknown(variant, "activation", kind, dir(keras.activations)):
        hidden = layers.Activation(variant.activation, name=f"activation_{number}")(hidden)
    if variant.dropout and (variant.dropout_layers == "all" or number == variant.hidden_layers):
        dropout = {"alpha": layers.AlphaDropout, "standard": layers.Dropout}[variant.dropout]
        seed = int(next(seeds) >> 1)  # Keras reads the seed, a uint32, through an int32.
        hidden = dropout(variant.dropout_rate, seed=seed, name=f"dropout_{number}")(hidden)
    return hidden


@contextmanager
def _refused_if_unknown(variant: Variant, setting: str, kind: str, names: list[str]) -> Iterator:
    """Turn what Keras says of a name that it does not know, or cannot use here, into a refusal."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        name = getattr(variant, setting)
        known = [one for one in names if not one.startswith("_")]
        meant = did_you_mean(name, known) if name not in known else ""
        raise InputError(
            f"{setting} of variant '{variant.name}'",
            expected=kind,
            received=repr(name),
            action=meant or "Correct it where the variant is declared.",
        ) from error


def summary(model: keras.Model) -> str:
    """The layers with their output shapes and parameters, a line each, and the sums.

    Keras cuts its own off at the width of the terminal that a process has, or at 80 columns.
    """
    table = [("Layer", "Type", "Output shape", "Parameters")]
    table += [
        (one.name, type(one).__name__, str(one.output.shape), f"{one.count_params():,}")
        for one in model.layers
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join([*map(str.ljust, row[:3], widths), row[3].rjust(widths[3])]) for row in table
    ]
    sizes = {"trainable": model.trainable_weights, "not trainable": model.non_trainable_weights}
    counts = {name: sum(math.prod(one.shape) for one in of) for name, of in sizes.items()}
    sums = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    total = f"{model.name}: {model.count_params():,} parameters ({sums})"
    return "\n".join([*lines, "", total, ""])


def activation_statistics(model: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the activations of every hidden layer.

    A network self-normalises when they stay near 0 and 1 through all layers (Klambauer et al.
    2017, "Self-Normalizing Neural Networks"). Both are float64, of shape (hidden_layers,).
    """
    layers = [layer for layer in model.layers if layer.name.startswith("activation_")]
    activations = keras.Model(model.input, [layer.output for layer in layers])
    # In batches: as float32, and copied by every layer, all images at once take 50 MB.
    batches = [activations(images[i : i + 500], training=False) for i in range(0, len(images), 500)]
    outputs = [np.concatenate(layer).astype(np.float64) for layer in zip(*batches, strict=True)]
    return np.array([one.mean() for one in outputs]), np.array([one.std() for one in outputs])
