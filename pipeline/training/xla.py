"""Layers and an optimizer that compute as those of Keras do, as XLA on a CPU does it fastest.

The layers have the weights of the stock ones: a model of those takes what these have learned.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


class Dense(keras.layers.Dense):
    """A dense layer whose kernel's gradient is a product that XLA has a fast program for.

    XLA multiplies by a transposed left side with another library, which first copies both sides:
    507 microseconds for the gradient of a 3072 x 100 kernel, where transposing before takes 300.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        del training
        rows = tf.reshape(inputs, (-1, inputs.shape[-1]))  # of pairs: both images
        outputs = _multiply(rows, tf.convert_to_tensor(self.kernel)) + self.bias
        return self.activation(tf.reshape(outputs, (-1, *inputs.shape[1:-1], self.units)))


class Conv2D(keras.layers.Conv2D):
    """A convolution, not padded and with strides of 1, as a product of kernel and patches.

    In a loop XLA has no fast program for the convolution of the kernel's gradient: 24 ms for 32
    filters of 3 x 3 on 32 images of CIFAR-10, where the product takes 2.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        rows, columns = self.kernel_size
        height, width = inputs.shape[1] - rows + 1, inputs.shape[2] - columns + 1
        shifted = [
            inputs[:, row : row + height, column : column + width]
            for row in range(rows)
            for column in range(columns)
        ]
        kernel = tf.reshape(tf.convert_to_tensor(self.kernel), (-1, self.filters))
        patches = tf.reshape(tf.concat(shifted, axis=-1), (-1, kernel.shape[0]))
        outputs = _multiply(patches, kernel) + self.bias
        return self.activation(tf.reshape(outputs, (-1, height, width, self.filters)))


@tf.custom_gradient
def _multiply(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
    def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        transposed = tf.transpose(inputs)
        if not tf.executing_eagerly():  # only XLA has it
            # Without the barrier both would become one product again.
            transposed = xla.optimization_barrier(transposed)[0]
        return tf.matmul(upstream, kernel, transpose_b=True), tf.matmul(transposed, upstream)

    return tf.matmul(inputs, kernel), gradients


class Activation(keras.layers.Activation):
    """An activation by its Keras name: ELU and SELU by exp, which XLA computes in half the time."""

    def __init__(self, activation: str, **named: Any):
        super().__init__(_BY_EXP.get(activation, activation), **named)


def _by_exp(scale: float, limit: float) -> Callable[[tf.Tensor], tf.Tensor]:
    """`scale` times x above 0; below as by expm1, but for the rounding of exp that is near 1."""

    @tf.custom_gradient
    def activation(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        below = limit * (tf.exp(tf.minimum(inputs, 0.0)) - 1.0)
        outputs = tf.where(inputs > 0, scale * inputs, below)
        return outputs, lambda upstream: upstream * tf.where(outputs > 0, scale, outputs + limit)

    return activation


# Clevert et al. 2016; Klambauer et al. 2017, section 2.
_BY_EXP = {"elu": _by_exp(1.0, 1.0), "selu": _by_exp(SELU_SCALE, SELU_SCALE * SELU_ALPHA)}


class AlphaDropout(keras.layers.AlphaDropout):
    """Alpha dropout (Klambauer et al. 2017, section 3) with masks that XLA draws fast on a CPU."""

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self.rate == 0:
            return inputs
        kept = _kept(self, inputs)
        dropped_value = -SELU_ALPHA * SELU_SCALE  # the limit of SELU at -infinity
        scale = ((1 - self.rate) * (1 + self.rate * dropped_value**2)) ** -0.5
        return scale * (inputs * kept + dropped_value * (1 - kept - self.rate))


class Dropout(keras.layers.Dropout):
    """Dropout with masks that XLA draws fast on a CPU."""

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training or self.rate == 0:
            return inputs
        return inputs * _kept(self, inputs) / (1 - self.rate)


def _kept(layer: keras.layers.Layer, inputs: tf.Tensor) -> tf.Tensor:
    """A mask: 1 for what is kept, 0 for what is dropped.

    Keras leaves the generator to TensorFlow, whose choice takes 2.3 ms for a mask of 32 x 100
    inside an XLA program; Threefry takes 0.01 ms.
    """
    seed = tf.cast(layer.seed_generator.next(), tf.int32)
    uniform = tf.random.stateless_uniform(tf.shape(inputs), seed=seed, alg="threefry")
    return tf.cast(uniform >= layer.rate, inputs.dtype)


class Nadam(keras.optimizers.Nadam):
    """Nadam (Dozat 2016) whose every step computes what is the same for all variables once.

    Keras computes it anew for every variable, in scores of operations each, and tracing them takes
    most of the time that a deep model takes to compile. The updates are equal but for rounding.
    """

    def apply(self, grads: list[tf.Tensor], trainable_variables: list | None = None) -> None:
        # Of momentum, gradient and velocity in this step, the first two with the learning rate.
        self._scales: tuple[tf.Tensor, ...] = ()
        super().apply(grads, trainable_variables)
        self._scales = ()

    def update_step(self, gradient: tf.Tensor, variable: Any, learning_rate: tf.Tensor) -> None:
        if not self._scales:
            step = tf.cast(self.iterations + 1, tf.float32)
            decay, next_decay = (self.beta_1 * (1 - 0.5 * 0.96**at) for at in (step, step + 1))
            product = self._u_product.value
            self._scales = (
                learning_rate * next_decay / (1 - product * next_decay),
                learning_rate * (1 - decay) / (1 - product),
                1 / (1 - np.float32(self.beta_2) ** step),
            )
        of_momentum, of_gradient, of_velocity = self._scales
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index].value, self._velocities[index].value
        new_momentum = momentum + (gradient - momentum) * (1 - np.float32(self.beta_1))
        new_velocity = velocity + (gradient * gradient - velocity) * (1 - np.float32(self.beta_2))
        momentum.assign(new_momentum)
        velocity.assign(new_velocity)
        change = of_momentum * new_momentum + of_gradient * gradient
        variable.assign_sub(change / (tf.sqrt(new_velocity * of_velocity) + self.epsilon))
