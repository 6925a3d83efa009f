"""Compiled training: `Model.fit` with its callbacks, many mini-batches per XLA program.

On small dense networks, dispatching operations costs more time than the arithmetic. Here the
data set yields blocks of stacked mini-batches, and one XLA program trains on all batches of a
block. Search and training share this module, so they judge a model by the same rule.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from pipeline import data
from pipeline.checkpoints import Checkpoint, Checkpoints
from pipeline.errors import DivergenceError
from pipeline.models import activation_statistics, build_model
from pipeline.variants import Variant

OnEpoch = Callable[[int, Mapping[str, float]], None]


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
        rising = 0.1 + 0.9 * progress / 0.45
        falling = 1.0 - 0.9 * (progress - 0.45) / 0.45
        vanishing = 0.1 - 0.099 * (progress - 0.9) / 0.1
        fraction = tf.where(
            progress < 0.45, rising, tf.where(progress < 0.9, falling, tf.maximum(vanishing, 0.001))
        )
        return self.maximum * fraction

    def get_config(self) -> dict:
        """The schedule has no configuration: its variables are set for every run."""
        return {}


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


class Blocks(keras.utils.PyDataset):
    """The training split in shuffled blocks of mini-batches.

    An epoch is a whole number of equal blocks of full mini-batches. No image is left out: the last
    mini-batches are filled up with the first images of the epoch's own permutation (45,000 images
    at batch size 32 are 21 blocks of 67 mini-batches; 24 images are seen twice).

    Args:
        images: uint8 of shape (n, height, width, channels); may be memory-mapped.
        labels: int32 of shape (n,).
        batch_size: images per mini-batch.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, *, batch_size: int):
        super().__init__()
        self.images = images
        self.labels = np.asarray(labels, np.int32)
        self.batches_per_block, self.n_blocks = block_shape(len(images), batch_size)
        self.batch_size = batch_size
        self.set_epoch(seed=0, epoch=1)

    def set_epoch(self, *, seed: int, epoch: int) -> None:
        """Draw the permutation of an epoch from the run's seed and the epoch's number."""
        permutation = np.random.default_rng([seed, epoch]).permutation(len(self.images))
        shape = (self.n_blocks, self.batches_per_block, self.batch_size)
        self.order = np.resize(permutation, shape)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps (mini-batches) per epoch."""
        return self.n_blocks * self.batches_per_block

    def __len__(self) -> int:
        return self.n_blocks

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        order = self.order[index]
        return self.images[order], self.labels[order]


def block_shape(n_images: int, batch_size: int, largest_block: int = 128) -> tuple[int, int]:
    """Mini-batches per block and blocks per epoch, with the fewest images seen twice.

    Args:
        n_images: images in the training split.
        batch_size: images per mini-batch.
        largest_block: most mini-batches in a block; blocks hold at least half as many where the
            data set is large enough.
    """
    batches = math.ceil(n_images / batch_size)
    if batches <= largest_block:
        return batches, 1
    sizes = range(largest_block, largest_block // 2 - 1, -1)
    size = min(sizes, key=lambda size: -batches % size)
    return size, math.ceil(batches / size)


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a training run came to.

    Args:
        history: one row of metrics per epoch, from epoch 1.
        best_epoch: the epoch with the lowest ``val_loss``, from 1.
        judged_epoch: the epoch whose weights the model holds: the best one under early stopping,
            the last one at the end of a schedule.
        stopped_early: whether patience ran out before the epoch cap.
    """

    history: list[dict[str, float]]
    best_epoch: int
    judged_epoch: int
    stopped_early: bool


class Trainer:
    """One compiled model of a variant on a data set, reset for every run.

    Compiling takes longer than an epoch, so a study's trials, and the runs of a worker with the
    same variant, share it. A run on a used trainer equals a run on a fresh one.

    Args:
        variant: the architecture and how it is trained.
        prepared: the data set.
    """

    def __init__(self, variant: Variant, prepared: data.PreparedData):
        started = time.perf_counter()
        self.variant = variant
        self.prepared = prepared
        self.blocks = Blocks(prepared.x_train, prepared.y_train, batch_size=variant.batch_size)
        self.model = self._build(seed=0)
        self.one_cycle = OneCycle() if variant.schedule == "one_cycle" else None
        self.optimizer = self._build_optimizer()
        self.block_model = BlockModel(self.model.input, self.model.output)
        self.block_model.compile(
            optimizer=self.optimizer,
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
            jit_compile=True,
        )
        self.optimizer.build(self.block_model.trainable_variables)
        self._initial_optimizer_state = [variable.numpy() for variable in self.optimizer.variables]
        self._compile()
        self.compile_seconds = time.perf_counter() - started

    def _build(self, *, seed: int, for_training: bool = True) -> keras.Model:
        return build_model(
            self.variant,
            image_shape=self.prepared.image_shape,
            n_classes=self.prepared.n_classes,
            mean=self.prepared.mean,
            variance=self.prepared.variance,
            seed=seed,
            for_training=for_training,
        )

    def _build_optimizer(self) -> keras.optimizers.Optimizer:
        learning_rate = self.one_cycle or 0.001
        if self.variant.optimizer == "sgd":
            return keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True)
        return keras.optimizers.Nadam(learning_rate)

    def _compile(self) -> None:
        """Trace and compile on one block, so that no epoch's time holds compilation."""
        warm_up = Blocks(
            self.prepared.x_train, self.prepared.y_train, batch_size=self.variant.batch_size
        )
        warm_up.n_blocks = 1
        self.block_model.fit(warm_up, verbose=0, shuffle=False, validation_data=self._validation())

    def _validation(self) -> keras.utils.PyDataset:
        return EvaluationBatches(self.prepared.x_val, self.prepared.y_val)

    def reset(self, *, learning_rate: float, epochs: int, seed: int) -> None:
        """Make the trainer as new: initial weights of a seed, fresh optimizer, this rate.

        Args:
            learning_rate: constant rate, or the maximum of the 1cycle schedule.
            epochs: length of the 1cycle schedule.
            seed: decides the initial weights, the permutations and the dropout masks.
        """
        self.model.set_weights(self._build(seed=seed).get_weights())
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
            epochs: most epochs trained.
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
        recorder = _EpochRecorder(self, seed=seed)
        stopping = _EarlyStopping(patience)
        after_epoch = _AfterEpoch(self, recorder, stopping, on_epoch, checkpoints)
        after_epoch.go_on_from_checkpoint()
        if not stopping.patience_ran_out:
            self.block_model.fit(
                self.blocks,
                initial_epoch=len(recorder.history),
                epochs=epochs,
                verbose=0,
                shuffle=False,
                validation_data=self._validation(),
                callbacks=[recorder, stopping, after_epoch],
            )
        if stopping.best_weights is not None:
            self.model.set_weights(stopping.best_weights)
        history = recorder.history
        best_epoch = 1 + int(np.argmin([metrics["val_loss"] for metrics in history]))
        return Fit(
            history=history,
            best_epoch=best_epoch,
            judged_epoch=len(history) if patience is None else best_epoch,
            stopped_early=len(history) < epochs,
        )

    def state(self) -> dict[str, np.ndarray]:
        """Weights and optimizer state by name; dropout and shuffling follow from the epoch."""
        weights, optimizer = self.model.get_weights(), self.optimizer.variables
        return {
            **{f"weight_{index}": value for index, value in enumerate(weights)},
            **{f"optimizer_{index}": value.numpy() for index, value in enumerate(optimizer)},
        }

    def set_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set what `state` has returned."""
        count = len(self.model.get_weights())
        self.model.set_weights([arrays[f"weight_{index}"] for index in range(count)])
        for index, variable in enumerate(self.optimizer.variables):
            variable.assign(arrays[f"optimizer_{index}"])

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities, float32 of shape (n, classes), for uint8 images."""
        batches = EvaluationBatches(images, np.zeros(len(images)))
        return self.block_model.predict(batches, verbose=0)

    def activation_statistics(
        self, *, seed: int | None = None, images: int = 1000
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the activations by hidden layer.

        Args:
            seed: of the untrained weights to look at; None: the trained ones.
            images: training images looked at.
        """
        model = self.model if seed is None else self._build(seed=seed)
        return activation_statistics(model, np.asarray(self.prepared.x_train[:images]))

    def trained_model(self) -> keras.Model:
        """The model with its present weights in layers of Keras alone, to log and to serve."""
        model = self._build(seed=0, for_training=False)
        model.set_weights(self.model.get_weights())
        return model

    def current_learning_rate(self) -> float:
        """The rate the next optimizer step would take."""
        if self.one_cycle:
            return float(self.one_cycle(self.optimizer.iterations.value))
        return float(self.optimizer.learning_rate.numpy())


class EvaluationBatches(keras.utils.PyDataset):
    """A split in order, in as few nearly equal batches as fit the batch size, for evaluation.

    Args:
        images: uint8 of shape (n, height, width, channels); may be memory-mapped.
        labels: int32 of shape (n,).
        batch_size: most images per batch.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, *, batch_size: int = 1000):
        super().__init__()
        self.images = images
        self.labels = np.asarray(labels, np.int32)
        self.batch_size = math.ceil(len(images) / math.ceil(len(images) / batch_size))

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        batch = slice(index * self.batch_size, (index + 1) * self.batch_size)
        return np.asarray(self.images[batch]), self.labels[batch]


class _EpochRecorder(keras.callbacks.Callback):
    """Seeds every epoch, times it, records its metrics and stops a diverging run at once."""

    def __init__(self, trainer: Trainer, *, seed: int):
        super().__init__()
        self.trainer = trainer
        self.seed = seed
        self.history: list[dict[str, float]] = []

    def on_epoch_begin(self, epoch: int, _logs: dict | None = None) -> None:
        self.started = time.perf_counter()
        self.trainer.blocks.set_epoch(seed=self.seed, epoch=epoch + 1)
        seed_dropout(self.trainer.model, seed=self.seed, epoch=epoch + 1)

    def on_train_batch_end(self, _batch: int, logs: dict | None = None) -> None:
        self._check_finite("loss", (logs or {}).get("loss", 0.0))

    def on_epoch_end(self, _epoch: int, logs: dict | None = None) -> None:
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        self._check_finite("val_loss", metrics["val_loss"])
        epoch_seconds = time.perf_counter() - self.started
        before = self.history[-1]["elapsed_seconds"] if self.history else 0.0
        metrics |= {
            "learning_rate": self.trainer.current_learning_rate(),
            "epoch_seconds": epoch_seconds,
            "elapsed_seconds": before + epoch_seconds,
        }
        self.history.append(metrics)

    def _check_finite(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            epoch = len(self.history) + 1
            last = self.history[-1]["val_loss"] if self.history else None
            raise DivergenceError(
                f"{name} became {value} in epoch {epoch}"
                + (f"; the last finite val_loss was {last:.4f}" if last is not None else "")
                + ". The learning rate is probably too high."
            )


class _EarlyStopping(keras.callbacks.EarlyStopping):
    """Early stopping whose state goes into a checkpoint; it keeps the best weights for `fit`.

    Args:
        patience: epochs without a lower ``val_loss``; None: never stop.
    """

    def __init__(self, patience: int | None):
        super().__init__(patience=patience or 0, restore_best_weights=True)
        self.enabled = patience is not None
        self.best_weights: list[np.ndarray] | None = None
        self.wait = 0
        self.best: float | None = None
        self.best_epoch = 0

    @property
    def patience_ran_out(self) -> bool:
        return self.enabled and self.best is not None and self.wait >= self.patience

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Keep what a checkpoint has set, where Keras would begin anew."""

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if self.enabled:
            super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Leave the best weights to `fit`, which also restores them where nothing was trained."""


class _AfterEpoch(keras.callbacks.Callback):
    """Writes a checkpoint after every epoch, and only then tells the epoch to the outside."""

    def __init__(
        self,
        trainer: Trainer,
        recorder: _EpochRecorder,
        stopping: _EarlyStopping,
        on_epoch: OnEpoch,
        checkpoints: Checkpoints | None,
    ):
        super().__init__()
        self.trainer = trainer
        self.recorder = recorder
        self.stopping = stopping
        self.on_epoch = on_epoch
        self.checkpoints = checkpoints

    def go_on_from_checkpoint(self) -> None:
        """Put everything into the state of the newest checkpoint, if there is one."""
        found = self.checkpoints.newest() if self.checkpoints else None
        if found is None:
            return
        self.trainer.set_state(found.arrays)
        self.recorder.history = [dict(metrics) for metrics in found.state["history"]]
        self.stopping.wait = found.state["wait"]
        self.stopping.best = found.state["best"]
        self.stopping.best_epoch = found.state["best_epoch"]
        best = [name for name in found.arrays if name.startswith("best_")]
        if best:
            self.stopping.best_weights = [found.arrays[f"best_{i}"] for i in range(len(best))]
        for epoch, metrics in enumerate(self.recorder.history, start=1):
            self.on_epoch(epoch, metrics)

    def on_epoch_end(self, epoch: int, _logs: dict | None = None) -> None:
        if self.checkpoints:
            self.checkpoints.save(self._checkpoint(epoch + 1))
        self.on_epoch(epoch + 1, self.recorder.history[-1])

    def _checkpoint(self, epoch: int) -> Checkpoint:
        stopping = self.stopping
        best = {f"best_{i}": value for i, value in enumerate(stopping.best_weights or [])}
        return Checkpoint(
            epoch=epoch,
            arrays={**self.trainer.state(), **best},
            state={
                "history": self.recorder.history,
                "wait": stopping.wait,
                "best": stopping.best,
                "best_epoch": stopping.best_epoch,
            },
        )


def seed_dropout(model: keras.Model, *, seed: int, epoch: int) -> None:
    """Set the state of every dropout layer's seed generator from a run's seed and an epoch."""
    generators = [
        layer.seed_generator for layer in model.layers if hasattr(layer, "seed_generator")
    ]
    states = np.random.SeedSequence([seed, epoch]).generate_state(2 * len(generators))
    for generator, state in zip(generators, states.reshape(-1, 2) >> 1, strict=True):
        generator.state.assign(state)


@lru_cache(maxsize=1)
def shared_trainer(variant: Variant, directory: Path) -> Trainer:
    """The compiled trainer of a variant on prepared data, kept for the next run that needs it.

    Args:
        variant: the architecture and how it is trained.
        directory: where `data.save` put the prepared arrays.
    """
    return Trainer(variant, data.open_prepared(directory))
