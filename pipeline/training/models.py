"""Keras models: raw images in, class probabilities out, everything between from the variant."""

import math
from typing import Any

import keras
import numpy as np

from pipeline.comparisons import Variant
from pipeline.data.splits import Splits, scale_of_pixels
from pipeline.training import xla
from pipeline.training.layers import Parts


def build_model(
    variant: Variant, splits: Splits, *, seed: int, for_training: bool = False
) -> keras.Model:
    """Build the uncompiled network of a variant, from uint8 images to float32 probabilities.

    Flattening and standardisation, by the mean and variance of the training split, are its first
    layers, so that the logged model is served as it is and nobody can forget to scale the images.
    A network of two arms takes pairs of images, (n, 2, height, width, channels).

    Args:
        seed: decides the initial weights and the dropout masks.
        for_training: whether the layers are those of `xla`, and images are looked at as they are
            where the network predicts by their mirror images, too; the weights fit both.

    Raises:
        InputError: if Keras has no such activation, initializer or regularizer, or it cannot be
            used here.
    """
    seeds = iter(np.random.SeedSequence(seed).generate_state(4 * variant.hidden_layers + 3))
    layers: Any = xla if for_training else keras.layers
    parts = Parts(variant=variant, layers=layers, seeds=seeds)
    image = seen = keras.Input(splits.image_shape, dtype="uint8", name="image")
    mirrors = variant.mirrored_prediction and not for_training
    if mirrors:
        seen = with_mirror_images(image)
    statistics: Any = {"mean": splits.mean, "variance": splits.variance}
    if not variant.standardized:
        pixels = np.zeros((1, len(splits.mean)), np.uint8)
        statistics = scale_of_pixels(pixels, standardized=False)
    standardize = keras.layers.Normalization(**statistics, name="standardize")
    if variant.arms == "one":
        features = standardize(keras.layers.Flatten(name="flatten")(seen))
        hidden = parts.arm(parts.convolution(features, splits.image_shape))
        outputs = parts.probabilities(hidden, n_classes=splits.n_classes)
    else:
        pair = standardize(keras.layers.Reshape((2, -1), name="flatten")(seen))
        outputs = parts.same_or_different(parts.joined_arms(pair))
    return keras.Model(image, mean_of_both(outputs) if mirrors else outputs, name=variant.name)


def with_mirror_images(images: Any) -> Any:
    """Images and below them, as further ones, their mirror images: 2n of n."""
    return keras.ops.concatenate([images, keras.ops.flip(images, axis=-2)], axis=0)


def mean_of_both(probabilities: Any) -> Any:
    """The means of the probabilities of images and of their mirror images: n of 2n."""
    both = keras.ops.reshape(probabilities, (2, -1, probabilities.shape[-1]))
    return keras.ops.mean(both, axis=0)


def trained_output(model: keras.Model) -> Any:
    """What training computes the loss of: the outputs before they are divided by their sum."""
    outputs = [layer.output for layer in model.layers if layer.name == "outputs"]
    return outputs[0] if outputs else model.output


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
