import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.base import InputError
from pipeline.comparisons import Variant
from pipeline.comparisons.twenty_layers import BN
from pipeline.training import xla
from pipeline.training.optimizers import PLAIN, loss_of, metrics_of, optimizer_of
from pipeline.training.schedules import OneCycle


def with_(**changes: Any) -> Variant:
    return dataclasses.replace(BN, **changes)


@pytest.mark.parametrize(
    ("text", "kind", "settings"),
    [
        ("nadam", xla.Nadam, {"beta_1": 0.9, "weight_decay": None}),
        ("nadam(beta_1=0.8, weight_decay=0.1)", xla.Nadam, {"beta_1": 0.8, "weight_decay": 0.1}),
        ("adam", keras.optimizers.Adam, {"beta_1": 0.9}),
        ("sgd", keras.optimizers.SGD, {"momentum": 0.0, "nesterov": False}),
        ("sgd(momentum=0.9, nesterov=True)", keras.optimizers.SGD, {"momentum": 0.9}),
        ("rms_prop", keras.optimizers.RMSprop, {"rho": 0.9}),
        (
            "ftrl(learning_rate_power=-0.4, l1_regularization_strength=0.01)",
            keras.optimizers.Ftrl,
            {"learning_rate_power": -0.4, "l1_regularization_strength": 0.01},
        ),
    ],
)
def test_an_optimizer_is_that_of_keras_with_its_settings_and_our_rate(
    text: str, kind: type[keras.optimizers.Optimizer], settings: dict[str, object]
) -> None:
    made = optimizer_of(with_(optimizer=text), 0.02)
    assert type(made) is kind
    assert {name: made.get_config()[name] for name in settings} == settings
    assert float(made.learning_rate) == pytest.approx(0.02)
    schedule = OneCycle()
    assert float(optimizer_of(with_(optimizer=text), schedule).learning_rate) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("adamm", "Did you mean 'adam'?"),
        ("sgd(momentum=3)", "momentum"),
        ("sgd(speed=3)", "speed"),
        ("sgd(0.1)", "multiple values for argument 'learning_rate'"),
        ("adam(learning_rate=0.1)", "Give it as the variant's learning_rate"),
        ("adam + sgd", "optimizer of variant 'bn'"),
        ("3", "optimizer of variant 'bn'"),
        ("optimizer", "optimizer of variant 'bn'"),  # that which others are made of
    ],
)
def test_what_keras_does_not_know_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError) as refusal:
        optimizer_of(with_(optimizer=text), 0.1)
    assert words in str(refusal.value)


def test_nadam_with_all_its_settings_equals_that_of_keras() -> None:
    text = "nadam(use_ema=True, ema_momentum=0.8, weight_decay=0.1, clipnorm=1.0)"
    ours = optimizer_of(with_(optimizer=text), 0.05)
    theirs = keras.optimizers.Nadam(
        0.05, use_ema=True, ema_momentum=0.8, weight_decay=0.1, clipnorm=1.0
    )
    variables = [keras.Variable(np.ones(3, np.float32)) for _ in range(2)]
    for factor in (1.0, -3.0, 2.0):
        for optimizer, variable in zip((ours, theirs), variables, strict=True):
            optimizer.apply([tf.constant([1.0, 2.0, 3.0]) * factor], [variable])
    np.testing.assert_allclose(variables[0].numpy(), variables[1].numpy(), rtol=1e-5)
    for optimizer, variable in zip((ours, theirs), variables, strict=True):
        optimizer.finalize_variable_values([variable])
    np.testing.assert_allclose(variables[0].numpy(), variables[1].numpy(), rtol=1e-5)


LABELS = np.array([2.0, 0.0], np.float32)  # as Keras hands them on
PROBABILITIES = np.array([[0.1, 0.2, 0.7], [0.3, 0.3, 0.4]], np.float32)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("categorical_crossentropy", -np.log([0.7, 0.3])),
        (
            "categorical_crossentropy(label_smoothing=0.3)",
            [
                -np.log([0.1, 0.2, 0.7]) @ [0.1, 0.1, 0.8],
                -np.log([0.3, 0.3, 0.4]) @ [0.8, 0.1, 0.1],
            ],
        ),
        ("mean_squared_error", [(0.01 + 0.04 + 0.09) / 3, (0.49 + 0.09 + 0.16) / 3]),
        ("sparse_categorical_crossentropy(axis=-1)", -np.log([0.7, 0.3])),
    ],
)
def test_a_loss_is_computed_of_labels_or_of_what_they_stand_for(
    text: str, expected: list[float]
) -> None:
    loss = loss_of(with_(loss=text), 3)
    assert callable(loss)
    np.testing.assert_allclose(loss(LABELS, PROBABILITIES), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        *("crossentropy", "categorical_crossentropy(smoothing=0.1)", "loss", "ctc", "circle"),
        *("categorical_crossentropy + 1", "categorical_crossentropy * 2", "1"),
    ],
)
def test_a_loss_that_cannot_be_computed_of_probabilities_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^loss of variant 'bn'"):
        loss_of(with_(loss=text), 3)


def test_the_cross_entropy_of_sigmoids_is_that_of_their_shares() -> None:
    variant = with_(output_activation="sigmoid", kernel_regularizer="l1(0.1)")
    outputs = keras.activations.sigmoid(tf.math.log(PROBABILITIES / (1 - PROBABILITIES)))
    expected = -np.log([0.7, 0.3])
    minimised, (_, metric) = loss_of(variant, 3), metrics_of(variant)
    assert callable(minimised)
    np.testing.assert_allclose(minimised(LABELS, outputs), expected, rtol=1e-5)
    metric.update_state(LABELS, outputs)
    assert float(metric.result()) == pytest.approx(expected.mean())


def test_the_cross_entropy_is_told_where_something_else_is_minimised() -> None:
    assert loss_of(BN, 3) == BN.loss
    assert metrics_of(BN) == ["accuracy"]
    for changes in ({"loss": "mean_squared_error"}, {"kernel_regularizer": "l1(0.1)"}):
        _, metric = metrics_of(with_(**changes))
        assert metric.name == PLAIN
        metric.update_state(LABELS, PROBABILITIES / 2)  # outputs that are not of sum 1
        assert float(metric.result()) == pytest.approx(-np.log([0.7, 0.3]).mean())
