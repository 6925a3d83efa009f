import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
import small_trainings
from small_trainings import cut_off, soon_overfitted

from pipeline.comparisons import twenty_layers
from pipeline.data.splits import Splits
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.fit import Fit
from pipeline.training.trainer import Trainer

MOMENTUM = 0.8
VARIANT = dataclasses.replace(
    twenty_layers.BN,
    hidden_layers=2,
    units=16,
    optimizer=f"nadam(use_ema=True, ema_momentum={MOMENTUM})",
    batch_size=260,  # all training images: an epoch is one step
)
Curves = list[list[float]]


@pytest.fixture(scope="module")
def splits(tiny_npz: Path) -> Splits:
    return soon_overfitted(tiny_npz)


@pytest.fixture(scope="module")
def trainer(splits: Splits) -> Trainer:
    return Trainer(VARIANT, splits)


fit = partial(small_trainings.fit, learning_rate=0.02, epochs=6)


def curves(run: Fit, *names: str) -> Curves:
    return [[metrics[name] for name in names] for metrics in run.history]


def evaluated(trainer: Trainer) -> tuple[float, float]:
    """Loss and accuracy on the validation images, of the model as it is served."""
    labels = trainer.splits.y_val
    found = trainer.trained_model().predict(trainer.splits.x_val, verbose=0)
    loss = -np.log(found[np.arange(len(labels)), labels]).mean()
    return float(loss), float((found.argmax(axis=1) == labels).mean())


@pytest.fixture(scope="module")
def weights_after_epochs(splits: Splits) -> tuple[Curves, list[list[np.ndarray]]]:
    """Without averaging: how training goes, and the trained weights after every epoch."""
    plain = Trainer(dataclasses.replace(VARIANT, optimizer="nadam"), splits)
    after = []

    def on_epoch(_epoch: int, _metrics: Mapping[str, float]) -> None:
        after.append([one.numpy() for one in plain.model.trainable_variables])

    return curves(fit(plain, on_epoch=on_epoch), "train_loss", "train_accuracy"), after


def test_the_model_has_the_averages_and_training_goes_on_from_the_weights(
    trainer: Trainer, weights_after_epochs: tuple[Curves, list[list[np.ndarray]]]
) -> None:
    expected, after = weights_after_epochs
    run = fit(trainer)
    assert curves(run, "train_loss", "train_accuracy") == expected
    averages = after[0]
    for weights in after[1:]:
        averages = [
            MOMENTUM * average + (1 - MOMENTUM) * weight
            for average, weight in zip(averages, weights, strict=True)
        ]
    for variable, average in zip(trainer.model.trainable_variables, averages, strict=True):
        np.testing.assert_allclose(variable.numpy(), average, rtol=1e-4, atol=1e-6)
        assert np.abs(variable.numpy()).max() > 0


@pytest.mark.parametrize("patience", [None, 6])
def test_an_epoch_is_validated_as_the_model_is_that_it_ends_with(
    trainer: Trainer, patience: int | None
) -> None:
    run = fit(trainer, epochs=25, learning_rate=0.1, patience=patience)
    best = run.history[run.best_epoch - 1]
    assert (run.best_epoch == len(run.history)) == (patience is None)
    expected = (best["val_loss"], best["val_accuracy"])
    np.testing.assert_allclose(evaluated(trainer), expected, rtol=1e-4)


def test_the_statistics_of_batch_normalisation_are_those_of_the_averages(trainer: Trainer) -> None:
    fit(trainer)
    model = trainer.trained_model()
    layers = [one for one in model.layers if isinstance(one, keras.layers.BatchNormalization)]
    outputs = keras.Model(model.input, [layer.output for layer in layers])(trainer.splits.x_train)
    for layer, output in zip(layers, outputs, strict=True):
        np.testing.assert_allclose(output.numpy().mean(axis=0), layer.beta, atol=1e-4)
        deviation = output.numpy().std(axis=0)
        varied = layer.moving_variance.numpy() > 0.1  # besides its epsilon
        np.testing.assert_allclose(deviation[varied], np.abs(layer.gamma)[varied], rtol=0.02)
        assert varied.mean() > 0.5


@pytest.mark.parametrize("last", [3, 6])
@pytest.mark.parametrize("patience", [None, 6])
def test_a_training_that_was_cut_off_goes_on_to_the_last_digit(
    trainer: Trainer, tmp_path: Path, last: int, patience: int | None
) -> None:
    names = ("train_loss", "val_loss", "val_accuracy")
    whole = curves(fit(trainer, patience=patience), *names)
    weights = trainer.model.get_weights()

    named = {"patience": patience, "checkpoints": Checkpoints(tmp_path)}
    cut_off(trainer, after=last, learning_rate=0.02, epochs=6, **named)
    resumed = fit(trainer, **named)
    assert curves(resumed, *names) == whole
    for one, other in zip(trainer.model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def pruned(splits: Splits) -> Trainer:
    """A network that is pruned while it trains, without batch normalisation."""
    return Trainer(
        dataclasses.replace(
            VARIANT,
            hidden_layers=1,
            batch_normalization=False,
            optimizer="sgd(use_ema=True)",
            pruned=0.8,
            pruning="gradual",
            pruning_epochs=3,
        ),
        splits,
    )


def test_networks_without_batch_normalisation_are_averaged_too(pruned: Trainer) -> None:
    run = fit(pruned)
    assert evaluated(pruned)[0] == pytest.approx(run.history[-1]["val_loss"], rel=1e-4)


@pytest.mark.parametrize("epochs", [0, 4])
def test_what_is_pruned_is_0_in_the_averages_too(pruned: Trainer, epochs: int) -> None:
    fit(pruned, epochs=epochs)
    zeros = (pruned.model.get_layer("dense_1").kernel.numpy() == 0).mean()
    assert zeros == pytest.approx(0.8 if epochs else 0, abs=0.001)
