import keras
import numpy as np
import tensorflow as tf

from pipeline.training.optimizers import Nadam

SHAPES = ((4, 3), (3,))


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
    received = trained_by(Nadam(0.01), gradients.astype(np.float32))
    expected = trained_by(keras.optimizers.Nadam(0.01), gradients.astype(np.float32))
    assert len(received) == len(expected) == 2 + 4 + 2  # variables, moments, steps, decay product
    for ours, keras_own in zip(received, expected, strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-5, atol=1e-7)


def test_nadam_keeps_nothing_of_a_step_for_the_next() -> None:
    """Run eagerly: factors kept from the first step would be those of every later one."""
    ours, keras_own = (keras.Variable(np.ones(3, np.float32)) for _ in range(2))
    optimizers = Nadam(0.1), keras.optimizers.Nadam(0.1)
    for factor in (1.0, -3.0, 2.0):
        for optimizer, variable in zip(optimizers, (ours, keras_own), strict=True):
            optimizer.apply([tf.constant([1.0, 2.0, 3.0]) * factor], [variable])
    np.testing.assert_allclose(ours.numpy(), keras_own.numpy(), rtol=1e-5)
