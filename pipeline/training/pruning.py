"""Magnitude pruning: weights that are set to 0 and stay 0, and how sparse a network is."""

import zlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

SMALL = 0.001  # a weight of a smaller magnitude counts as small


class Kept(keras.constraints.Constraint):
    """Keeps weights at 0 where a mask is 0.

    The mask is a variable, so that one compiled program serves every run and every share.
    """

    def __init__(self, shape: tuple[int, ...]):
        self.mask = tf.Variable(tf.ones(shape), trainable=False, name="mask")

    def __call__(self, weights: tf.Tensor) -> tf.Tensor:
        return weights * self.mask


def make_prunable(model: keras.Model) -> None:
    """Let the kernels of a model keep zeros, which none has yet; before it is compiled."""
    for kernel in kernels(model):
        kernel.constraint = Kept(kernel.shape)


def kernels(model: keras.Model) -> list[keras.Variable]:
    """The kernels of all layers, the output's too; biases are none."""
    return [layer.kernel for layer in model.layers if hasattr(layer, "kernel")]


def masks(model: keras.Model) -> list[tf.Variable]:
    """What keeps zeros in the kernels of a model that is prunable; else there are none."""
    constraints = (kernel.constraint for kernel in kernels(model))
    return [one.mask for one in constraints if isinstance(one, Kept)]


def prune(model: keras.Model, share: float) -> None:
    """Set a share of every kernel's weights to 0, those of the smallest magnitude, and keep it so.

    Of a share that has grown, the weights that were 0 before are among them.
    """
    for kernel, mask in zip(kernels(model), masks(model), strict=True):
        weights = kernel.numpy()
        number = round(share * weights.size)
        kept = np.ones(weights.size, np.float32)
        if number:
            order = np.argpartition(np.abs(weights), number - 1, axis=None)
            kept[order[:number]] = 0
        mask.assign(kept.reshape(weights.shape))
        kernel.assign(weights * mask.numpy())


class GradualPruning(keras.callbacks.Callback):
    """Prunes more after every block, at first fast, to a share at the end of some epochs.

    Source: Zhu and Gupta 2017, "To prune, or not to prune" (arXiv 1710.01878), section 3.
    """

    def __init__(self, share: float, *, epochs: int, blocks_per_epoch: int):
        super().__init__()
        self.share, self.blocks_per_epoch = share, blocks_per_epoch
        self.total = epochs * blocks_per_epoch
        self.before = 0  # blocks of the epochs before this one

    def on_epoch_begin(self, epoch: int, *_: Any) -> None:
        self.before = epoch * self.blocks_per_epoch

    def on_train_batch_end(self, batch: int, **_: Any) -> None:
        done = self.before + batch + 1
        if done <= self.total:
            prune(self.model, self.share * (1 - (1 - done / self.total) ** 3))


def sparsity(model: keras.Model) -> dict[str, float]:
    """The shares of all kernels' weights that are 0 and that are small, and their size by zlib."""
    weights = np.concatenate([kernel.numpy().ravel() for kernel in kernels(model)])
    return {
        "zero_weights": float((weights == 0).mean()),
        "small_weights": float((np.abs(weights) < SMALL).mean()),
        "compressed_megabytes": len(zlib.compress(weights.tobytes())) / 1e6,
    }
