"""Nadam, as Keras computes it, in a program that is traced and compiled in less time."""

import keras
import numpy as np
import tensorflow as tf


class Nadam(keras.optimizers.Nadam):
    """Nadam (Dozat 2016) whose every step computes what is the same for all variables once.

    Keras computes it anew for every variable, in scores of operations each, and tracing them takes
    most of the time that a deep model takes to compile. The updates are equal but for rounding.
    """

    def apply(self, grads: list[tf.Tensor], trainable_variables: list | None = None) -> None:
        self._scales: tuple[tf.Tensor, tf.Tensor, tf.Tensor] | None = None
        super().apply(grads, trainable_variables)
        self._scales = None

    def update_step(
        self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor
    ) -> None:
        if self._scales is None:
            self._scales = self._step_scales(learning_rate)
        momentum_scale, gradient_scale, velocity_scale = self._scales
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index].value, self._velocities[index].value
        new_momentum = momentum + (gradient - momentum) * (1 - np.float32(self.beta_1))
        new_velocity = velocity + (gradient * gradient - velocity) * (1 - np.float32(self.beta_2))
        momentum.assign(new_momentum)
        velocity.assign(new_velocity)
        change = momentum_scale * new_momentum + gradient_scale * gradient
        variable.assign_sub(change / (tf.sqrt(new_velocity * velocity_scale) + self.epsilon))

    def _step_scales(self, learning_rate: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Factors of momentum, gradient and velocity in this step, the first two with the rate."""
        step = tf.cast(self.iterations.value + 1, tf.float32)
        decay = self.beta_1 * (1 - 0.5 * 0.96**step)
        next_decay = self.beta_1 * (1 - 0.5 * 0.96 ** (step + 1))
        product = self._u_product.value
        return (
            learning_rate * next_decay / (1 - product * next_decay),
            learning_rate * (1 - decay) / (1 - product),
            1 / (1 - np.float32(self.beta_2) ** step),
        )
