import time
from typing import TYPE_CHECKING, cast

import keras
import numpy as np
import pytest

from pipeline.training.fit import EachEpoch, Fit

if TYPE_CHECKING:
    from pipeline.training.blocks import Blocks


@pytest.fixture(scope="module")
def model() -> keras.Model:
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    network.compile(keras.optimizers.SGD())
    return network


def fit_of(model: keras.Model, val_losses: list[float], patience: int | None) -> Fit:
    """A fit whose epochs had these losses, and weights that hold the epoch's number."""
    fit = Fit(patience=patience)
    for epoch, val_loss in enumerate(val_losses, start=1):
        model.set_weights([np.array([[epoch]], np.float32)])
        fit.add({"val_loss": val_loss}, model)
    return fit


@pytest.mark.parametrize(
    ("val_losses", "patience", "lowest", "best", "stopped"),
    [
        ([3, 2, 1], 2, 3, 3, False),
        ([3, 1, 2], 2, 2, 2, False),
        ([3, 1, 2, 2], 2, 2, 2, True),
        ([3, 1, 2, 1], 2, 2, 2, True),  # as low is not lower
        ([3, 1, 2, 0.5], 2, 4, 4, False),
        ([1, 2, 3, 4], None, 1, 4, False),
    ],
)
def test_early_stopping_follows_from_the_history(
    model: keras.Model,
    val_losses: list[float],
    patience: int | None,
    lowest: int,
    best: int,
    stopped: bool,
) -> None:
    fit = fit_of(model, val_losses, patience)
    assert (fit.lowest_epoch, fit.best_epoch, fit.stopped_early) == (lowest, best, stopped)
    if patience is None:
        assert fit.best_weights is None
    else:
        assert fit.best_weights == [[[best]]]


def test_nothing_trained_has_not_stopped_early() -> None:
    assert not Fit(patience=1).stopped_early


def test_time_that_an_epoch_waits_is_no_cpu_time(model: keras.Model) -> None:
    class NoBlocks:
        def set_epoch(self, **_: int) -> None:
            time.sleep(0.2)

    fit = Fit(patience=None)
    each = EachEpoch(fit, cast("Blocks", NoBlocks()), 1, lambda *_: None, None)
    each.set_model(model)
    each.on_epoch_begin(0)
    each.on_epoch_end(0, {"val_loss": 1.0})
    (metrics,) = fit.history
    assert 0 < metrics["epoch_cpu_seconds"] < 0.1 < 0.2 < metrics["epoch_seconds"]


def test_a_checkpoint_holds_it_whole(model: keras.Model) -> None:
    fit = fit_of(model, [3, 1, 2], patience=2)
    checkpoint = fit.checkpoint(model)
    assert checkpoint.epoch == 3
    restored = fit_of(model, [7, 8], patience=2)
    restored.go_on_from(checkpoint, model)
    assert restored == fit
    assert model.get_weights() == [[[3]]]
