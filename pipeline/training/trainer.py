"""Compiled training: `Model.fit` with its callbacks, many mini-batches per XLA program.

On small dense networks, dispatching operations costs more time than the arithmetic. Here the
data set yields blocks of stacked mini-batches, and one XLA program trains on all batches of a
block. Search and training share this module, so they judge a model by the same rule.
"""

import ctypes
import time
from contextlib import suppress
from functools import cached_property, lru_cache
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from pipeline.comparisons import Variant
from pipeline.data.splits import Splits, open_splits
from pipeline.training.blocks import Blocks, EvaluationBatches
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.fit import EachEpoch, Fit, OnEpoch
from pipeline.training.models import activation_statistics, build_model
from pipeline.training.optimizers import Nadam
from pipeline.training.schedules import OneCycle

M_TOP_PAD, KEPT_BYTES = -2, 32 * 2**20  # of glibc's malloc.h; a block of CIFAR-10 is 6.6 MB


class BlockModel(keras.Model):
    """A functional model that trains on blocks: K stacked mini-batches in one XLA program."""

    def train_step(self, block: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Run the stock training step on every mini-batch of a block.

        Args:
            block: uint8 images of shape (K, batch_size, height, width, channels) and int32 labels
                of shape (K, batch_size).
        """
        images, labels = block
        train_on_batch = super().train_step

        def step(index: tf.Tensor) -> list[tf.Tensor]:
            train_on_batch((images[index], labels[index]))
            return [index + 1]

        tf.while_loop(
            lambda index: index < tf.shape(labels)[0], step, [tf.constant(0)], parallel_iterations=1
        )
        return self.get_metrics_result()


class Trainer:
    """One compiled model of a variant on a data set, reset for every run.

    Compiling takes longer than an epoch, so a study's trials, and the runs of a worker with the
    same variant, share it. A run on a used trainer equals a run on a fresh one.

    Args:
        variant: the architecture and how it is trained.
        splits: the data set.
    """

    def __init__(self, variant: Variant, splits: Splits):
        started = time.perf_counter()
        self.variant = variant
        self.splits = splits
        self.blocks = Blocks(splits.x_train, splits.y_train, batch_size=variant.batch_size)
        self.model = self._build(seed=0)
        self.one_cycle = OneCycle() if variant.schedule == "one_cycle" else None
        self.optimizer = self._build_optimizer()
        self.block_model = self._build_block_model()
        self.block_model.compile(
            optimizer=self.optimizer,
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=True,
        )
        self.optimizer.build(self.block_model.trainable_variables)
        self._build_metrics()
        self._initial_optimizer_state = [variable.numpy() for variable in self.optimizer.variables]
        # A study's trials begin from the same weights; building a model takes a quarter second.
        self._initial_weights = lru_cache(maxsize=1)(
            lambda seed: self._build(seed=seed).get_weights()
        )
        self._compile()
        self.compile_seconds = time.perf_counter() - started

    def _build(self, *, seed: int, for_training: bool = True) -> keras.Model:
        return build_model(
            self.variant,
            image_shape=self.splits.image_shape,
            n_classes=self.splits.n_classes,
            mean=self.splits.mean,
            variance=self.splits.variance,
            seed=seed,
            for_training=for_training,
        )

    def _build_block_model(self) -> BlockModel:
        return BlockModel(self.model.input, self.model.output)

    def _build_optimizer(self) -> keras.optimizers.Optimizer:
        learning_rate = self.one_cycle or 0.001
        if self.variant.optimizer == "sgd":
            return keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True)
        return Nadam(learning_rate)

    def _build_metrics(self) -> None:
        """Create the metrics' variables; where tracing creates one, TensorFlow traces twice."""
        labels, probabilities = np.zeros(1, np.int32), np.ones((1, self.splits.n_classes))
        self.block_model.compute_metrics(None, labels, probabilities.astype(np.float32))
        self.block_model.reset_metrics()

    def _compile(self) -> None:
        """Trace and compile on one block, so that no epoch's time holds compilation."""
        warm_up = Blocks(
            self.splits.x_train, self.splits.y_train, batch_size=self.variant.batch_size
        )
        warm_up.n_blocks = 1
        self.block_model.fit(
            warm_up.as_dataset(), verbose=0, shuffle=False, validation_data=self._validation()
        )
        _settle_memory()

    def _validation(self) -> tf.data.Dataset:
        return EvaluationBatches(self.splits.x_val, self.splits.y_val).as_dataset()

    def reset(self, *, learning_rate: float, epochs: int, seed: int) -> None:
        """Make the trainer as new for a `fit`: initial weights, fresh optimizer, this rate."""
        self.model.set_weights(self._initial_weights(seed))
        for variable, value in zip(
            self.optimizer.variables, self._initial_optimizer_state, strict=True
        ):
            variable.assign(value)
        if self.one_cycle:
            self.one_cycle.maximum.assign(learning_rate)
            self.one_cycle.total_steps.assign(epochs * self.blocks.steps_per_epoch)
        else:
            self.optimizer.learning_rate.assign(learning_rate)

    def fit(
        self,
        *,
        learning_rate: float,
        epochs: int,
        patience: int | None,
        seed: int,
        on_epoch: OnEpoch,
        checkpoints: Checkpoints | None = None,
    ) -> Fit:
        """Train from initial weights; the model then holds the weights of the judged epoch.

        With checkpoints, a run that was cut off goes on after its last finished epoch and comes to
        the same result, to the last digit, as one that was not.

        Args:
            learning_rate: constant rate, or the maximum of the 1cycle schedule.
            epochs: most epochs trained; the length of the 1cycle schedule.
            patience: epochs without a lower ``val_loss`` before stopping; None: never stop early
                and keep the last epoch's weights.
            seed: decides the initial weights, the permutations and the dropout masks.
            on_epoch: called after every epoch with its number (from 1) and its metrics; for the
                epochs before a checkpoint too.
            checkpoints: where the run's checkpoints are kept; None: it keeps none.

        Raises:
            DivergenceError: if a loss is not finite.
            OSError: if a checkpoint cannot be written.
        """
        self.reset(learning_rate=learning_rate, epochs=epochs, seed=seed)
        fit = Fit(patience=patience)
        if checkpoints and (newest := checkpoints.newest()):
            fit.go_on_from(newest, self.block_model)
        for epoch, metrics in enumerate(fit.history, start=1):
            on_epoch(epoch, metrics)
        if not fit.stopped_early:
            self._train(EachEpoch(fit, self.blocks, seed, on_epoch, checkpoints), epochs)
        if fit.best_weights is not None:
            self.model.set_weights(fit.best_weights)
        return fit

    def _train(self, each: EachEpoch, epochs: int) -> None:
        self.block_model.fit(
            self.blocks.as_dataset(),
            initial_epoch=len(each.fit.history),
            epochs=epochs,
            verbose=0,
            shuffle=False,  # the blocks are shuffled
            validation_data=self._validation(),
            callbacks=[each],
        )
        self.splits.unload()

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities, float32 of shape (n, classes), for uint8 images."""
        batches = EvaluationBatches(images, np.zeros(len(images)))
        return self.block_model.predict(batches.as_dataset(), verbose=0)

    def activation_statistics(
        self, *, seed: int | None = None, images: int = 1000
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the activations by hidden layer.

        Args:
            seed: of the initial weights to look at; None: the present ones.
            images: training images looked at.
        """
        looked_at = np.asarray(self.splits.x_train[:images])
        if seed is None:
            return activation_statistics(self.model, looked_at)
        present = self.model.get_weights()
        self.model.set_weights(self._initial_weights(seed))
        try:
            return activation_statistics(self.model, looked_at)
        finally:
            self.model.set_weights(present)

    def trained_model(self) -> keras.Model:
        """The model with its present weights in layers of Keras alone, to log and to serve.

        It is one model: the next call gives it the weights of then.
        """
        self._keras_model.set_weights(self.model.get_weights())
        return self._keras_model

    @cached_property
    def _keras_model(self) -> keras.Model:
        return self._build(seed=0, for_training=False)


def _settle_memory() -> None:
    """Give back what compiling has freed (70 MB), and keep what blocks of images free from here on.

    Without, glibc would return every block's memory to the system and get it anew, page by page:
    0.12 ms of a step.
    """
    with suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
        libc.mallopt(M_TOP_PAD, KEPT_BYTES)


# Of every variant that a worker meets in turn: TensorFlow frees hardly any of the memory of a
# compiled model that is let go of (of five, 40 of 670 MB).
@lru_cache(maxsize=8)
def shared_trainer(variant: Variant, directory: Path) -> Trainer:
    """The compiled trainer of a variant on a data set, kept for the next run that needs it.

    Args:
        variant: the architecture and how it is trained.
        directory: where `data.splits.save` put the data set.
    """
    return Trainer(variant, open_splits(directory))
