"""How a training begins and ends: its first losses, divergence, which weights it is judged by."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from small_trainings import cut_off, fit, ignore, soon_overfitted

from pipeline.base import DivergenceError
from pipeline.comparisons import Variant
from pipeline.data.splits import Splits
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.models import build_model
from pipeline.training.trainer import Trainer

SMALL = Variant(name="small", hidden_layers=2, units=16, batch_size=2)  # two blocks an epoch


@pytest.fixture(scope="module")
def splits(tiny_npz: Path) -> Splits:
    return soon_overfitted(tiny_npz)


@pytest.fixture(scope="module")
def trainer(splits: Splits) -> Trainer:
    return Trainer(SMALL, splits)


def evaluated(trainer: Trainer, images: np.ndarray, labels: np.ndarray) -> float:
    of_true = trainer.predict(images)[np.arange(len(labels)), labels]
    return float(-np.log(of_true).mean())


def test_the_losses_of_the_first_epoch_are_those_of_plain_keras(
    trainer: Trainer, splits: Splits
) -> None:
    received = fit(trainer).first_losses
    plain = build_model(SMALL, splits, seed=5)
    import keras

    plain.compile(keras.optimizers.Nadam(0.003), "sparse_categorical_crossentropy")
    trainer.blocks.set_epoch(seed=5, epoch=1)
    expected = []
    for order in trainer.blocks.order.reshape(-1, 2)[:70]:  # more than a block of 65
        expected.append(plain.test_on_batch(splits.x_train[order], splits.y_train[order]))
        plain.train_on_batch(splits.x_train[order], splits.y_train[order])
    assert len(received) == trainer.blocks.steps_per_epoch == 130
    np.testing.assert_allclose(received[:70], expected, rtol=2e-3, atol=1e-4)


def test_first_losses_are_of_the_first_epoch_alone(trainer: Trainer) -> None:
    one, three = fit(trainer, epochs=1), fit(trainer)
    assert three.first_losses == one.first_losses
    # The mean of the epoch is of the same mini-batches.
    assert np.mean(one.first_losses) == pytest.approx(one.history[0]["train_loss"], rel=1e-5)


def test_divergence_is_a_result_where_it_may_be(trainer: Trainer) -> None:
    trainer.reset(learning_rate=0.003, epochs=1, seed=5)
    initial = trainer.model.get_weights()
    run = fit(trainer, learning_rate=1e30, may_diverge=True)
    assert run.diverged.startswith("loss became ")
    assert (run.best_epoch, run.history, run.stopped_early) == (0, [], False)
    for received, expected in zip(trainer.model.get_weights(), initial, strict=True):
        np.testing.assert_array_equal(received, expected)
    assert 0 < len(run.first_losses) <= 130
    with pytest.raises(DivergenceError):
        fit(trainer, learning_rate=1e30)


@pytest.mark.parametrize("patience", [None, 5])
@pytest.mark.parametrize("restore", [True, False])
def test_what_diverged_later_is_judged_by_its_best_epoch_before(
    trainer: Trainer, splits: Splits, patience: int | None, restore: bool
) -> None:
    def raise_rate(epoch: int, _metrics: Mapping[str, float]) -> None:
        if epoch == 3:
            trainer.optimizer.learning_rate.assign(1e30)

    run = fit(
        trainer,
        epochs=9,
        patience=patience,
        restore_best_weights=restore,
        may_diverge=True,
        on_epoch=raise_rate,
    )
    assert "in epoch 4; the last finite val_loss" in run.diverged
    losses = [metrics["val_loss"] for metrics in run.history]
    assert run.best_epoch == 1 + int(np.argmin(losses))
    assert evaluated(trainer, splits.x_val, splits.y_val) == pytest.approx(min(losses), rel=1e-5)


def test_what_did_not_diverge_is_as_if_it_may_not(trainer: Trainer) -> None:
    expected = fit(trainer), trainer.model.get_weights()
    run = fit(trainer, may_diverge=True)
    assert [one["val_loss"] for one in run.history] == [
        one["val_loss"] for one in expected[0].history
    ]
    for received, one in zip(trainer.model.get_weights(), expected[1], strict=True):
        np.testing.assert_array_equal(received, one)


def test_without_restoring_the_last_weights_are_judged_and_it_stops_as_ever(
    trainer: Trainer, splits: Splits
) -> None:
    named = {"epochs": 40, "patience": 2, "learning_rate": 0.03}
    restored, last = fit(trainer, **named), fit(trainer, **named, restore_best_weights=False)
    losses = [metrics["val_loss"] for metrics in last.history]
    assert losses == [metrics["val_loss"] for metrics in restored.history]
    assert last.stopped_early
    assert (restored.best_epoch, last.best_epoch) == (len(losses) - 2, len(losses))
    assert evaluated(trainer, splits.x_val, splits.y_val) == pytest.approx(losses[-1], rel=1e-5)


def test_the_test_set_can_decide_in_place_of_the_validation_set(
    trainer: Trainer, splits: Splits
) -> None:
    usual = fit(trainer)
    run = fit(trainer, validated_on="test")
    assert [one["train_loss"] for one in run.history] == [
        one["train_loss"] for one in usual.history
    ]
    of_test = evaluated(trainer, splits.x_test, splits.y_test)
    assert run.history[-1]["val_loss"] == pytest.approx(of_test, rel=1e-5)
    assert fit(trainer).history[-1]["val_loss"] == usual.history[-1]["val_loss"]


def test_a_network_that_is_taken_whole_is_the_source_s_but_for_what_is_pruned(
    splits: Splits,
) -> None:
    source = build_model(SMALL, splits, seed=77)
    layers = ("dense_1", "dense_2", "probabilities")
    for name in layers:  # biases begin as 0
        source.get_layer(name).bias.assign(np.linspace(1, 2, source.get_layer(name).units))
    whole = SMALL.derive(
        name="whole", starts_from="small", reused_layers=2, reused_output=True, epochs=0, pruned=0.5
    )
    trainer = Trainer(whole, splits)
    run = trainer.fit_as_declared(learning_rate=0.0, seed=3, on_epoch=ignore, source=source)
    assert (run.history, run.first_losses, run.best_epoch) == ([], [], 0)
    for name in layers:
        theirs, (kernel, bias) = (
            one.get_layer(name).get_weights() for one in (source, trainer.trained_model())
        )
        np.testing.assert_array_equal(kernel[kernel != 0], theirs[0][kernel != 0])
        assert (kernel == 0).sum() == kernel.size // 2
        np.testing.assert_array_equal(bias, theirs[1])


def test_a_run_that_diverges_after_it_was_cut_off_ends_the_same(
    trainer: Trainer, tmp_path: Path
) -> None:
    named = {"may_diverge": True, "checkpoints": Checkpoints(tmp_path), "patience": 9}
    cut_off(trainer, after=2, **named)
    again, whole = fit(trainer, **named), fit(trainer, may_diverge=True, patience=9)
    assert again.first_losses == whole.first_losses
    assert again.best_epoch == whole.best_epoch
