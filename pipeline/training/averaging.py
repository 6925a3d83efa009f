"""Averaged weights: judged in place of those that training goes on from."""

import math

import keras
import numpy as np
import tensorflow as tf

from pipeline.training.blocks import Blocks

N_IMAGES = 5000  # by which the statistics of averaged weights are told


class Averaging:
    """Lets a model have the averages that an optimizer with `use_ema` keeps of its weights.

    Batch normalisation's moving statistics are those of the weights, not of their averages: on
    CIFAR-10, with a momentum of 0.999, these had an accuracy of 43% by them, and of 55% by their
    own. So they are computed anew, as the mean over mini-batches, from training images as they are.
    """

    def __init__(self, model: keras.Model, blocks: Blocks):
        self._model = model
        self._blocks = blocks
        self._weights: list[np.ndarray] = []  # all those of the model, while it has others
        kind = keras.layers.BatchNormalization
        self._normalizations = [
            one for one in model.layers if isinstance(one, kind) and one.trainable
        ]
        if self._normalizations:
            self._inputs = keras.Model(model.input, [one.input for one in self._normalizations])

    def show(self) -> None:
        """Put the averages in the place of the weights."""
        self._weights = self._model.get_weights()
        self._model.optimizer.finalize_variable_values(self._model.trainable_variables)
        for variable in self._model.trainable_variables:
            if variable.constraint:  # of pruned weights, averages would keep what they were
                variable.assign(variable.constraint(variable))
        if self._normalizations:
            count = math.ceil(N_IMAGES / self._blocks.batch_size)
            images = self._blocks.images.read(self._blocks.order[0][:count])
            statistics = self._statistics(tf.constant(images))
            for layer, (mean, variance) in zip(self._normalizations, statistics, strict=True):
                layer.moving_mean.assign(mean)
                layer.moving_variance.assign(variance)

    def hide(self) -> None:
        """Put the weights back."""
        self._model.set_weights(self._weights)

    @tf.function(jit_compile=True)
    def _statistics(self, batches: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
        """Mean and variance of what every layer of batch normalisation is given in training."""

        def of_batch(images: tf.Tensor) -> list[tuple[tf.Tensor, tf.Tensor]]:
            given = keras.tree.flatten(self._inputs(images, training=True))
            return [tf.nn.moments(one, list(range(one.shape.rank - 1))) for one in given]

        kinds = [(tf.float32, tf.float32)] * len(self._normalizations)
        found = tf.map_fn(of_batch, batches, fn_output_signature=kinds, parallel_iterations=1)
        return [tuple(tf.reduce_mean(one, axis=0) for one in pair) for pair in found]
