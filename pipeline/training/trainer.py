"""Compiled training: `Model.fit` with its callbacks, many mini-batches per XLA program.

On small dense networks, dispatching operations costs more time than the arithmetic. Search and
training share this module, so they judge a model by the same rule.
"""

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, cached_property, lru_cache
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.base import DivergenceError
from pipeline.comparisons import Variant
from pipeline.data.splits import Splits
from pipeline.training.augmentation import augmentation_of
from pipeline.training.averaging import Averaging
from pipeline.training.block_model import BlockModel
from pipeline.training.blocks import Batch, Blocks, Feed, evaluation_batches
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.fit import DECIMALS, EachEpoch, Fit, OnEpoch
from pipeline.training.layer_statistics import HiddenLayers, Statistics
from pipeline.training.layers import shares
from pipeline.training.models import build_model, trained_output
from pipeline.training.optimizers import loss_of, metrics_of, optimizer_of
from pipeline.training.pruning import GradualPruning, make_prunable, prune
from pipeline.training.runtime import settle_memory
from pipeline.training.schedules import OneCycle
from pipeline.training.transfer import FrozenPart, Weights, reused_weights, weights_fingerprint


class Trainer:
    """One compiled model of a variant on a data set, reset for every run.

    Compiling takes longer than an epoch, so a study's trials, and the runs of a worker with the
    same variant, share it. A run on a used trainer equals a run on a fresh one.
    """

    def __init__(self, variant: Variant, splits: Splits):
        started = time.perf_counter()
        self.variant = variant
        self.splits = splits
        self.model = build_model(variant, splits, seed=0, for_training=True)
        if variant.pruned:
            make_prunable(self.model)
        self.reused: Weights = {}  # of the last training
        self.x_train, self.x_val = splits.x_train, splits.x_val  # what is trained and validated on
        if variant.cached:
            self.frozen_part = FrozenPart(self.model, variant.frozen_layers)
            self.x_train, self.x_val = map(self.inputs, (splits.x_train, splits.x_val))
        self.blocks = Blocks(
            self.x_train,
            splits.y_train,
            batch_size=variant.batch_size,
            pairs=splits.pairs,
            augmentation=augmentation_of(variant),
        )
        self.one_cycle = OneCycle() if variant.schedule == "one_cycle" else None
        self.optimizer = optimizer_of(variant, self.one_cycle or 0.001)
        self.block_model = self._build_block_model()
        loss, metrics = loss_of(variant, splits.n_classes), metrics_of(variant)
        self.block_model.compile(self.optimizer, loss, metrics=metrics, jit_compile=True)
        # All variables are there before tracing: where that creates one, TensorFlow traces twice.
        self.optimizer.build(self.block_model.trainable_variables)
        labels, probabilities = np.zeros(1, np.int32), np.ones((1, splits.n_classes), np.float32)
        self.block_model.compute_metrics(None, labels, probabilities)
        # In a graph: operation by operation they take as long as an epoch of 500 cached images.
        for method in ("reset_metrics", "get_metrics_result"):
            setattr(self.block_model, method, tf.function(getattr(self.block_model, method)))
        self.block_model.reset_metrics()
        self._initial_state = [variable.numpy() for variable in self.optimizer.variables]
        # A study's trials begin from the same weights; building a model takes a quarter second.
        self._initial_weights = lru_cache(maxsize=1)(
            lambda seed: build_model(variant, splits, seed=seed, for_training=True).get_weights()
        )
        # Traces and compiles on one block, so that no epoch's time holds compilation.
        self._train(Feed([next(iter(self.blocks))]))
        self.averaging = None
        if self.optimizer.use_ema:
            self.averaging = Averaging(self.block_model, self.blocks)
            self.averaging.show()
        settle_memory()
        self.compile_seconds = round(time.perf_counter() - started, DECIMALS)

    def _build_block_model(self) -> BlockModel:
        first = self.frozen_part.output if self.variant.cached else self.model.input
        model = BlockModel(first, trained_output(self.model))
        model.mirrors = self.variant.mirrored_prediction
        return model

    def _fill_cache(self) -> float:
        """Compute the outputs of the frozen layers, if they are cached; the seconds it took."""
        started = time.perf_counter()
        if self.variant.cached:
            self.x_train[:] = self.inputs(self.splits.x_train)
            self.x_val[:] = self.inputs(self.splits.x_val)
        return time.perf_counter() - started

    def inputs(self, images: np.ndarray) -> np.ndarray:
        """What `block_model` reads: the images, or what cached frozen layers make of them."""
        return self.frozen_part.outputs(images) if self.variant.cached else images

    def _train(self, blocks: Feed, *, validated_on: str = "validation", **named: Any) -> None:
        images, labels = self.x_val, self.splits.y_val
        if validated_on == "test":
            images, labels = self.inputs(self.splits.x_test), self.splits.y_test
        validation = Feed(evaluation_batches(images, labels))
        # The blocks are shuffled.
        self.block_model.fit(blocks, validation_data=validation, shuffle=False, verbose=0, **named)

    def reset(
        self, *, learning_rate: float, epochs: int, seed: int, source: keras.Model | None = None
    ) -> None:
        """Make the trainer as new for a `fit`: initial weights, fresh optimizer, this rate."""
        self.reused = reused_weights(self.variant, self.model, source)
        self._set_initial_weights(seed)
        for variable, value in zip(self.optimizer.variables, self._initial_state, strict=True):
            variable.assign(value)
        if self.one_cycle:
            self.one_cycle.maximum.assign(learning_rate)
            self.one_cycle.total_steps.assign(epochs * self.blocks.steps_per_epoch)
        else:
            self.optimizer.learning_rate.assign(learning_rate)

    def _set_initial_weights(self, seed: int) -> None:
        self.model.set_weights(self._initial_weights(seed))
        for name, weights in self.reused.items():
            self.model.get_layer(name).set_weights(weights)
        if self.variant.pruned:
            prune(self.model, self.variant.pruned if self.variant.pruning == "at_start" else 0)

    def fit_as_declared(self, **named: Any) -> Fit:
        """A `fit` that lasts and ends as the variant says."""
        settings = ("epochs", "patience", "restore_best_weights", "may_diverge", "validated_on")
        return self.fit(**{one: getattr(self.variant, one) for one in settings}, **named)

    def fit(
        self,
        *,
        learning_rate: float,
        epochs: int,
        patience: int | None,
        seed: int,
        on_epoch: OnEpoch,
        checkpoints: Checkpoints | None = None,
        source: keras.Model | None = None,
        restore_best_weights: bool = True,
        may_diverge: bool = False,
        validated_on: str = "validation",
    ) -> Fit:
        """Train from initial weights; the model then holds those that it is judged by, see `Fit`.

        With checkpoints, a run that was cut off goes on after its last finished epoch and comes to
        the same result, to the last digit, as one that was not. The learning rate is constant, or
        the maximum of 1cycle scheduling, whose length the epochs are; the seed decides the initial
        weights, the permutations and the dropout masks; `on_epoch` is told of every epoch, of those
        before a checkpoint too. Layers that the variant reuses begin as they are in the source,
        which stays as it is.

        Raises:
            DivergenceError: if a loss is not finite, unless it may diverge.
            InputError: if the source has no such layers, or others.
            OSError: if a checkpoint cannot be written.
        """
        self.reset(learning_rate=learning_rate, epochs=epochs, seed=seed, source=source)
        fit = Fit(
            patience=patience,
            restore_best_weights=restore_best_weights,
            may_diverge=may_diverge,
            first_judged=self.variant.first_judged(epochs),
            training=self._training(learning_rate, epochs, seed),
            best_weights=self.block_model.get_weights() if may_diverge else None,
        )
        if checkpoints and (newest := checkpoints.newest()):
            fit.go_on_from(newest, self.block_model)
        for epoch, metrics in enumerate(fit.history, start=1):
            on_epoch(epoch, metrics)
        spent = self._fill_cache()  # also of a training that is over: it is judged by that
        if not fit.stopped_early and len(fit.history) < epochs:
            each = EachEpoch(fit, self.blocks, seed, on_epoch, checkpoints, spent, self.averaging)
            callbacks = [*self._pruning(fit), each]
            self._train_epochs(fit, epochs=epochs, validated_on=validated_on, callbacks=callbacks)
            self.splits.unload()
        self._restore(fit)
        return fit

    def _restore(self, fit: Fit) -> None:
        """Let the model have the weights that it is judged by, where those are not its last."""
        others = fit.diverged or self.averaging or fit.best_epoch < len(fit.history)
        if others and fit.best_weights is not None:
            self.block_model.set_weights(fit.best_weights)

    def _training(self, learning_rate: float, epochs: int, seed: int) -> dict[str, Any]:
        """All that decides a training's epochs, by which a checkpoint is known to be of it."""
        training = {
            "variant": self.variant.content("search"),
            "data": self.splits.fingerprint,
            "learning_rate": learning_rate,
            "schedule_epochs": epochs if self.one_cycle else None,
            "pruning_epochs": self.variant.first_judged(epochs),
            "seed": seed,
        }
        return training | ({"source": weights_fingerprint(self.reused)} if self.reused else {})

    def _train_epochs(self, fit: Fit, **named: Any) -> None:
        try:
            self._train(Feed(self.blocks), initial_epoch=len(fit.history), **named)
        except DivergenceError as error:
            if not fit.may_diverge:
                raise
            fit.diverged = str(error)

    def _pruning(self, fit: Fit) -> list[keras.callbacks.Callback]:
        if self.variant.pruning != "gradual" or not self.variant.pruned:
            return []
        share, n_blocks = self.variant.pruned, self.blocks.n_blocks
        return [GradualPruning(share, epochs=fit.first_judged, blocks_per_epoch=n_blocks)]

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities, float32 of shape (n, classes), for uint8 images."""
        batches = evaluation_batches(self.inputs(images), np.zeros(len(images)))
        outputs = self.block_model.predict(Feed(batches), verbose=0)
        if trained_output(self.model) is self.model.output:
            return outputs
        return shares(outputs).numpy()

    def training_accuracy(self, seed: int) -> float:
        """The accuracy of the present model on the training images.

        On pairs it is that on those which a training with this seed draws for its first epoch.
        """
        batches: Iterable[Batch] = evaluation_batches(self.x_train, self.splits.y_train)
        if self.splits.pairs:
            self.blocks.set_epoch(seed=seed, epoch=1)
            batches = ((x.reshape(-1, *x.shape[2:]), y.ravel()) for x, y in self.blocks)
        right = [self.block_model.predict_on_batch(x).argmax(axis=1) == y for x, y in batches]
        self.splits.unload()
        # The last blocks are filled up with pairs that were counted before.
        return float(np.concatenate(right)[: len(self.x_train)].mean())

    def layer_statistics(self, seed: int | None = None) -> Statistics:
        """As in `HiddenLayers`, of the training images, or of pairs of the validation pairs.

        With the present weights; or, given a seed, with the initial weights of a training by it.
        """
        of, splits = "val" if self.splits.pairs else "train", self.splits
        images, labels = getattr(splits, f"x_{of}"), getattr(splits, f"y_{of}")
        with nullcontext() if seed is None else self._initially(seed):
            found = self._hidden_layers.statistics(images, labels)
        splits.unload()
        return found

    def distance_from_initial_weights(self, seed: int) -> float:
        """L2, of all trainable weights, from those that a training with this seed begins with."""
        present = [one.numpy() for one in self.model.trainable_weights]
        with self._initially(seed):
            pairs = zip(self.model.trainable_weights, present, strict=True)
            return math.hypot(*(float(np.linalg.norm(one.numpy() - now)) for one, now in pairs))

    @cached_property
    def _hidden_layers(self) -> HiddenLayers:
        return HiddenLayers(self.model)

    @contextmanager
    def _initially(self, seed: int) -> Iterator[None]:
        """Let the model have the initial weights of a training for a while."""
        present = self.model.get_weights()
        self._set_initial_weights(seed)
        try:
            yield
        finally:
            self.model.set_weights(present)

    def trained_model(self) -> keras.Model:
        """One model, given its present weights in layers of Keras alone, to log and to serve."""
        self._keras_model.set_weights(self.model.get_weights())
        return self._keras_model

    @cached_property
    def _keras_model(self) -> keras.Model:
        return build_model(self.variant, self.splits, seed=0)


# Of every variant that a worker meets, for good: TensorFlow frees hardly any of the memory of a
# compiled model that is let go of (of five, 40 of 670 MB), and one compiled again takes its own.
@cache
def shared_trainer(variant: Variant, splits: Splits) -> Trainer:
    """The compiled trainer of a variant on a data set, as `open_splits` gives it."""
    return Trainer(variant, splits)
