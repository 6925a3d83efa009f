"""What the hidden layers of a network make of images: whether signals, gradients and units live."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

SAMPLE = 1000  # images that all but dead units are found by
Statistics = dict[str, list[float]]  # by name, those of each hidden layer


class HiddenLayers:
    """The hidden layers of a model, of the first arm; in inference mode."""

    def __init__(self, model: keras.Model):
        outputs = [layer.output for layer in _layers(model, "activation_")]
        self.dense = _layers(model, "dense_")
        self.activations = keras.Model(model.input, [*outputs, model.output])
        # In a graph, which one epoch's images take a third of the time to go through.
        signature = [tf.TensorSpec(model.input.shape, tf.uint8)]
        self._alive = tf.function(self._alive_in, input_signature=signature)

    def statistics(self, images: np.ndarray, labels: np.ndarray) -> Statistics:
        """Statistics of every layer with the present weights.

        - ``mean``, ``standard_deviation`` of the activations of the first 1000 images: a network
          self-normalises when they stay near 0 and 1 (Klambauer et al. 2017).
        - ``distinct_units``: how many different units there are: those that are equal for all of
          these images, to the last digit, are one.
        - ``rank`` of these activations, as a matrix in single precision.
        - ``gradient_norm``: L2, of the gradient of their mean cross-entropy by the kernel.
        - ``dead_units``: the share of units that are 0 for every image.
        """
        kernels = [layer.kernel.value for layer in self.dense]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(kernels)
            *hidden, probabilities = self.activations(np.asarray(images[:SAMPLE]), training=False)
            losses = keras.losses.sparse_categorical_crossentropy(labels[:SAMPLE], probabilities)
            loss = tf.reduce_mean(losses)
        # Of pairs, of both images.
        found = [tf.reshape(one, (-1, one.shape[-1])).numpy() for one in hidden]
        statistics = {
            "mean": [one.mean(dtype=np.float64) for one in found],
            "standard_deviation": [_deviation(one) for one in found],
            "dead_units": [1 - one.mean() for one in self._alive_units(images)],
            "distinct_units": [_distinct(one) for one in found],
            "rank": [_rank(one) for one in found],
            "gradient_norm": [tf.norm(one) for one in tape.gradient(loss, kernels)],
        }
        return {name: [float(value) for value in values] for name, values in statistics.items()}

    def _alive_units(self, images: np.ndarray) -> np.ndarray:
        """Which units are not 0 for some image, (layers, units)."""
        alive = np.zeros((len(self.dense), self.dense[0].units), bool)
        for start in range(0, len(images), SAMPLE):
            alive |= self._alive(np.asarray(images[start : start + SAMPLE])).numpy()
            if alive.all():
                break
        return alive

    def _alive_in(self, images: tf.Tensor) -> tf.Tensor:
        *hidden, _ = self.activations(images, training=False)
        axes = [list(range(len(one.shape) - 1)) for one in hidden]
        return tf.stack(
            [tf.reduce_any(one != 0, axis=axis) for one, axis in zip(hidden, axes, strict=True)]
        )


def of_network(layers: Mapping[str, list[float]]) -> dict[str, float]:
    """The metrics of a network, from the statistics of its layers."""
    return {
        "dead_units": float(np.mean(layers["dead_units"])),
        "distinct_units": min(layers["distinct_units"]),
        "activation_rank": min(layers["rank"]),
    }


def _layers(model: keras.Model, prefix: str) -> list[Any]:
    return [layer for layer in model.layers if layer.name.startswith(prefix)]


def _deviation(activations: np.ndarray) -> float:
    with np.errstate(invalid="ignore"):  # of weights so large that activations are infinite
        return float(activations.std(dtype=np.float64))


def _distinct(activations: np.ndarray) -> int:
    units = np.ascontiguousarray(activations.T) + 0.0  # which makes 0 of -0
    return len(set(map(bytes, units)))


def _rank(activations: np.ndarray) -> int:
    """As NumPy's `matrix_rank`, which takes 5 ms, and with two threads on busy cores 500."""
    if not np.isfinite(activations).all():
        return 0
    values = tf.cast(activations, tf.float64)  # so that squares are as precise
    squares = np.linalg.eigvalsh(tf.matmul(values, values, transpose_a=True).numpy())
    negligible = max(activations.shape) * np.finfo(activations.dtype).eps
    return int((squares > squares.max() * negligible**2).sum())
