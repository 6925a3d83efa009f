"""What is declared of activations is what is computed, in layers that any Keras loads."""

from typing import Any

import keras
import numpy as np
import pytest
from small_networks import build, small, standard_images

from pipeline.base import InputError
from pipeline.comparisons.twenty_layers import BN, ELU, SELU

VALUES = np.linspace(-4, 4, 33 * 16, dtype=np.float32).reshape(33, 16)
SPREAD = np.exp(VALUES - VALUES.max(axis=1, keepdims=True))
SHARES = SPREAD / SPREAD.sum(axis=1, keepdims=True)


def activation(model: keras.Model, number: int) -> keras.Model:
    """From what stands below an activation to the layer of its name."""
    below = model.get_layer(f"dense_{number}").output
    return keras.Model(below, model.get_layer(f"activation_{number}").output)


@pytest.mark.parametrize("for_training", [False, True])
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("elu", np.where(VALUES > 0, VALUES, np.expm1(VALUES))),
        ("tanh", np.tanh(VALUES)),
        ("softmax", SHARES),
        ("sin", np.sin(VALUES)),
        ("leaky_relu(negative_slope=0.1)", np.where(VALUES > 0, VALUES, 0.1 * VALUES)),
        ("relu(max_value=2)", np.clip(VALUES, 0, 2)),
        ("prelu", np.maximum(VALUES, 0)),  # slopes begin as 0
        ("relu(x) ** 2", np.maximum(VALUES, 0) ** 2),
        ("x * tanh(softplus(x))", VALUES * np.tanh(np.log1p(np.exp(VALUES)))),
        ("maximum(x, 0.2 * x) - 1 / (1 + x ** 2)", None),
        ("-x", -VALUES),
        ("x", VALUES),
    ],
)
def test_an_activation_computes_what_is_declared(
    text: str, expected: np.ndarray | None, for_training: bool
) -> None:
    if expected is None:
        expected = np.maximum(VALUES, 0.2 * VALUES) - 1 / (1 + VALUES**2)
    model = build(small(ELU, activation=text), for_training=for_training)
    for number in (1, 3):
        received = activation(model, number)(VALUES)
        np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)


CHANGES: list[dict[str, Any]] = [
    {"activation": "prelu"},
    {"activation": "leaky_relu(negative_slope=0.1)"},
    {"activation": "relu(x) ** 2 - 0.1"},
    {"activation": "1 - x * sigmoid(x)"},
    {"activation": "prelu", "arms": "shared"},
    {"activation": "x * sigmoid(x)", "arms": "two"},
    {"output_activation": "sigmoid"},
    {"output_activation": "softmax(softmax(x))"},
    {"kernel_initializer": "equal(he_normal)", "output_initializer": "equal(he_normal)"},
    {"kernel_regularizer": "l1_l2(l1=0.1)", "bias_initializer": "random_normal(stddev=0.1)"},
    {"convolution_filters": 3, "standardized": False},
    {"batch_normalization": True, "normalization_place": "after"},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_a_network_is_of_keras_alone_and_loads_as_it_is_with_what_was_trained(
    changes: dict[str, Any], tmp_path: Any
) -> None:
    variant = small(ELU, **changes)
    trained, model = build(variant, seed=2, for_training=True), build(variant)
    model.set_weights(trained.get_weights())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    images = standard_images(20)
    if variant.arms != "one":
        images = images.reshape(10, 2, 8, 8, 3)
    np.testing.assert_allclose(trained(images), model(images), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(loaded(images), model(images))
    kinds = {type(one).__module__ for one in loaded.operations}
    assert {kind.partition(".")[0] for kind in kinds} == {"keras"}
    assert loaded.layers[-1].name == "probabilities"
    np.testing.assert_allclose(np.sum(loaded(images), axis=1), 1, rtol=1e-6)


def test_a_slope_is_learnt_of_every_unit_by_both_images_of_a_pair_where_layers_are_shared() -> None:
    for arms, shape in {"one": (16,), "shared": (1, 16)}.items():
        layer = build(small(ELU, activation="prelu", arms=arms)).get_layer("activation_2")
        assert layer.alpha.shape == shape
    layer.set_weights([np.full((1, 16), 0.25)])
    images = np.full((1, 2, 16), -2, np.float32)
    np.testing.assert_array_equal(layer(images), -0.5 * np.ones((1, 2, 16)))


@pytest.mark.parametrize("text", ["glu", "glu(x)", "log(x)", "x / 0", "greater(x, 0)", "sum(x)"])
def test_what_gives_no_number_for_a_number_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"^activation of variant 'elu'.*\(it gives "):
        build(small(ELU, activation=text))


def test_slopes_of_frozen_layers_are_frozen() -> None:
    reused = {"starts_from": "elu", "reused_layers": 2, "frozen_layers": 1}
    model = build(small(ELU, activation="prelu", **reused))
    trained = {weight.path.split("/")[0] for weight in model.trainable_weights}
    assert trained & {"activation_1", "activation_2", "activation_3"} == {
        "activation_2",
        "activation_3",
    }


@pytest.mark.parametrize("variant", [ELU, SELU, BN])
def test_default_activations_are_the_fast_ones_in_training(variant: Any) -> None:
    layer = build(small(variant), for_training=True).get_layer("activation_1")
    assert type(layer).__module__ == "pipeline.training.xla"
