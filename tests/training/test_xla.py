from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.training import xla

SHAPES = ((4, 3), (3,))


def gradients(layer: keras.layers.Layer, inputs: np.ndarray, upstream: np.ndarray) -> list:
    """A layer's outputs, then gradients of its inputs and weights, in an XLA program."""

    @tf.function(jit_compile=True)
    def program(inputs: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = layer(inputs, training=True)
        of = [inputs, *layer.trainable_variables]
        return [outputs, *tape.gradient(outputs, of, output_gradients=upstream)]

    return [array.numpy() for array in program(tf.constant(inputs))]


@pytest.mark.parametrize(("rows", "features", "units"), [(32, 192, 100), (128, 100, 10), (1, 3, 2)])
def test_dense_equals_the_stock_layer_in_outputs_and_gradients(
    rows: int, features: int, units: int
) -> None:
    random = np.random.default_rng(5)
    inputs = random.normal(size=(rows, features)).astype(np.float32)
    upstream = random.normal(size=(rows, units)).astype(np.float32)
    fast, stock = (kind(units, activation="tanh") for kind in (xla.Dense, keras.layers.Dense))
    for layer in (fast, stock):
        layer.build(inputs.shape)
    stock.set_weights([random.normal(size=w.shape) / 10 for w in stock.get_weights()])
    fast.set_weights(stock.get_weights())
    received, expected = (gradients(layer, inputs, upstream) for layer in (fast, stock))
    assert [array.shape for array in received] == [
        (rows, units),
        (rows, features),
        (features, units),
        (units,),
    ]
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("images", "filters", "size"),
    [((32, 8, 10, 3), 5, 3), ((1, 3, 3, 1), 1, 3), ((4, 6, 5, 2), 3, (2, 4)), ((2, 5, 5, 3), 4, 1)],
)
def test_a_convolution_equals_the_stock_layer_in_outputs_and_gradients(
    images: tuple[int, ...], filters: int, size: int | tuple[int, int]
) -> None:
    random = np.random.default_rng(6)
    fast, stock = (
        kind(filters, size, activation="tanh") for kind in (xla.Conv2D, keras.layers.Conv2D)
    )
    for layer in (fast, stock):
        layer.build(images)
    stock.set_weights([random.normal(size=w.shape) / 3 for w in stock.get_weights()])
    fast.set_weights(stock.get_weights())
    shape = stock.compute_output_shape(images)
    inputs, upstream = (random.normal(size=of).astype(np.float32) for of in (images, shape))
    received, expected = (gradients(layer, inputs, upstream) for layer in (fast, stock))
    assert [array.shape for array in received[:2]] == [shape, images]
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["elu", "selu", "relu"])
def test_activations_equal_keras_in_values_and_gradients_at_0_and_at_the_ends_too(
    name: str,
) -> None:
    negative = [-1e30, -200, -20, -3, -1e-3, -1e-8, -0.0]
    inputs = np.array([*negative, 0, 1e-8, 1e-3, 3, 200, 1e30], np.float32)
    fast, stock = xla.Activation(name), keras.layers.Activation(name)
    received, expected = (gradients(layer, inputs, np.ones_like(inputs)) for layer in (fast, stock))
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=2.5e-7)


@pytest.mark.parametrize("name", ["elu", "selu"])
def test_an_activation_of_nan_is_nan(name: str) -> None:
    # A network that diverges is known by it.
    assert np.isnan(xla.Activation(name)(np.array([np.nan], np.float32))).all()


def compiled(layer: keras.layers.Layer) -> Any:
    return tf.function(lambda inputs: layer(inputs, training=True), jit_compile=True)


def dropout(kind: str, rate: float, *, seed: int = 1) -> keras.layers.Layer:
    layers = {"alpha": xla.AlphaDropout, "standard": xla.Dropout}
    return layers[kind](rate, seed=seed)


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_alpha_dropout_equals_numpy_and_keeps_mean_and_variance(rate: float) -> None:
    inputs = np.random.default_rng(3).normal(size=(1000, 100)).astype(np.float32)
    layer = dropout("alpha", rate)
    outputs = compiled(layer)(inputs).numpy()
    # Klambauer et al. 2017, section 3: dropped units take alpha', then a x + b restores moments.
    alpha = -1.0507009873554805 * 1.6732632423543772
    a = (1 - rate + alpha**2 * rate * (1 - rate)) ** -0.5
    b = -a * rate * alpha
    dropped = np.isclose(outputs, a * alpha + b, rtol=0, atol=1e-6)
    np.testing.assert_allclose(dropped.mean(), rate, atol=0.005)
    expected = np.where(dropped, a * alpha + b, a * inputs + b)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outputs.mean(), 0, atol=0.02)
    np.testing.assert_allclose(outputs.var(), 1, atol=0.02)
    # Masks have no pattern: neither a row nor a column is dropped more often than chance allows.
    assert dropped.mean(axis=0).std() < 0.025
    assert dropped.mean(axis=1).std() < 0.06


def test_standard_dropout_equals_numpy() -> None:
    inputs = np.random.default_rng(3).uniform(1, 2, (1000, 100)).astype(np.float32)
    outputs = compiled(dropout("standard", 0.2))(inputs).numpy()
    dropped = outputs == 0
    np.testing.assert_allclose(dropped.mean(), 0.2, atol=0.005)
    np.testing.assert_allclose(outputs, np.where(dropped, 0, inputs / 0.8), rtol=1e-6)


def test_dropout_masks_follow_the_seed_and_never_repeat() -> None:
    inputs = np.ones((20, 10), np.float32)
    (first, second), (same, _), (other, _) = (
        [draw(inputs).numpy() for _ in range(2)]
        for draw in (compiled(dropout("alpha", 0.3, seed=seed)) for seed in (1, 1, 2))
    )
    np.testing.assert_array_equal(first, same)
    assert (first != second).any()
    assert (first != other).any()


@pytest.mark.parametrize("kind", ["alpha", "standard"])
def test_dropout_is_the_identity_in_inference_and_at_rate_0(kind: str) -> None:
    inputs = np.random.default_rng(3).normal(size=(5, 16)).astype(np.float32)
    np.testing.assert_array_equal(dropout(kind, 0.5)(inputs, training=False), inputs)
    np.testing.assert_array_equal(compiled(dropout(kind, 0.0))(inputs), inputs)


def trained_by(optimizer: keras.optimizers.Optimizer, gradients: np.ndarray) -> list[np.ndarray]:
    """Two variables after a step for each row of gradients, at a rate that changes."""
    generator = np.random.default_rng(0)
    variables = [keras.Variable(generator.normal(size=shape), dtype="float32") for shape in SHAPES]
    optimizer.build(variables)

    @tf.function
    def step(matrix: tf.Tensor, vector: tf.Tensor) -> None:
        optimizer.apply([matrix, vector], variables)

    for number, row in enumerate(gradients):
        optimizer.learning_rate.assign(0.01 / (1 + number))
        step(row[:12].reshape(4, 3), row[12:])
    state = [variable for variable in optimizer.variables if "learning_rate" not in variable.path]
    return [variable.numpy() for variable in (*variables, *state)]


def test_nadam_equals_that_of_keras_in_weights_and_state() -> None:
    scales = 10.0 ** np.arange(-4, 4)
    gradients = np.random.default_rng(1).normal(size=(8, 15)) * scales[:, None]
    received = trained_by(xla.Nadam(0.01), gradients.astype(np.float32))
    expected = trained_by(keras.optimizers.Nadam(0.01), gradients.astype(np.float32))
    assert len(received) == len(expected) == 2 + 4 + 2  # variables, moments, steps, decay product
    for ours, keras_own in zip(received, expected, strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-5, atol=1e-7)


def test_nadam_keeps_nothing_of_a_step_for_the_next() -> None:
    """Run eagerly: factors kept from the first step would be those of every later one."""
    ours, keras_own = (keras.Variable(np.ones(3, np.float32)) for _ in range(2))
    optimizers = xla.Nadam(0.1), keras.optimizers.Nadam(0.1)
    for factor in (1.0, -3.0, 2.0):
        for optimizer, variable in zip(optimizers, (ours, keras_own), strict=True):
            optimizer.apply([tf.constant([1.0, 2.0, 3.0]) * factor], [variable])
    np.testing.assert_allclose(ours.numpy(), keras_own.numpy(), rtol=1e-5)
