"""What a training has come to: its history, by which it stops early, and its checkpoint."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from pipeline.base import DivergenceError
from pipeline.base.rounding import single_precision, three_digits
from pipeline.training.averaging import Averaging
from pipeline.training.blocks import Blocks
from pipeline.training.checkpoints import Checkpoint, Checkpoints
from pipeline.training.optimizers import PLAIN
from pipeline.training.pruning import masks

# By what Keras calls them. The MLflow UI has what is logged first at the top, and compares runs by
# it before anything is chosen.
METRICS = {"val_accuracy": "val_accuracy", "val_loss": "val_loss"}
METRICS |= {"train_accuracy": "accuracy", "train_loss": "loss"}
DECIMALS = 5  # of seconds: an epoch of few images takes a millisecond


@dataclass(kw_only=True)
class Fit:
    """How far a training has come, and at its end what it came to.

    With the model's variables it is all that a training needs to go on: early stopping follows
    from the history, dropout and shuffling from the epoch.

    Args:
        patience: epochs without a lower ``val_loss`` before it stops; None: it never stops early,
            and is judged by the last epoch's weights.
        restore_best_weights: whether one with patience is judged by those of its lowest
            ``val_loss``; else also by the last.
        may_diverge: whether a loss that is not finite ends it, instead of being an error. It is
            then judged by its lowest ``val_loss`` before, or by its initial weights.
        first_judged: the first epoch that may be the best one.
        training: what decides its epochs.
        history: the metrics of epoch 1, 2, ...
        best_weights: what it may be judged by instead of the last weights; None: it is not.
        first_losses: of the mini-batches of the first epoch, as they are minimised.
        diverged: with what it diverged, and when; empty: it did not.
    """

    patience: int | None
    restore_best_weights: bool = True
    may_diverge: bool = False
    first_judged: int = 1
    training: Mapping[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    best_weights: list[np.ndarray] | None = None
    first_losses: list[float] = field(default_factory=list)
    diverged: str = ""

    @property
    def lowest_epoch(self) -> int:
        """The first epoch with the lowest ``val_loss`` of those that may be the best, from 1."""
        first = min(self.first_judged, len(self.history))
        return first + int(np.argmin([of["val_loss"] for of in self.history[first - 1 :]]))

    @property
    def best_epoch(self) -> int:
        """The epoch whose weights the model holds at the end; 0: those that it began with."""
        is_lowest = self.history and (self._restored or self.diverged)
        return self.lowest_epoch if is_lowest else len(self.history)

    @property
    def _restored(self) -> bool:
        """Whether it is judged by its lowest epoch, however it ends."""
        return self.patience is not None and self.restore_best_weights

    @property
    def stopped_early(self) -> bool:
        """Whether patience has run out, be it in the last epoch."""
        if self.patience is None or not self.history:
            return False
        return len(self.history) - self.lowest_epoch >= self.patience

    def add(self, metrics: dict[str, float], model: keras.Model) -> None:
        """Add an epoch's metrics, and keep the model's weights if it is the best one so far."""
        self.history.append(metrics)
        may_be_judged = self._restored or self.may_diverge
        is_lowest = may_be_judged and self.lowest_epoch == len(self.history)
        # What averages have in the place of weights would not be there at the end.
        is_last_average = self.best_epoch == len(self.history) and model.optimizer.use_ema
        if is_lowest or is_last_average:
            self.best_weights = model.get_weights()

    def checkpoint(self, model: keras.Model) -> Checkpoint:
        """All that the training of a model needs to go on."""
        values = [one.numpy() for one in _variables(model)]
        kinds = {"variable": values, "best": self.best_weights or []}
        arrays = {f"{kind} {i:06}": one for kind, of in kinds.items() for i, one in enumerate(of)}
        arrays["first losses"] = np.array(self.first_losses, np.float32)
        state = {"training": self.training, "history": self.history}
        return Checkpoint(len(self.history), arrays, state)

    def go_on_from(self, checkpoint: Checkpoint, model: keras.Model) -> None:
        """Put fit and model where a checkpoint left them; one of another training does nothing."""
        if checkpoint.state.get("training") != self.training:
            return
        named, history = sorted(checkpoint.arrays.items()), checkpoint.state.get("history", [])
        values = [value for name, value in named if name.startswith("variable ")]
        variables = _variables(model)
        of_this_model = [value.shape for value in values] == [one.shape for one in variables]
        if of_this_model and len(history) == checkpoint.epoch:
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
            self.history = history
            self.first_losses = checkpoint.arrays["first losses"].tolist()
            self.best_weights = [value for name, value in named if name.startswith("best ")] or None


def _variables(model: keras.Model) -> list[Any]:
    """All that changes while a model is trained."""
    return [*model.weights, *model.optimizer.variables, *masks(model)]


OnEpoch = Callable[[int, Mapping[str, float]], None]  # an epoch, from 1; its metrics


@dataclass(eq=False)
class EachEpoch(keras.callbacks.Callback):
    """Seeds and times epochs, adds each to the fit, and tells it once its checkpoint is written."""

    fit: Fit
    blocks: Blocks
    seed: int
    on_epoch: OnEpoch
    checkpoints: Checkpoints | None
    seconds_before: float = 0.0  # that the training took before its first epoch
    averaging: Averaging | None = None  # of the weights, by which the model is judged

    def __post_init__(self) -> None:
        super().__init__()

    def on_epoch_begin(self, epoch: int, _logs: dict | None = None) -> None:
        self.started, self.cpu_started = time.perf_counter(), time.process_time()
        self.blocks.set_epoch(seed=self.seed, epoch=epoch + 1)
        seed_dropout(self.model, seed=self.seed, epoch=epoch + 1)

    def on_train_batch_end(self, _batch: int, logs: dict | None = None) -> None:
        if not self.fit.history:
            losses = self.model.step_losses.numpy()[: self.blocks.batches_per_block]
            self.fit.first_losses += losses.tolist()
        self._check_finite("loss", (logs or {}).get("loss", 0.0))

    def on_test_begin(self, _logs: dict | None = None) -> None:
        if self.averaging:
            self.averaging.show()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        found = dict(logs or {})
        # What is minimised may be something else, by which variants would not compare.
        for plain in ("", "val_"):
            if (of_labels := found.get(f"{plain}{PLAIN}")) is not None:
                found[f"{plain}loss"] = of_labels
        metrics = {name: found[theirs] for name, theirs in METRICS.items() if theirs in found}
        self._check_finite("val_loss", metrics["val_loss"])
        metrics = {name: single_precision(value) for name, value in metrics.items()}
        next_rate = float(self.model.optimizer.learning_rate)
        metrics["learning_rate"] = three_digits(next_rate)
        seconds = round(time.perf_counter() - self.started, DECIMALS)
        cpu_seconds = round(time.process_time() - self.cpu_started, DECIMALS)
        before = (
            self.fit.history[-1]["elapsed_seconds"] if self.fit.history else self.seconds_before
        )
        metrics |= {"epoch_seconds": seconds, "epoch_cpu_seconds": cpu_seconds}
        metrics["elapsed_seconds"] = round(before + seconds, DECIMALS)
        self.fit.add(metrics, self.model)
        if self.averaging:
            self.averaging.hide()
        if self.checkpoints:
            self.checkpoints.save(self.fit.checkpoint(self.model))
        self.on_epoch(epoch + 1, metrics)
        self.model.stop_training = self.fit.stopped_early

    def _check_finite(self, name: str, value: float) -> None:
        if math.isfinite(value):
            return
        losses = [metrics["val_loss"] for metrics in self.fit.history]
        last = f"; the last finite val_loss was {losses[-1]:.4f}" if losses else ""
        what = f"{name} became {value} in epoch {len(losses) + 1}{last}"
        raise DivergenceError(f"{what}. The learning rate is probably too high.")


def seed_dropout(model: keras.Model, *, seed: int, epoch: int) -> None:
    """Set the state of every dropout layer's seed generator from a run's seed and an epoch."""
    layers = [layer for layer in model.layers if hasattr(layer, "seed_generator")]
    states = np.random.SeedSequence([seed, epoch]).generate_state(2 * len(layers))
    for layer, state in zip(layers, states.reshape(-1, 2) >> 1, strict=True):
        layer.seed_generator.state.assign(state)
