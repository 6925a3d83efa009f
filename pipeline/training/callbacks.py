"""What happens around every epoch: seeding, timing, early stopping, checkpoints."""

import math
import time
from collections.abc import Callable, Mapping

import keras
import numpy as np

from pipeline.base import DivergenceError
from pipeline.training.blocks import Blocks
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.fit import Fit

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
