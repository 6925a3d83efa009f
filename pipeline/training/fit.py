"""What a training has come to: its history, by which it stops early, and its checkpoint."""

import itertools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import keras
import numpy as np

from pipeline.base import DivergenceError
from pipeline.training.blocks import Blocks
from pipeline.training.checkpoints import Checkpoint, Checkpoints


@dataclass(kw_only=True)
class Fit:
    """How far a training has come, and at its end what it came to.

    With the model's variables it is all that a training needs to go on: early stopping follows
    from the history, dropout and shuffling from the epoch.

    Args:
        patience: epochs without a lower ``val_loss`` before stopping; None: never stop early, and
            judge the last epoch's weights.
        history: one row of metrics per epoch, from epoch 1.
        best_weights: those of the best epoch; None without patience.
    """

    patience: int | None
    history: list[dict[str, float]] = field(default_factory=list)
    best_weights: list[np.ndarray] | None = None

    @property
    def best_epoch(self) -> int:
        """The first epoch with the lowest ``val_loss``, from 1."""
        return 1 + int(np.argmin([metrics["val_loss"] for metrics in self.history]))

    @property
    def judged_epoch(self) -> int:
        """The epoch whose weights the model holds at the end of the training."""
        return len(self.history) if self.patience is None else self.best_epoch

    @property
    def stopped_early(self) -> bool:
        """Whether patience has run out, be it in the last epoch."""
        if self.patience is None or not self.history:
            return False
        return len(self.history) - self.best_epoch >= self.patience

    def add(self, metrics: dict[str, float], model: keras.Model) -> None:
        """Add an epoch's metrics, and keep the model's weights if it is the best one so far."""
        self.history.append(metrics)
        if self.patience is not None and self.best_epoch == len(self.history):
            self.best_weights = model.get_weights()

    def checkpoint(self, model: keras.Model) -> Checkpoint:
        """All that the training of a model needs to go on."""
        variables = {f"variable_{i}": value.numpy() for i, value in enumerate(_variables(model))}
        best = {f"best_{i}": value for i, value in enumerate(self.best_weights or [])}
        return Checkpoint(
            epoch=len(self.history), arrays=variables | best, state={"history": self.history}
        )

    def go_on_from(self, checkpoint: Checkpoint, model: keras.Model) -> None:
        """Put fit and model where a checkpoint left them; one of another model changes nothing."""
        variables = _variables(model)
        values = _numbered("variable", checkpoint.arrays)
        history = checkpoint.state.get("history", [])
        of_this_model = [value.shape for value in values] == [one.shape for one in variables]
        if not of_this_model or len(history) != checkpoint.epoch:
            return
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        self.history = history
        self.best_weights = _numbered("best", checkpoint.arrays) or None


def _variables(model: keras.Model) -> list[keras.Variable]:
    return [*model.weights, *model.optimizer.variables]


def _numbered(kind: str, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    names = (f"{kind}_{number}" for number in itertools.count())
    return [arrays[name] for name in itertools.takewhile(arrays.__contains__, names)]


OnEpoch = Callable[[int, Mapping[str, float]], None]


class EachEpoch(keras.callbacks.Callback):
    """Seeds and times every epoch, and adds it to the fit; stops when patience runs out.

    An epoch is told to the outside only when its checkpoint is written.

    Args:
        fit: what earlier epochs have come to.
        blocks: the mini-batches.
        seed: of the run.
        on_epoch: called after every epoch with its number (from 1) and its metrics.
        checkpoints: where the run's checkpoints are kept; None: it keeps none.
    """

    def __init__(
        self,
        fit: Fit,
        blocks: Blocks,
        seed: int,
        on_epoch: OnEpoch,
        checkpoints: Checkpoints | None,
    ):
        super().__init__()
        self.fit = fit
        self.blocks = blocks
        self.seed = seed
        self.on_epoch = on_epoch
        self.checkpoints = checkpoints

    def on_epoch_begin(self, epoch: int, _logs: dict | None = None) -> None:
        self.started = time.perf_counter()
        self.blocks.set_epoch(seed=self.seed, epoch=epoch + 1)
        seed_dropout(self.model, seed=self.seed, epoch=epoch + 1)

    def on_train_batch_end(self, _batch: int, logs: dict | None = None) -> None:
        self._check_finite("loss", (logs or {}).get("loss", 0.0))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        metrics = {name: float(value) for name, value in (logs or {}).items()}
        self._check_finite("val_loss", metrics["val_loss"])
        epoch_seconds = time.perf_counter() - self.started
        before = self.fit.history[-1]["elapsed_seconds"] if self.fit.history else 0.0
        metrics |= {
            "learning_rate": float(self.model.optimizer.learning_rate),  # of the next step
            "epoch_seconds": epoch_seconds,
            "elapsed_seconds": before + epoch_seconds,
        }
        self.fit.add(metrics, self.model)
        if self.checkpoints:
            self.checkpoints.save(self.fit.checkpoint(self.model))
        self.on_epoch(epoch + 1, metrics)
        self.model.stop_training = self.fit.stopped_early

    def _check_finite(self, name: str, value: float) -> None:
        if not math.isfinite(value):
            history = self.fit.history
            last = (
                f"; the last finite val_loss was {history[-1]['val_loss']:.4f}" if history else ""
            )
            raise DivergenceError(
                f"{name} became {value} in epoch {len(history) + 1}{last}. "
                "The learning rate is probably too high."
            )


def seed_dropout(model: keras.Model, *, seed: int, epoch: int) -> None:
    """Set the state of every dropout layer's seed generator from a run's seed and an epoch."""
    generators = [
        layer.seed_generator for layer in model.layers if hasattr(layer, "seed_generator")
    ]
    states = np.random.SeedSequence([seed, epoch]).generate_state(2 * len(generators))
    for generator, state in zip(generators, states.reshape(-1, 2) >> 1, strict=True):
        generator.state.assign(state)
