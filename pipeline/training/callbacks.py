"""What happens around every epoch: seeding, timing, early stopping, checkpoints."""

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import keras
import numpy as np

from pipeline.base import DivergenceError
from pipeline.training.checkpoints import Checkpoint, Checkpoints

if TYPE_CHECKING:
    from pipeline.training.trainer import Trainer

OnEpoch = Callable[[int, Mapping[str, float]], None]


class EpochRecorder(keras.callbacks.Callback):
    """Seeds every epoch, times it, records its metrics and stops a diverging run at once."""

    def __init__(self, trainer: "Trainer", *, seed: int):
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


class EarlyStopping(keras.callbacks.EarlyStopping):
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


class AfterEpoch(keras.callbacks.Callback):
    """Writes a checkpoint after every epoch, and only then tells the epoch to the outside."""

    def __init__(
        self,
        trainer: "Trainer",
        recorder: EpochRecorder,
        stopping: EarlyStopping,
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
