"""Layers taken from another network: what they have learnt, and their outputs, computed once."""

import keras
import numpy as np
import tensorflow as tf

from pipeline.base import InputError
from pipeline.comparisons import Variant
from pipeline.data.fingerprints import fingerprint_of
from pipeline.training.blocks import evaluation_batches

OUTPUTS = ("outputs", "probabilities")  # layers
Weights = dict[str, list[np.ndarray]]  # by the name of a layer


def reused_weights(variant: Variant, model: keras.Model, source: keras.Model | None) -> Weights:
    """The weights that a variant's model takes from a source.

    They are those of the lowest hidden layers, of what comes before them, and of the output where
    that is taken, too.

    Raises:
        InputError: if the source lacks one of these layers, or has it in another shape.
    """
    theirs = {layer.name: layer.get_weights() for layer in (source.layers if source else ())}
    found: Weights = {}
    for name in (one.name for one in model.layers if one.weights and _is_reused(one.name, variant)):
        found[name] = theirs.get(name, [])
        received = [array.shape for array in found[name]]
        expected = [tuple(one.shape) for one in model.get_layer(name).weights]
        if received != expected:
            raise InputError(
                f"{name} in what variant '{variant.name}' starts from",
                expected=f"a layer with weights of shapes {expected}",
                received=f"shapes {received}" if name in theirs else "no such layer",
                action="Start from a variant with these layers, trained on images of this size.",
            )
    return found


def _is_reused(layer: str, variant: Variant) -> bool:
    """Whether a variant takes what one of its layers has learnt from another network."""
    if not variant.reused_layers or layer in OUTPUTS:
        return variant.reused_output
    number = layer.rpartition("_")[2]
    return not number.isdecimal() or int(number) <= variant.reused_layers


def weights_fingerprint(weights: Weights) -> str:
    """The fingerprint of the weights of some layers."""
    return fingerprint_of(
        {f"{name} {place}": one for name, of in weights.items() for place, one in enumerate(of)}
    )


class FrozenPart:
    """The frozen layers of a model, from images to what the others are trained on.

    Args:
        model: the whole network; its weights are those at the time of a call.
        frozen_layers: how many of its hidden layers are frozen, the lowest.
    """

    def __init__(self, model: keras.Model, frozen_layers: int):
        # A normalisation stands before the activation, or after it.
        names = [f"{kind}_{frozen_layers}" for kind in ("activation", "batch_normalization")]
        self.output = [layer for layer in model.layers if layer.name in names][-1].output
        part = keras.Model(model.input, self.output)
        self._compute = tf.function(lambda images: part(images, training=False), jit_compile=True)

    def outputs(self, images: np.ndarray) -> np.ndarray:
        """The activations of the highest frozen layer, float32 of shape (n, units)."""
        batches = evaluation_batches(images, np.zeros(len(images)))
        return np.concatenate([self._compute(tf.constant(one)).numpy() for one, _ in batches])
