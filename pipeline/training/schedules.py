"""Learning-rate schedules."""

import keras
import tensorflow as tf

PEAK = 0.45  # of all steps, after which the rate is highest; after as many more it is low again


class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """1cycle: linear warm-up from a tenth of the maximum, back down, then to a hundredth of that.

    Source: Smith 2018, "A disciplined approach to neural network hyper-parameters", section 4.
    The maximum and the length are variables, so that one compiled program serves every run.
    """

    def __init__(self) -> None:
        self.maximum = tf.Variable(1.0, trainable=False, name="maximum_learning_rate")
        self.total_steps = tf.Variable(1.0, trainable=False, name="total_steps")

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """The learning rate at an optimizer step (counted from 0)."""
        progress = tf.cast(step, tf.float32) / self.total_steps
        rising = 0.1 + 0.9 * progress / PEAK
        falling = 1.0 - 0.9 * (progress - PEAK) / PEAK
        vanishing = 0.1 - 0.099 * (progress - 2 * PEAK) / (1 - 2 * PEAK)
        later = tf.where(progress < 2 * PEAK, falling, tf.maximum(vanishing, 0.001))
        return self.maximum * tf.where(progress < PEAK, rising, later)
