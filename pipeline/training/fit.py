"""What a training has come to: its history, by which it stops early, and its checkpoint."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import keras
import numpy as np

from pipeline.training.checkpoints import Checkpoint


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
