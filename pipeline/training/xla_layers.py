"""Layers of the training model that compute as stock ones do, as XLA on a CPU does it fastest.

They have the weights of the stock layers, so that a model of those takes what these have learned.
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


class Dense(keras.layers.Dense):
    """A dense layer whose kernel's gradient is a product that XLA has a fast program for.

    XLA multiplies by a transposed left side with another library, which first copies both sides:
    507 microseconds for the gradient of a 3072 x 100 kernel, where transposing the inputs and then
    multiplying takes 300. Gradients need XLA.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        del training
        outputs = _multiply(inputs, tf.convert_to_tensor(self.kernel)) + self.bias
        return self.activation(outputs)


@tf.custom_gradient
def _multiply(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Without the barrier XLA would make one product of the transposition and the next one.
        transposed = xla.optimization_barrier(tf.transpose(inputs))[0]
        return tf.matmul(upstream, kernel, transpose_b=True), tf.matmul(transposed, upstream)

    return tf.matmul(inputs, kernel), gradients


class Activation(keras.layers.Activation):
    """An activation, ELU and SELU by exp, which XLA computes in half the time of expm1.

    Args:
        activation: its Keras name.
        named: as for `keras.layers.Activation`.
    """

    def __init__(self, activation: str, **named: Any):
        super().__init__(_BY_EXP.get(activation, activation), **named)


@tf.custom_gradient
def elu(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """ELU (Clevert et al. 2016), but for the rounding of exp to what floats near 1 can tell."""
    outputs = tf.where(inputs > 0, inputs, tf.exp(tf.minimum(inputs, 0.0)) - 1.0)
    return outputs, lambda upstream: upstream * tf.where(outputs > 0, 1.0, outputs + 1.0)


@tf.custom_gradient
def selu(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    """SELU (Klambauer et al. 2017, section 2), rounded as `elu`."""
    limit = SELU_SCALE * SELU_ALPHA
    below = limit * (tf.exp(tf.minimum(inputs, 0.0)) - 1.0)
    outputs = tf.where(inputs > 0, SELU_SCALE * inputs, below)
    return outputs, lambda upstream: upstream * tf.where(outputs > 0, SELU_SCALE, outputs + limit)


_BY_EXP: Mapping[str, Callable[[tf.Tensor], tf.Tensor]] = {"elu": elu, "selu": selu}


class AlphaDropout(keras.layers.AlphaDropout):
    """Alpha dropout (Klambauer et al. 2017, section 3) with masks that XLA draws fast on a CPU.

    Keras leaves the generator to TensorFlow, whose choice takes 2.3 ms for a mask of 32 x 100
    inside an XLA program; Threefry takes 0.01 ms.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self.rate == 0:
            return inputs
        kept = tf.cast(_uniform(self, inputs) >= self.rate, inputs.dtype)
        dropped_value = -SELU_ALPHA * SELU_SCALE  # the limit of SELU at -infinity
        scale = ((1 - self.rate) * (1 + self.rate * dropped_value**2)) ** -0.5
        return scale * (inputs * kept + dropped_value * (1 - kept - self.rate))


class Dropout(keras.layers.Dropout):
    """Dropout with masks that XLA draws fast on a CPU."""

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self.rate == 0:
            return inputs
        kept = tf.cast(_uniform(self, inputs) >= self.rate, inputs.dtype)
        return inputs * kept / (1 - self.rate)


def _uniform(layer: keras.layers.Layer, inputs: tf.Tensor) -> tf.Tensor:
    seed = tf.cast(layer.seed_generator.next(), tf.int32)
    return tf.random.stateless_uniform(tf.shape(inputs), seed=seed, alg="threefry")
