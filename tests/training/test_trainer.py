import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.base import DivergenceError
from pipeline.comparisons import Data, Variant, twenty_layers
from pipeline.data import npz
from pipeline.data.fingerprints import fingerprint_of
from pipeline.data.splits import Splits, open_splits, save
from pipeline.data.splitting import split_arrays
from pipeline.training.blocks import Blocks, order_of_epoch
from pipeline.training.checkpoints import Checkpoint, Checkpoints
from pipeline.training.fit import Fit, OnEpoch, seed_dropout
from pipeline.training.models import build_model
from pipeline.training.trainer import BlockModel, Trainer, shared_trainer

METRICS = [  # the MLflow UI shows and compares the first one
    "val_accuracy",
    "val_loss",
    "train_accuracy",
    "train_loss",
    "learning_rate",
    "epoch_seconds",
    "epoch_cpu_seconds",
    "elapsed_seconds",
]


def small(variant: Variant, **changes: Any) -> Variant:
    return dataclasses.replace(variant, **{"hidden_layers": 3, "units": 16} | changes)


ELU = small(twenty_layers.ELU, batch_size=2)  # 130 mini-batches: more than one block holds
# Nadam would blow up the rounding errors in the gradients of the biases before batch normalisation,
# which are 0 in exact arithmetic, to steps of full size: no two programs would agree.
BN = small(twenty_layers.BN, optimizer=twenty_layers.ONE_CYCLE.optimizer)
ALPHA_DROPOUT = small(twenty_layers.ALPHA_DROPOUT, dropout_rate=0.2, dropout_layers="all")
ONE_CYCLE = small(twenty_layers.ONE_CYCLE, batch_size=32, dropout_rate=0.0)


@pytest.fixture(scope="module")
def directory(tiny_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with wrong labels in the validation split, so that val_loss soon rises."""
    splits = split_arrays(npz.read(tiny_npz), Data(val_size=40, split_seed=0))
    y_val = np.where(np.arange(40) % 5 == 0, (splits.y_val + 1) % 3, splits.y_val).astype(np.int32)
    names = ("x_train", "y_train", "x_val", "y_val", "x_test", "y_test")
    six = {name: getattr(splits, name) for name in names} | {"y_val": y_val}
    path = tmp_path_factory.mktemp("splits")
    save(dataclasses.replace(splits, y_val=y_val, fingerprint=fingerprint_of(six)), path)
    return path


@pytest.fixture(scope="module")
def splits(directory: Path) -> Splits:
    return open_splits(directory)


@pytest.fixture(scope="module")
def bn_trainer(splits: Splits) -> Iterator[Trainer]:
    yield shared_trainer(BN, splits)
    shared_trainer.cache_clear()


@pytest.fixture(scope="module")
def one_cycle_trainer(splits: Splits) -> Trainer:
    return Trainer(ONE_CYCLE, splits)


def ignore(_epoch: int, _metrics: Mapping[str, float]) -> None:
    """Take no notice of an epoch."""


def fit(trainer: Trainer, **changes: Any) -> Fit:
    settings = {"learning_rate": 0.01, "epochs": 3, "patience": None, "seed": 5}
    return trainer.fit(**{**settings, "on_epoch": ignore, **changes})


def curves(run: Fit) -> list[list[float]]:
    """What is the same in every run of a seed: all but the times."""
    names = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate")
    return [[metrics[name] for name in names] for metrics in run.history]


Reference = tuple[list[list[float]], list[np.ndarray]]


@pytest.fixture(scope="module")
def trainer_and_fresh_run(splits: Splits) -> tuple[Trainer, Reference]:
    """A trainer, and the curves and weights of the first run it was used for."""
    trainer = Trainer(ALPHA_DROPOUT, splits)
    return trainer, (curves(fit(trainer)), trainer.model.get_weights())


@pytest.fixture
def trainer(trainer_and_fresh_run: tuple[Trainer, Reference]) -> Trainer:
    return trainer_and_fresh_run[0]


@pytest.fixture
def fresh_run(trainer_and_fresh_run: tuple[Trainer, Reference]) -> Reference:
    return trainer_and_fresh_run[1]


def assert_equals_fresh_run(trainer: Trainer, run: Fit, fresh_run: Reference) -> None:
    assert curves(run) == fresh_run[0]
    for received, expected in zip(trainer.model.get_weights(), fresh_run[1], strict=True):
        np.testing.assert_array_equal(received, expected)


def evaluated(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Cross-entropy and accuracy by NumPy."""
    loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    return float(loss), float((probabilities.argmax(axis=1) == labels).mean())


# --- Equality with plain Keras ------------------------------------------------------------------


def plain_keras(
    trainer: Trainer, rates: np.ndarray, *, seed: int, jit_compile: bool = False
) -> tuple[keras.Model, list[list[float]]]:
    """Train by `train_on_batch`, at the given rate in each step of each epoch.

    The layers are stock ones; with `jit_compile` those that are trained, whose masks are theirs.

    Returns:
        The model, and loss, accuracy, val_loss and val_accuracy of every epoch.
    """
    splits, variant = trainer.splits, trainer.variant
    model = build_model(variant, splits, seed=seed, for_training=jit_compile)
    optimizers = {
        "adam": keras.optimizers.Adam(0.001),
        "nadam": keras.optimizers.Nadam(0.001),
        BN.optimizer: keras.optimizers.SGD(0.001, momentum=0.9, nesterov=True),
    }
    model.compile(
        optimizer=optimizers[variant.optimizer],
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    blocks = Blocks(
        splits.x_train, splits.y_train, batch_size=variant.batch_size, pairs=splits.pairs
    )
    history = []
    for epoch, epoch_rates in enumerate(rates, start=1):
        blocks.set_epoch(seed=seed, epoch=epoch)
        seed_dropout(model, seed=seed, epoch=epoch)
        metrics = []
        orders = blocks.order.reshape(-1, variant.batch_size, *(2,) * splits.pairs)
        labels = blocks.labels_in_order.reshape(-1, variant.batch_size)
        for order, learnt, rate in zip(orders, labels, epoch_rates, strict=True):
            model.optimizer.learning_rate = rate
            metrics.append(model.train_on_batch(splits.x_train[order], learnt))
        validation = evaluated(model.predict(splits.x_val, verbose=0), splits.y_val)
        history.append([*np.mean(metrics, axis=0), *validation])
    return model, history


def assert_equals_plain_keras(
    trainer: Trainer, rates: np.ndarray, *, learning_rate: float, jit: bool = False
) -> Fit:
    model, expected = plain_keras(trainer, rates, seed=3, jit_compile=jit)
    run = fit(trainer, learning_rate=learning_rate, epochs=len(rates), seed=3)
    np.testing.assert_allclose([row[:4] for row in curves(run)], expected, rtol=1e-4, atol=1e-5)
    names = [weight.path for weight in model.weights]
    weights = zip(names, trainer.model.get_weights(), model.get_weights(), strict=True)
    for name, received, reference in weights:
        np.testing.assert_allclose(received, reference, rtol=1e-3, atol=1e-5, err_msg=name)
    return run


def assert_constant_rate_equals_plain_keras(
    trainer: Trainer, *, epochs: int, jit: bool = False
) -> None:
    rates = np.full((epochs, trainer.blocks.steps_per_epoch), 0.001)
    assert_equals_plain_keras(trainer, rates, learning_rate=0.001, jit=jit)


def test_elu_equals_plain_keras_over_several_blocks(splits: Splits) -> None:
    trainer = Trainer(ELU, splits)
    assert (trainer.blocks.n_blocks, trainer.blocks.batches_per_block) == (2, 65)
    assert_constant_rate_equals_plain_keras(trainer, epochs=2)


def test_every_step_has_the_loss_of_plain_keras(splits: Splits) -> None:
    trainer = Trainer(small(twenty_layers.ELU, hidden_layers=3, units=32), splits)
    trainer.reset(learning_rate=0.001, epochs=1, seed=3)
    plain = trainer.trained_model()  # of stock layers, with the same initial weights
    plain.compile(
        keras.optimizers.Nadam(0.001), "sparse_categorical_crossentropy", jit_compile=False
    )
    trainer.blocks.set_epoch(seed=3, epoch=1)
    received, expected = [], []
    for order in trainer.blocks.order.reshape(-1, 32):
        images, labels = splits.x_train[order], splits.y_train[order]
        trainer.block_model.reset_metrics()
        # A block of one mini-batch, so that its loss is told.
        block = (tf.constant(images[None]), tf.constant(labels[None]))
        received.append(float(trainer.block_model.train_function(iter([block]))["loss"]))
        plain.reset_metrics()
        expected.append(plain.train_on_batch(images, labels))
    assert len(received) == 9
    assert expected[-1] < 0.9 * expected[0]  # it has learned
    np.testing.assert_allclose(received, expected, rtol=1e-5)


def test_the_training_step_is_traced_once(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    traced = []
    train_step = BlockModel.train_step

    def counted(model: BlockModel, block: Any) -> Any:
        traced.append(block)
        return train_step(model, block)

    monkeypatch.setattr(BlockModel, "train_step", counted)
    fit(Trainer(small(twenty_layers.ELU, hidden_layers=1), splits), epochs=2)
    assert len(traced) == 1


def test_bn_equals_plain_keras_in_moving_statistics_too(bn_trainer: Trainer) -> None:
    moving = [weight for weight in bn_trainer.model.weights if "moving" in weight.name]
    assert len(moving) == 6
    assert_constant_rate_equals_plain_keras(bn_trainer, epochs=3)
    for weight in moving:
        assert not np.isin(weight.numpy(), (0, 1)).any()


def test_one_cycle_equals_plain_keras_with_rates_by_numpy(one_cycle_trainer: Trainer) -> None:
    trainer = one_cycle_trainer
    steps = np.arange(4 * 9).reshape(4, 9)  # 260 images in mini-batches of 32
    # Twice, so that the second run's cycle is seen to start anew.
    for maximum in (0.1, 0.03):
        rates = maximum * np.interp(steps / steps.size, [0, 0.45, 0.9, 1], [0.1, 1, 0.1, 0.001])
        run = assert_equals_plain_keras(trainer, rates, learning_rate=maximum)
        logged = [metrics["learning_rate"] for metrics in run.history]
        np.testing.assert_allclose(logged, [*rates[1:, 0], maximum * 0.001], rtol=1e-4)


@pytest.fixture(scope="module", params=["two", "shared"])
def pairs_trainer(tiny_npz: Path, request: pytest.FixtureRequest) -> Trainer:
    pairs = split_arrays(npz.read(tiny_npz), Data(val_size=40, split_seed=0, pairs=True))
    return Trainer(dataclasses.replace(BN, arms=request.param, joint_units=4), pairs)


def test_arms_equal_plain_keras_on_the_pairs_of_every_epoch(pairs_trainer: Trainer) -> None:
    """Batch normalisation in shared arms is over both images in stock layers, too."""
    assert_constant_rate_equals_plain_keras(pairs_trainer, epochs=2)


def test_adam_equals_plain_keras(splits: Splits) -> None:
    trainer = Trainer(dataclasses.replace(ELU, optimizer="adam", batch_size=32), splits)
    assert_constant_rate_equals_plain_keras(trainer, epochs=2)


def test_losses_are_the_cross_entropy_of_labels_whatever_is_minimised(splits: Splits) -> None:
    text = "categorical_crossentropy(label_smoothing=0.5)"
    trainer = Trainer(small(twenty_layers.ELU, hidden_layers=1, loss=text), splits)
    (metrics,) = fit(trainer, epochs=1, learning_rate=1e-9).history  # the weights stay as they are
    val_loss, _ = evaluated(trainer.predict(splits.x_val), splits.y_val)
    train_loss, _ = evaluated(trainer.predict(splits.x_train), splits.y_train)
    assert metrics["val_loss"] == pytest.approx(val_loss, rel=1e-5)
    assert metrics["train_loss"] == pytest.approx(train_loss, rel=0.03)  # some are seen twice
    fit(trainer, epochs=20)
    # The best that smoothed labels allow is 2/3 for the true class of three.
    found = trainer.predict(splits.x_train)[np.arange(260), splits.y_train]
    assert found.mean() == pytest.approx(2 / 3, abs=0.05)


def test_equal_weights_stay_equal_to_the_last_digit(splits: Splits) -> None:
    equal = dict.fromkeys(("kernel_initializer", "output_initializer"), "equal(he_normal)")
    trainer = Trainer(small(twenty_layers.ELU, hidden_layers=2, units=20, **equal), splits)
    trainer.reset(learning_rate=0.01, epochs=3, seed=5)
    initial = trainer.model.get_weights()
    run = fit(trainer)
    assert run.history[-1]["train_loss"] < run.history[0]["train_loss"]
    first, _, second, _, last, _ = trainer.model.get_weights()
    for kernel in (first, second, last.T):  # a row of outputs' weights has one for each class
        np.testing.assert_array_equal(kernel, np.repeat(kernel[:, :1], 20, axis=1))
    assert all((one != was).any() for one, was in zip((first, second), initial[::2], strict=False))
    assert trainer.layer_statistics()["distinct_units"] == [1, 1]


def test_outputs_that_are_not_softmax_are_judged_as_probabilities(splits: Splits) -> None:
    sigmoid = {"output_activation": "sigmoid", "loss": "binary_crossentropy"}
    trainer = Trainer(small(twenty_layers.ELU, hidden_layers=1, **sigmoid), splits)
    run = fit(trainer, epochs=2)
    probabilities = trainer.predict(splits.x_val)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    served = trainer.trained_model()(np.asarray(splits.x_val))
    np.testing.assert_allclose(probabilities, served, rtol=1e-4, atol=1e-6)
    assert_holds_best_weights(trainer, run)


def test_mirrored_prediction_is_the_mean_over_both_images_and_trains_as_without(
    bn_trainer: Trainer, splits: Splits
) -> None:
    mirrored = Trainer(dataclasses.replace(BN, mirrored_prediction=True), splits)
    run, without = (fit(trainer) for trainer in (mirrored, bn_trainer))
    for metrics, plain in zip(curves(run), curves(without), strict=True):
        assert (metrics[:2], metrics[2] == plain[2]) == (plain[:2], False)
    x_val = np.asarray(splits.x_val)
    expected = (bn_trainer.predict(x_val) + bn_trainer.predict(x_val[:, :, ::-1])) / 2
    np.testing.assert_allclose(mirrored.predict(x_val), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(mirrored.trained_model()(x_val), expected, rtol=1e-4, atol=1e-6)
    assert_holds_best_weights(mirrored, run)


def test_alpha_dropout_equals_plain_keras_with_the_same_masks(trainer: Trainer) -> None:
    # As one XLA program per mini-batch: outside of XLA, TensorFlow has no Threefry on a CPU.
    assert_constant_rate_equals_plain_keras(trainer, epochs=2, jit=True)


# --- Runs of a trainer --------------------------------------------------------------------------


def test_a_run_on_a_used_trainer_equals_one_on_a_fresh_trainer(
    trainer: Trainer, fresh_run: Reference
) -> None:
    fit(trainer, learning_rate=0.3, epochs=1, seed=8)
    assert_equals_fresh_run(trainer, fit(trainer), fresh_run)


def test_other_seeds_and_rates_give_other_runs(trainer: Trainer, fresh_run: Reference) -> None:
    others = [curves(fit(trainer, seed=6)), curves(fit(trainer, learning_rate=0.02))]
    losses = {row[0] for run in (fresh_run[0], *others) for row in run}
    assert len(losses) == 9


def test_a_longer_run_begins_like_a_shorter_one(trainer: Trainer, fresh_run: Reference) -> None:
    assert curves(fit(trainer, epochs=4))[:3] == fresh_run[0]


def test_the_shared_trainer_is_the_same_for_the_same_variant_and_data(
    bn_trainer: Trainer, directory: Path, fresh_run: Reference
) -> None:
    splits = open_splits(Path(str(directory)))
    assert shared_trainer(dataclasses.replace(BN), splits) is bn_trainer
    other = shared_trainer(ALPHA_DROPOUT, splits)
    assert other.variant == ALPHA_DROPOUT
    assert_equals_fresh_run(other, fit(other), fresh_run)
    assert shared_trainer(BN, splits) is bn_trainer  # a worker goes from one to another


def test_on_epoch_gets_every_epoch_from_1_with_its_metrics(trainer: Trainer) -> None:
    received: list[tuple[int, dict[str, float]]] = []
    run = fit(trainer, on_epoch=lambda epoch, metrics: received.append((epoch, dict(metrics))))
    assert [epoch for epoch, _ in received] == [1, 2, 3]
    assert [metrics for _, metrics in received] == run.history
    assert all(list(metrics) == METRICS for metrics in run.history)
    assert all(type(value) is float for metrics in run.history for value in metrics.values())
    np.testing.assert_allclose([metrics["learning_rate"] for metrics in run.history], 0.01)
    seconds = np.array([metrics["epoch_seconds"] for metrics in run.history])
    assert (seconds > 0).all()
    elapsed = [metrics["elapsed_seconds"] for metrics in run.history]
    np.testing.assert_allclose(elapsed, np.cumsum(seconds))


def assert_holds_best_weights(trainer: Trainer, run: Fit) -> None:
    """The weights that the model holds give the validation metrics of the best epoch."""
    metrics = run.history[run.best_epoch - 1]
    x_val, y_val = trainer.splits.x_val, trainer.splits.y_val
    loss, accuracy = evaluated(trainer.predict(x_val), y_val)
    np.testing.assert_allclose(metrics["val_loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["val_accuracy"], accuracy, rtol=1e-6)


def test_patience_stops_early_and_restores_the_best_weights(trainer: Trainer) -> None:
    run = fit(trainer, epochs=40, patience=2)
    losses = [metrics["val_loss"] for metrics in run.history]
    assert run.stopped_early
    assert run.best_epoch == len(losses) - 2 == 1 + int(np.argmin(losses))
    assert_holds_best_weights(trainer, run)


def test_the_best_weights_are_restored_where_patience_did_not_run_out(trainer: Trainer) -> None:
    run = fit(trainer, epochs=8, patience=8)
    losses = [metrics["val_loss"] for metrics in run.history]
    assert (run.stopped_early, len(losses)) == (False, 8)
    assert run.best_epoch == 1 + int(np.argmin(losses)) < 8
    assert_holds_best_weights(trainer, run)


def test_without_patience_the_last_weights_are_kept(trainer: Trainer) -> None:
    run = fit(trainer, epochs=8)
    losses = [metrics["val_loss"] for metrics in run.history]
    assert (run.stopped_early, run.best_epoch, len(losses)) == (False, 8, 8)
    assert run.lowest_epoch == 1 + int(np.argmin(losses)) < 8
    assert_holds_best_weights(trainer, run)


def test_divergence_names_the_epoch_and_leaves_the_trainer_usable(
    trainer: Trainer, fresh_run: Reference
) -> None:
    with pytest.raises(DivergenceError, match=r"^loss became (nan|inf) in epoch 1\. The learning"):
        fit(trainer, learning_rate=1e30)
    assert_equals_fresh_run(trainer, fit(trainer), fresh_run)


def test_divergence_in_a_later_epoch_tells_the_last_finite_val_loss(trainer: Trainer) -> None:
    last = {}

    def raise_learning_rate(epoch: int, metrics: Mapping[str, float]) -> None:
        last["val_loss"] = metrics["val_loss"]
        if epoch == 2:
            trainer.optimizer.learning_rate.assign(1e30)

    with pytest.raises(DivergenceError, match=r"in epoch 3; the last finite val_loss was") as stop:
        fit(trainer, epochs=5, on_epoch=raise_learning_rate)
    assert f"was {last['val_loss']:.4f}." in str(stop.value)


def test_an_exception_of_on_epoch_leaves_the_trainer_usable(
    trainer: Trainer, fresh_run: Reference
) -> None:
    def prune(epoch: int, _metrics: Mapping[str, float]) -> None:
        if epoch == 2:
            raise KeyError("pruned")

    with pytest.raises(KeyError, match="pruned"):
        fit(trainer, on_epoch=prune, patience=1)
    assert_equals_fresh_run(trainer, fit(trainer), fresh_run)


def test_predict_keeps_the_order_over_several_batches(trainer: Trainer) -> None:
    fit(trainer, epochs=1)
    images = np.resize(trainer.splits.x_train, (1300, 8, 8, 3))
    received = trainer.predict(images)
    assert (received.dtype, received.shape) == (np.float32, (1300, 3))
    np.testing.assert_allclose(received, trainer.model(images), rtol=1e-4, atol=1e-6)


def test_trained_model_holds_the_weights_in_layers_of_keras_alone(trainer: Trainer) -> None:
    x_val = np.asarray(trainer.splits.x_val)
    for seed in (1, 2):
        fit(trainer, epochs=1, seed=seed)
        model = trainer.trained_model()
        np.testing.assert_allclose(model(x_val), trainer.predict(x_val), rtol=1e-4, atol=1e-6)
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}


def test_layer_statistics_of_untrained_and_of_trained_weights(trainer: Trainer) -> None:
    trainer.reset(learning_rate=0.01, epochs=1, seed=5)
    initial = trainer.layer_statistics()
    assert trainer.distance_from_initial_weights(seed=5) == 0
    fit(trainer, epochs=1)
    present = trainer.model.get_weights()
    assert trainer.layer_statistics(seed=5) == initial
    trained = trainer.layer_statistics()
    for name in ("mean", "standard_deviation", "gradient_norm"):
        assert len(trained[name]) == 3
        assert not np.isclose(trained[name], initial[name], rtol=1e-3).any()
    # Moving statistics of a batch normalisation are no weights that are trained.
    model = build_model(trainer.variant, trainer.splits, seed=5)
    of_model, initially = trainer.model.trainable_weights, model.trainable_weights
    changes = [one.numpy() - first.numpy() for one, first in zip(of_model, initially, strict=True)]
    expected = np.linalg.norm(np.concatenate([one.ravel() for one in changes]))
    assert trainer.distance_from_initial_weights(seed=5) == pytest.approx(expected, rel=1e-5)
    for one, before in zip(trainer.model.get_weights(), present, strict=True):
        np.testing.assert_array_equal(one, before)


def test_training_accuracy_is_that_of_the_finished_model_on_all_training_images(
    trainer: Trainer,
) -> None:
    trainer.reset(learning_rate=0.01, epochs=1, seed=5)  # a trained one has all of them right
    splits = trainer.splits
    _, expected = evaluated(
        trainer.trained_model().predict(splits.x_train, verbose=0), splits.y_train
    )
    assert 0 < expected < 1
    assert trainer.training_accuracy(seed=5) == pytest.approx(expected, abs=1e-9)


def test_training_accuracy_of_pairs_is_that_on_the_pairs_of_the_first_epoch(
    pairs_trainer: Trainer,
) -> None:
    fit(pairs_trainer, epochs=2)
    splits, model = pairs_trainer.splits, pairs_trainer.trained_model()
    found = []
    for seed in (5, 6):
        order, same = order_of_epoch(splits.y_train, seed=seed, epoch=1, pairs=True)
        assert len(order) % 32  # the last mini-batch is filled up
        _, expected = evaluated(model.predict(splits.x_train[order], verbose=0), same)
        found.append(pairs_trainer.training_accuracy(seed))
        assert found[-1] == pytest.approx(expected, abs=1e-9)
    assert found[0] != found[1]
    assert {len(of) for of in pairs_trainer.layer_statistics().values()} == {3}


# --- Checkpoints --------------------------------------------------------------------------------


class CutOff(Exception):
    """Stands for the end of the process."""


def cut_off_after(last: int) -> OnEpoch:
    def on_epoch(epoch: int, _metrics: Mapping[str, float]) -> None:
        if epoch == last:
            raise CutOff

    return on_epoch


def resumed(trainer: Trainer, checkpoints: Checkpoints, last: int, **changes: Any) -> Fit:
    """A run that was cut off after an epoch and went on; the trainer did other work between."""
    with pytest.raises(CutOff):
        fit(trainer, checkpoints=checkpoints, on_epoch=cut_off_after(last), **changes)
    fit(trainer, epochs=1, seed=77)
    return fit(trainer, checkpoints=checkpoints, **changes)


@pytest.mark.parametrize("last", [1, 2, 3])
def test_a_run_that_was_cut_off_equals_one_that_was_not(
    trainer: Trainer, fresh_run: Reference, tmp_path: Path, last: int
) -> None:
    """Alpha dropout in all layers and Nadam: masks, moments and shuffling go on."""
    run = resumed(trainer, Checkpoints(tmp_path), last)
    assert_equals_fresh_run(trainer, run, fresh_run)
    elapsed = [metrics["elapsed_seconds"] for metrics in run.history]
    seconds = [metrics["epoch_seconds"] for metrics in run.history]
    assert elapsed == pytest.approx(np.cumsum(seconds))


def test_batch_normalisation_and_momentum_go_on(bn_trainer: Trainer, tmp_path: Path) -> None:
    whole = fit(bn_trainer)
    weights = bn_trainer.model.get_weights()
    assert_equals_fresh_run(
        bn_trainer, resumed(bn_trainer, Checkpoints(tmp_path), 2), (curves(whole), weights)
    )


def test_the_position_in_1cycle_goes_on(one_cycle_trainer: Trainer, tmp_path: Path) -> None:
    trainer = one_cycle_trainer
    whole = fit(trainer, epochs=4)
    weights = trainer.model.get_weights()
    run = resumed(trainer, Checkpoints(tmp_path), 2, epochs=4)
    assert_equals_fresh_run(trainer, run, (curves(whole), weights))


@pytest.mark.parametrize("last", [2, 3, "the last epoch"])
def test_early_stopping_goes_on_with_its_patience_and_best_weights(
    trainer: Trainer, tmp_path: Path, last: int | str
) -> None:
    changes = {"epochs": 30, "patience": 3, "learning_rate": 0.02}
    whole = fit(trainer, **changes)
    assert whole.stopped_early
    weights = trainer.model.get_weights()
    epoch = len(whole.history) if isinstance(last, str) else last
    run = resumed(trainer, Checkpoints(tmp_path), epoch, **changes)
    assert_equals_fresh_run(trainer, run, (curves(whole), weights))
    assert (run.best_epoch, run.stopped_early) == (whole.best_epoch, True)


def test_patience_that_runs_out_in_the_last_permitted_epoch_has_stopped_training_early(
    trainer: Trainer,
) -> None:
    changes = {"patience": 3, "learning_rate": 0.02}
    epochs = len(fit(trainer, epochs=30, **changes).history)
    run = fit(trainer, epochs=epochs, **changes)
    assert (len(run.history), run.stopped_early) == (epochs, True)


def test_epochs_before_the_checkpoint_are_told_again(trainer: Trainer, tmp_path: Path) -> None:
    told: list[tuple[int, float]] = []
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(CutOff):
        fit(trainer, checkpoints=checkpoints, on_epoch=cut_off_after(2))
    run = fit(
        trainer, checkpoints=checkpoints, on_epoch=lambda n, m: told.append((n, m["train_loss"]))
    )
    assert told == [(n, metrics["train_loss"]) for n, metrics in enumerate(run.history, start=1)]
    assert [n for n, _ in told] == [1, 2, 3]


def test_an_epoch_is_told_only_when_its_checkpoint_is_whole(
    trainer: Trainer, tmp_path: Path
) -> None:
    checkpoints = Checkpoints(tmp_path)
    found = []

    def on_epoch(_epoch: int, _metrics: Mapping[str, float]) -> None:
        newest = checkpoints.newest()
        found.append(newest.epoch if newest else 0)

    fit(trainer, checkpoints=checkpoints, on_epoch=on_epoch)
    assert found == [1, 2, 3]


@pytest.mark.parametrize("changed", ["variant", "data", "learning_rate", "seed"])
def test_a_checkpoint_of_another_training_is_not_gone_on_from(
    trainer: Trainer, fresh_run: Reference, tmp_path: Path, changed: str
) -> None:
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(CutOff):
        fit(trainer, checkpoints=checkpoints, on_epoch=cut_off_after(2))
    left = checkpoints.newest()
    assert left is not None
    other = {**left.state["training"], changed: "another"}
    exchanged = {name: array + 1 for name, array in left.arrays.items()}
    checkpoints.save(Checkpoint(2, exchanged, {**left.state, "training": other}))
    assert_equals_fresh_run(trainer, fit(trainer, checkpoints=checkpoints), fresh_run)


@pytest.mark.parametrize("arrays", [{}, {"variable 000000": np.zeros((3, 2), np.float32)}])
def test_a_checkpoint_that_does_not_fit_the_model_is_not_gone_on_from(
    trainer: Trainer, fresh_run: Reference, tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(CutOff):
        fit(trainer, checkpoints=checkpoints, on_epoch=cut_off_after(1))
    left = checkpoints.newest()
    assert left is not None
    checkpoints.save(Checkpoint(1, arrays, left.state))
    assert_equals_fresh_run(trainer, fit(trainer, checkpoints=checkpoints), fresh_run)


def test_a_schedules_checkpoint_is_of_trainings_as_long(
    one_cycle_trainer: Trainer, tmp_path: Path
) -> None:
    whole = curves(fit(one_cycle_trainer, epochs=4))
    with pytest.raises(CutOff):
        fit(
            one_cycle_trainer,
            epochs=3,
            checkpoints=Checkpoints(tmp_path),
            on_epoch=cut_off_after(2),
        )
    run = fit(one_cycle_trainer, epochs=4, checkpoints=Checkpoints(tmp_path))
    assert curves(run) == whole
