"""Trainings that start from another network's layers, of which some stay as they are."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.base import InputError
from pipeline.comparisons import Data, Variant
from pipeline.comparisons.digits import DIGITS_BN
from pipeline.comparisons.variants import check_reused
from pipeline.data import npz
from pipeline.data.splits import Splits
from pipeline.data.splitting import split_arrays
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.fit import Fit
from pipeline.training.models import build_model
from pipeline.training.trainer import Trainer
from pipeline.training.transfer import FrozenPart, reused_weights

SOURCE = dataclasses.replace(DIGITS_BN, hidden_layers=3, units=16)
ALL_FROZEN = SOURCE.derive(
    name="all_frozen",
    starts_from="digits_bn",
    reused_layers=3,
    frozen_layers=3,
    dropout="standard",
    dropout_rate=0.3,
)
TOP_FREE = ALL_FROZEN.derive(
    name="top_free", reused_layers=2, frozen_layers=1, dropout=None, optimizer="sgd"
)
Weights = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def splits(tiny_npz: Path) -> Splits:
    return split_arrays(npz.read(tiny_npz), Data(val_size=40, split_seed=0))


@pytest.fixture(scope="module")
def source(splits: Splits) -> keras.Model:
    """A network whose moving statistics are not those that it began with."""
    model = build_model(SOURCE, splits, seed=77)
    for number in (1, 2, 3):
        normalization = model.get_layer(f"batch_normalization_{number}")
        normalization.moving_mean.assign(np.linspace(-0.3, 0.3, 16))
        normalization.moving_variance.assign(np.linspace(0.5, 2, 16))
    return model


@pytest.fixture(scope="module", params=[ALL_FROZEN, TOP_FREE], ids=lambda one: one.name)
def trainers(splits: Splits, request: pytest.FixtureRequest) -> tuple[Trainer, Trainer]:
    """Of a variant, and of the same with the outputs of its frozen layers computed once."""
    variant: Variant = request.param
    return Trainer(variant, splits), Trainer(dataclasses.replace(variant, cached=True), splits)


def fit(trainer: Trainer, source: keras.Model | None, **changes: Any) -> Fit:
    settings: dict[str, Any] = {"learning_rate": 0.003, "epochs": 3, "patience": None, "seed": 5}
    settings["on_epoch"] = ignore
    return trainer.fit(source=source, **{**settings, **changes})


def ignore(_epoch: int, _metrics: Mapping[str, float]) -> None:
    """Take no notice of an epoch."""


def weights(model: keras.Model) -> Weights:
    """By layer and name."""
    return {
        f"{layer.name} {one.name}": one.numpy()
        for layer in model.layers
        for one in layer.weights
        if layer.name.startswith(("dense", "batch", "probabilities"))
    }


def curve(run: Fit) -> list[list[float]]:
    names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy")
    return [[metrics[name] for name in names] for metrics in run.history]


def test_frozen_layers_stay_to_the_last_bit_and_the_others_are_trained(
    trainers: tuple[Trainer, Trainer], source: keras.Model
) -> None:
    before = weights(source)
    trained = [layer.trainable for layer in source.layers]
    for trainer in trainers:
        fit(trainer, source)
        frozen = trainer.variant.frozen_layers
        for name, received in weights(trainer.model).items():
            layer = name.split()[0]
            if layer != "probabilities":  # its own layers begin as they are in the source
                same = np.array_equal(received, before[name])
                assert same == (int(layer.rsplit("_", 1)[1]) <= frozen), name
        # Of the optimizer, one or two for each, beside the number of the step and the rate.
        n_trained = 2 if frozen == 3 else 10
        slots = {"adam": 2, "sgd": 0}[trainer.variant.optimizer]
        assert len(trainer.optimizer.variables) == 2 + slots * n_trained
    assert [layer.trainable for layer in source.layers] == trained
    for name, after in weights(source).items():
        np.testing.assert_array_equal(after, before[name])


def test_training_begins_with_reused_layers_of_the_source_and_others_of_the_seed(
    trainers: tuple[Trainer, Trainer], source: keras.Model, splits: Splits
) -> None:
    for trainer in trainers:
        fit(trainer, source)
        trainer.reset(learning_rate=0.01, epochs=1, seed=9, source=source)
        own, theirs = weights(build_model(trainer.variant, splits, seed=9)), weights(source)
        for name, received in weights(trainer.model).items():
            of_source = name.split()[0][-1] in "123"[: trainer.variant.reused_layers]
            expected = theirs if of_source else own
            np.testing.assert_array_equal(received, expected[name], err_msg=name)


def test_outputs_computed_once_come_to_the_same_training(
    trainers: tuple[Trainer, Trainer], source: keras.Model, splits: Splits
) -> None:
    whole, cached = (fit(trainer, source) for trainer in trainers)
    np.testing.assert_allclose(curve(cached), curve(whole), rtol=1e-4, atol=1e-6)
    assert curve(whole)[-1][0] < 0.99 * curve(whole)[0][0]  # it has learned
    expected, received = (trainer.predict(splits.x_test) for trainer in trainers)
    np.testing.assert_allclose(received, expected, rtol=1e-3, atol=1e-5)
    accuracies = [trainer.training_accuracy(5) for trainer in trainers]
    assert accuracies[0] == pytest.approx(accuracies[1])


def test_a_cached_training_is_of_the_whole_network(
    trainers: tuple[Trainer, Trainer], source: keras.Model, splits: Splits
) -> None:
    _, cached = trainers
    run = fit(cached, source, patience=3)
    model = cached.trained_model()
    assert model.input_shape == (None, 8, 8, 3)
    received = cached.predict(splits.x_test)
    np.testing.assert_allclose(received, model(splits.x_test), rtol=1e-4, atol=1e-6)
    probabilities = cached.predict(splits.x_val)[np.arange(40), splits.y_val]
    loss = run.history[run.best_epoch - 1]["val_loss"]
    assert loss == pytest.approx(-np.log(probabilities).mean(), rel=1e-5)
    # What was computed once counts as time of the training.
    first = run.history[0]
    assert first["elapsed_seconds"] > first["epoch_seconds"]
    at_first, after = (np.array(cached.layer_statistics(one)["mean"]) for one in (5, None))
    assert at_first.shape == (3,)
    frozen = cached.variant.frozen_layers
    np.testing.assert_array_equal(at_first[:frozen], after[:frozen])
    assert (at_first[frozen:] != after[frozen:]).all()


def test_another_source_is_another_training_and_a_cut_off_one_goes_on(
    trainers: tuple[Trainer, Trainer], source: keras.Model, splits: Splits, tmp_path: Path
) -> None:
    other = build_model(SOURCE, splits, seed=78)

    def cut_off(epoch: int, _metrics: Mapping[str, float]) -> None:
        if epoch == 2:
            raise KeyError("cut off")

    for trainer in trainers:
        expected, of_other = curve(fit(trainer, source)), curve(fit(trainer, other))
        assert of_other != expected
        for goes_on_from, whole in ((other, of_other), (source, expected)):
            checkpoints = Checkpoints(tmp_path / trainer.variant.name / str(whole[0][0]))
            with pytest.raises(KeyError):
                fit(trainer, source, checkpoints=checkpoints, on_epoch=cut_off)
            fit(trainer, other, epochs=1, seed=8)
            assert curve(fit(trainer, goes_on_from, checkpoints=checkpoints)) == whole


def test_a_cached_training_that_is_over_is_judged_as_when_it_ended(
    trainers: tuple[Trainer, Trainer], source: keras.Model, splits: Splits, tmp_path: Path
) -> None:
    _, cached = trainers
    stops = {"patience": 1, "epochs": 30, "learning_rate": 0.1}
    whole = fit(cached, source, checkpoints=Checkpoints(tmp_path), **stops)
    assert whole.stopped_early
    expected = cached.training_accuracy(5)
    # The trainer is used for another training, then finds the first one finished in its checkpoint.
    fit(cached, build_model(SOURCE, splits, seed=78), epochs=1)
    again = fit(cached, source, checkpoints=Checkpoints(tmp_path), **stops)
    assert again.history == whole.history
    assert cached.training_accuracy(5) == expected


@pytest.mark.parametrize(
    ("changes", "received"),
    [
        ({"hidden_layers": 1}, "no such layer"),
        ({"batch_normalization": False}, "no such layer"),
        ({"units": 15}, r"shapes \[\(192, 15\), \(15,\)\]"),
        (None, "no such layer"),
    ],
)
def test_a_source_without_the_layers_is_refused(
    trainers: tuple[Trainer, Trainer],
    splits: Splits,
    changes: dict[str, Any] | None,
    received: str,
) -> None:
    other = build_model(dataclasses.replace(SOURCE, **changes), splits, seed=1) if changes else None
    expected = r"expected a layer with weights of shapes \[\("
    with pytest.raises(InputError, match=rf"starts from.*{expected}.*received {received}"):
        fit(trainers[0], other)


def test_what_a_pair_network_s_arm_has_learnt_can_be_taken(tiny_npz: Path, splits: Splits) -> None:
    pairs = split_arrays(npz.read(tiny_npz), Data(val_size=40, split_seed=0, pairs=True))
    arms = build_model(dataclasses.replace(SOURCE, arms="shared"), pairs, seed=3)
    variant = dataclasses.replace(ALL_FROZEN, hidden_layers=4)
    taken = reused_weights(variant, build_model(variant, splits, seed=4), arms)
    kinds = ("dense", "batch_normalization")
    assert list(taken) == [f"{kind}_{number}" for number in (1, 2, 3) for kind in kinds]
    for name, received in taken.items():
        for one, other in zip(received, arms.get_layer(name).get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_slopes_and_a_convolution_are_taken_too_and_what_is_frozen_ends_with_its_block(
    splits: Splits,
) -> None:
    from_all = dataclasses.replace(
        SOURCE, activation="prelu", convolution_filters=2, normalization_place="after"
    )
    variant = from_all.derive(name="taken", starts_from="x", reused_layers=2, frozen_layers=2)
    theirs, model = (build_model(one, splits, seed=7) for one in (from_all, variant))
    theirs.get_layer("activation_1").alpha.assign(np.full(16, 0.25))
    found = reused_weights(variant, model, theirs)
    assert set(found) == {
        "convolution",
        *("dense_1", "batch_normalization_1", "activation_1"),
        *("dense_2", "batch_normalization_2", "activation_2"),
    }
    np.testing.assert_array_equal(found["activation_1"][0], np.full(16, 0.25, np.float32))
    assert FrozenPart(model, 2).output is model.get_layer("batch_normalization_2").output
    trained = {weight.path.split("/")[0] for weight in model.trainable_weights}
    assert trained == {"dense_3", "activation_3", "batch_normalization_3", "probabilities"}


@pytest.mark.parametrize("setting", ["normalization_place", "convolution_filters", "standardized"])
def test_layers_are_taken_only_where_all_that_they_rest_on_is_the_same(setting: str) -> None:
    other: dict[str, Any] = {
        "normalization_place": "after",
        "convolution_filters": 2,
        "standardized": False,
    }
    variant = SOURCE.derive(
        name="taken", starts_from="x", reused_layers=2, **{setting: other[setting]}
    )
    with pytest.raises(InputError, match=f"{setting} of variant 'taken'"):
        check_reused(variant, SOURCE)
