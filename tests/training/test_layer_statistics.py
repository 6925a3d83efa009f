"""What is known of hidden layers, against NumPy and by networks of which it is known."""

import keras
import numpy as np
import pytest
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


def test_the_gradient_is_that_of_the_mean_cross_entropy_of_the_first_1000_by_the_kernel() -> None:
    model, images = build(small(ELU), for_training=True), standard_images(1300)
    labels = np.random.default_rng(0).integers(4, size=1300)
    names = ("dense_1", "dense_2", "dense_3", "probabilities")
    kernels = [model.get_layer(name).kernel.numpy() for name in names]
    hidden = [standardized(images)[:1000].astype(np.float64)]
    for kernel in kernels[:-1]:
        made = hidden[-1] @ kernel
        hidden.append(np.where(made > 0, made, np.expm1(made)))
    shares = np.exp(hidden[-1] @ kernels[-1])
    slopes = (shares / shares.sum(axis=1, keepdims=True) - np.eye(4)[labels[:1000]]) / 1000
    expected = []
    for number in (3, 2, 1):
        slopes = slopes @ kernels[number].T * (1 + np.minimum(hidden[number], 0))
        expected.append(np.linalg.norm(hidden[number - 1].T @ slopes))
    found = HiddenLayers(model).statistics(images, labels)["gradient_norm"]
    np.testing.assert_allclose(found[::-1], expected, rtol=1e-3)


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
    model.get_layer("dense_3").bias.assign(np.ones(16))  # of which all are above 0 for the first
    images = images[: highest + 1]  # it is the last
    found = HiddenLayers(model).statistics(images, np.zeros(len(images), int))
    assert found["dead_units"][0] == 0.25
    assert found["rank"][0] == 0
    assert of_network(found)["dead_units"] == pytest.approx(np.mean(found["dead_units"]))


def test_a_unit_that_is_below_0_for_every_image_is_not_dead() -> None:
    model = build(small(ELU))
    model.get_layer("dense_1").bias.assign(np.full(16, -200.0))  # of which ELU makes -1
    found = statistics(model)
    assert (found["mean"][0], found["standard_deviation"][0]) == (-1, 0)
    assert (found["distinct_units"][0], found["rank"][0]) == (1, 1)
    assert found["dead_units"] == [0, 0, 0]


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


def test_0_and_minus_0_are_equal() -> None:
    model = build(small(ELU, activation="silu"))
    # Of -200, SiLU makes -0.
    model.get_layer("dense_1").set_weights([np.zeros((192, 16)), np.repeat([0.0, -200.0], 8)])
    found = statistics(model)
    assert (found["distinct_units"][0], found["dead_units"][0], found["rank"][0]) == (1, 1, 0)


@pytest.mark.parametrize(("difference", "rank"), [(1e-2, 16), (1e-5, 15)])
def test_a_unit_counts_to_the_rank_that_differs_by_more_than_single_precision_tells(
    difference: float, rank: int
) -> None:
    model = build(small(ELU))
    layer = model.get_layer("dense_1")
    kernel, bias = layer.get_weights()
    kernel[:, 3] = kernel[:, 2]
    kernel[0, 3] += difference
    layer.set_weights([kernel, bias])
    found = statistics(model)
    hidden = model.get_layer("activation_1").output
    outputs = keras.Model(model.input, hidden)(standard_images(1000)).numpy()
    assert found["rank"][0] == np.linalg.matrix_rank(outputs) == rank
    assert found["distinct_units"][0] == 16


def test_with_equal_weights_all_units_are_one_and_the_rank_is_1() -> None:
    equal = "equal(he_normal)"
    found = statistics(build(small(ELU, kernel_initializer=equal, output_initializer=equal)))
    assert (found["distinct_units"], found["rank"]) == ([1, 1, 1], [1, 1, 1])


@pytest.mark.parametrize("variant", [small(BN, arms="shared"), small(BN, arms="two")])
def test_of_pairs_they_are_of_the_first_arm(variant: Variant) -> None:
    model, images = build(variant), pairs(40)
    found = HiddenLayers(model).statistics(images, np.arange(40) % 2)
    assert {len(of) for of in found.values()} == {3}
    assert min(found.pop("gradient_norm")) > 0
    alone = build(small(BN))
    for layer in alone.layers:
        if layer.name.startswith(("dense_", "batch_normalization_")):
            layer.set_weights(model.get_layer(layer.name).get_weights())
    seen = images.reshape(80, 8, 8, 3) if variant.arms == "shared" else images[:, 0]
    of_images = HiddenLayers(alone).statistics(seen, np.zeros(len(seen), int))
    for name, received in found.items():
        np.testing.assert_allclose(received, of_images[name], rtol=1e-5, err_msg=name)


@pytest.mark.filterwarnings("error")
def test_activations_that_are_not_finite_have_no_rank() -> None:
    model = build(RELU)
    layer = model.get_layer("dense_2")
    layer.kernel.assign(np.full(layer.kernel.shape, 3e38))  # of which no number is left
    found = statistics(model, 50)
    assert (found["rank"][0], found["rank"][1]) == (16, 0)
