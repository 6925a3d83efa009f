"""What is known of hidden layers, against NumPy and by networks of which it is known."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_networks import build, pairs, small, standard_images, standardized

from pipeline.comparisons import Variant
from pipeline.comparisons.twenty_layers import BN, ELU, SELU
from pipeline.training.layer_statistics import HiddenLayers, Statistics, of_network

RELU = small(ELU, activation="relu")


def statistics(model: keras.Model, n: int = 1000) -> Statistics:
    return HiddenLayers(model).statistics(standard_images(n), np.arange(n) % 4)


def test_they_equal_a_numpy_forward_pass_of_the_first_1000_images() -> None:
    model = build(small(ELU))
    for number in (1, 2, 3):  # biases start at 0 and would not be noticed
        model.get_layer(f"dense_{number}").bias.assign(np.linspace(-1, 1, 16))
    found = statistics(model, 1300)
    hidden = standardized(standard_images(1300)[:1000]).astype(np.float64)
    for number in (1, 2, 3):
        layer = model.get_layer(f"dense_{number}")
        hidden = hidden @ layer.kernel.numpy() + layer.bias.numpy()
        hidden = np.where(hidden > 0, hidden, np.expm1(hidden))
        received = [found[name][number - 1] for name in ("mean", "standard_deviation", "rank")]
        expected = [hidden.mean(), hidden.std(), np.linalg.matrix_rank(hidden.astype(np.float32))]
        np.testing.assert_allclose(received, expected, rtol=1e-4)


def test_selu_self_normalizes_at_initialization_and_elu_does_not() -> None:
    found = statistics(build(SELU))
    assert {len(of) for of in found.values()} == {20}
    np.testing.assert_allclose(found["mean"], 0, atol=0.1)
    np.testing.assert_allclose(found["standard_deviation"], 1, atol=0.15)
    found = statistics(build(ELU))
    assert min(found["mean"]) > 0.2
    assert found["standard_deviation"][0] < 1.2
    assert found["standard_deviation"][-1] > 1.6


def test_the_gradient_is_that_of_the_mean_cross_entropy_by_the_kernel() -> None:
    model = build(small(ELU), for_training=True)
    images, labels = standard_images(100), np.arange(100) % 4
    found = HiddenLayers(model).statistics(images, labels)["gradient_norm"]
    random, predict = np.random.default_rng(0), tf.function(model)
    for number, norm in enumerate(found, start=1):
        kernel = model.get_layer(f"dense_{number}").kernel
        weights, slopes = kernel.numpy(), []
        for _ in range(20):
            step, losses = 1e-3 * random.normal(size=weights.shape), []
            for there in (weights - step, weights + step):
                kernel.assign(there)
                probabilities = predict(images).numpy()[np.arange(100), labels]
                losses.append(-np.log(probabilities.astype(np.float64)).mean())
            slopes.append((losses[1] - losses[0]) / 2e-3)
        kernel.assign(weights)
        # In directions that are drawn, slopes are normal numbers times the norm.
        assert np.sqrt(np.mean(np.square(slopes))) == pytest.approx(norm, rel=0.5)


def test_a_unit_is_dead_that_is_0_for_every_image_and_not_one_that_is_so_for_most() -> None:
    model = build(RELU)
    layer, images = model.get_layer("dense_1"), standard_images(2500)
    kernel = np.zeros((192, 16), np.float32)
    kernel[0] = 1
    bias = np.full(16, -standardized(images)[:, 0].max(), np.float32)
    highest = standardized(images)[:, 0].argmax()
    assert highest >= 1000  # it is not among the first, by which the others are found
    bias[4:] += 0.01  # these are above 0 for that image alone
    layer.set_weights([kernel, bias])
    found = HiddenLayers(model).statistics(images, np.zeros(2500, int))
    assert found["dead_units"][0] == 0.25
    assert found["rank"][0] == 0
    assert of_network(found)["dead_units"] == pytest.approx(np.mean(found["dead_units"]))


def test_units_that_are_equal_for_all_images_are_one() -> None:
    model = build(RELU)
    layer = model.get_layer("dense_2")
    kernel, bias = layer.get_weights()
    kernel[:, 3], kernel[:, 5], kernel[:, 7] = kernel[:, 2], -1, 0  # 5 and 7 are 0 throughout
    layer.set_weights([kernel, bias])
    found = statistics(model)
    assert found["distinct_units"][:2] == [16, 14]
    assert found["rank"][1] == 13
    assert of_network(found)["distinct_units"] == min(found["distinct_units"])
    assert of_network(found)["activation_rank"] == min(found["rank"])


def test_with_equal_weights_all_units_are_one_and_the_rank_is_1() -> None:
    equal = "equal(he_normal)"
    found = statistics(build(small(ELU, kernel_initializer=equal, output_initializer=equal)))
    assert (found["distinct_units"], found["rank"]) == ([1, 1, 1], [1, 1, 1])


@pytest.mark.parametrize("variant", [small(BN, arms="shared"), small(BN, arms="two")])
def test_of_pairs_they_are_of_the_first_arm(variant: Variant) -> None:
    found = HiddenLayers(build(variant)).statistics(pairs(40), np.arange(40) % 2)
    assert {len(of) for of in found.values()} == {3}
    assert min(found["gradient_norm"]) > 0


@pytest.mark.filterwarnings("error")
def test_activations_that_are_not_finite_have_no_rank() -> None:
    model = build(RELU)
    layer = model.get_layer("dense_2")
    layer.kernel.assign(np.full(layer.kernel.shape, 3e38))  # of which no number is left
    found = statistics(model, 50)
    assert (found["rank"][0], found["rank"][1]) == (16, 0)
