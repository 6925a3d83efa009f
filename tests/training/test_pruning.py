"""Magnitude pruning: which weights are 0, that they stay so, and how sparse a network then is."""

import dataclasses
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
from small_trainings import cut_off, fit, soon_overfitted

from pipeline.comparisons import Variant
from pipeline.data.splits import Splits
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.models import build_model
from pipeline.training.pruning import (
    SMALL,
    GradualPruning,
    kernels,
    make_prunable,
    prune,
    sparsity,
)
from pipeline.training.trainer import Trainer

DENSE = Variant(name="dense", hidden_layers=2, units=16, batch_size=2)  # two blocks an epoch
AT_START = DENSE.derive(name="at_start", pruned=0.9)
GRADUAL = DENSE.derive(name="gradual", pruned=0.9, pruning="gradual", pruning_epochs=2)


@pytest.fixture(scope="module")
def splits(tiny_npz: Path) -> Splits:
    return soon_overfitted(tiny_npz)


@pytest.fixture(scope="module")
def at_start(splits: Splits) -> Trainer:
    return Trainer(AT_START, splits)


@pytest.fixture(scope="module")
def gradual(splits: Splits) -> Trainer:
    return Trainer(GRADUAL, splits)


def zeros(model: keras.Model) -> list[int]:
    return [int((kernel.numpy() == 0).sum()) for kernel in kernels(model)]


def expected_zeros(model: keras.Model, share: float) -> list[int]:
    return [round(share * kernel.numpy().size) for kernel in kernels(model)]


def test_the_weights_of_smallest_magnitude_are_pruned_to_one_weight_of_every_kernel(
    splits: Splits,
) -> None:
    model = build_model(DENSE, splits, seed=1)
    make_prunable(model)
    before = [kernel.numpy() for kernel in kernels(model)]
    biases = [model.get_layer("dense_1").bias.numpy()]
    prune(model, 0.9)
    assert len(before) == 3  # that of the output, too
    assert zeros(model) == expected_zeros(model, 0.9)
    for was, kernel in zip(before, kernels(model), strict=True):
        now = kernel.numpy()
        np.testing.assert_array_equal(now[now != 0], was[now != 0])
        assert np.abs(was[now == 0]).max() <= np.abs(now[now != 0]).min()
    np.testing.assert_array_equal(model.get_layer("dense_1").bias.numpy(), biases[0])
    first = [kernel.numpy() == 0 for kernel in kernels(model)]
    prune(model, 0.95)
    assert all(
        (kernel.numpy()[was] == 0).all() for was, kernel in zip(first, kernels(model), strict=True)
    )
    assert zeros(model) == expected_zeros(model, 0.95)


def test_what_is_pruned_at_the_start_stays_0_and_the_rest_is_trained(at_start: Trainer) -> None:
    at_start.reset(learning_rate=0.003, epochs=1, seed=5)
    begun = [kernel.numpy() for kernel in kernels(at_start.model)]
    run = fit(at_start)
    assert run.history[-1]["train_loss"] < run.history[0]["train_loss"]
    served = at_start.trained_model()
    assert zeros(served) == expected_zeros(served, 0.9)
    for was, kernel in zip(begun, kernels(served), strict=True):
        np.testing.assert_array_equal(kernel.numpy() == 0, was == 0)
        assert (kernel.numpy()[was != 0] != was[was != 0]).any()


def test_a_trainer_prunes_every_run_anew(at_start: Trainer, gradual: Trainer) -> None:
    for trainer in (at_start, gradual):
        one = fit(trainer).history[-1]["val_loss"]
        fit(trainer, seed=6, epochs=3)
        assert fit(trainer).history[-1]["val_loss"] == one


def test_gradual_pruning_follows_the_cubic_to_its_share_at_the_end_of_its_epochs(
    gradual: Trainer,
) -> None:
    found: list[list[int]] = []
    fit(gradual, on_epoch=lambda *_: found.append(zeros(gradual.model)))
    model = gradual.model
    halfway = 0.9 * (1 - (1 - 1 / 2) ** 3)  # after one epoch of two
    assert found == [expected_zeros(model, halfway), *3 * [expected_zeros(model, 0.9)]]


def test_gradual_pruning_prunes_after_every_block_until_its_epochs_are_over(
    splits: Splits,
) -> None:
    model = build_model(DENSE, splits, seed=1)
    make_prunable(model)
    pruning, found = GradualPruning(0.9, epochs=2, blocks_per_epoch=3), []
    pruning.set_model(model)
    for epoch in (0, 1, 2):
        pruning.on_epoch_begin(epoch)
        for block in (0, 1, 2):
            pruning.on_train_batch_end(block)
            found.append(zeros(model))
    shares = [0.9 * (1 - (1 - done / 6) ** 3) for done in (1, 2, 3, 4, 5, 6, 6, 6, 6)]
    assert found == [expected_zeros(model, share) for share in shares]


def test_only_epochs_in_which_nothing_more_is_pruned_may_be_the_best(gradual: Trainer) -> None:
    run = fit(gradual, patience=1, epochs=12, learning_rate=0.03)
    losses = [metrics["val_loss"] for metrics in run.history]
    assert run.best_epoch == 2 + int(np.argmin(losses[1:]))
    assert zeros(gradual.model) == expected_zeros(gradual.model, 0.9)


def test_a_trial_of_fewer_epochs_prunes_as_much_in_these(gradual: Trainer) -> None:
    fit(gradual, epochs=1)
    assert zeros(gradual.model) == expected_zeros(gradual.model, 0.9)


@pytest.mark.parametrize("last", [1, 3])
@pytest.mark.parametrize("name", ["at_start", "gradual"])
def test_a_pruned_run_that_was_cut_off_equals_one_that_was_not(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, last: int
) -> None:
    trainer: Trainer = request.getfixturevalue(name)
    whole, expected = fit(trainer), trainer.model.get_weights()
    cut_off(trainer, after=last, checkpoints=Checkpoints(tmp_path))
    again = fit(trainer, checkpoints=Checkpoints(tmp_path))
    assert [one["val_loss"] for one in again.history] == [one["val_loss"] for one in whole.history]
    assert again.first_losses == whole.first_losses
    for received, of_whole in zip(trainer.model.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(received, of_whole)


def test_sparsity_counts_the_weights_of_kernels_alone(splits: Splits) -> None:
    model = build_model(dataclasses.replace(DENSE, hidden_layers=1), splits, seed=1)
    dense, output = kernels(model)
    dense.assign(np.repeat([0, 0.0005], dense.shape[0] // 2)[:, None] * np.ones(dense.shape))
    output.assign(np.full(output.shape, -SMALL))  # which is not below it
    found, size = sparsity(model), 192 * 16 + 16 * 3
    assert found["zero_weights"] == pytest.approx(96 * 16 / size)
    assert found["small_weights"] == pytest.approx(192 * 16 / size)
    content = dense.numpy().tobytes() + output.numpy().tobytes()
    assert found["compressed_megabytes"] == len(zlib.compress(content)) / 1e6
