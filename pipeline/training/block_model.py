"""A model that trains on many mini-batches in one XLA program.

On small dense networks, dispatching operations costs more time than the arithmetic.
"""

from typing import Any

import keras
import tensorflow as tf

from pipeline.training.blocks import LARGEST_BLOCK
from pipeline.training.models import mean_of_both, with_mirror_images


class BlockModel(keras.Model):
    """A functional model that trains on blocks: K stacked mini-batches in one XLA program."""

    mirrors = False  # whether it predicts the mean of an image and its mirror image

    def __init__(self, *given: Any, **named: Any):
        super().__init__(*given, **named)
        self.step_losses = tf.Variable(tf.zeros(LARGEST_BLOCK), trainable=False)  # of a block

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        if training or not self.mirrors:
            return super().call(inputs, training=training, mask=mask)
        return mean_of_both(super().call(with_mirror_images(inputs), training=training, mask=mask))

    def train_step(self, block: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Run the stock training step on every mini-batch of images and labels of a block."""
        images, labels = block
        train_on_batch = super().train_step

        def step(index: tf.Tensor, losses: tf.Tensor) -> list[tf.Tensor]:
            train_on_batch((images[index], labels[index]))
            return [index + 1, tf.tensor_scatter_nd_update(losses, [[index]], [self._step_loss])]

        n_batches, first = tf.shape(labels)[0], [tf.constant(0), tf.zeros(LARGEST_BLOCK)]
        _, losses = tf.while_loop(
            lambda index, _: index < n_batches, step, first, parallel_iterations=1
        )
        self.step_losses.assign(losses)
        return self.get_metrics_result()

    def compute_loss(self, *given: Any, **named: Any) -> tf.Tensor:
        """What a mini-batch's step minimises, kept for `train_step`."""
        self._step_loss = super().compute_loss(*given, **named)
        return self._step_loss
