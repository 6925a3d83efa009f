"""Initial weights, penalties, outputs and the order of layers are those that are declared."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_networks import build, pairs, small, standard_images, standardized

from pipeline.base import InputError
from pipeline.comparisons import Variant
from pipeline.comparisons.twenty_layers import BN, ELU
from pipeline.training.models import trained_output

HIDDEN = ("dense_1", "dense_2", "dense_3")
EQUAL = small(ELU, kernel_initializer="equal(he_normal)", output_initializer="equal(he_normal)")
INITIALIZERS = ("kernel_initializer", "bias_initializer", "output_initializer")


def kernels(model: keras.Model, *layers: str) -> list[np.ndarray]:
    return [model.get_layer(one).kernel.numpy() for one in layers]


def part(model: keras.Model, below: str, above: str) -> keras.Model:
    return keras.Model(model.get_layer(below).output, model.get_layer(above).output)


def test_equal_weights_are_one_draw_for_each_kernel_from_the_distribution() -> None:
    drawn = []
    for seed in range(10):
        found = kernels(build(EQUAL, seed=seed), *HIDDEN, "probabilities")
        for kernel in found:
            assert len(np.unique(kernel)) == 1
        drawn.append([float(kernel[0, 0]) for kernel in found])
    assert len(np.unique(drawn)) == 40
    # He's standard deviation of a kernel of 192, and of 16 rows.
    np.testing.assert_allclose(
        np.std(drawn, axis=0), np.sqrt(2 / np.array([192, 16, 16, 16])), rtol=0.6
    )
    first = keras.initializers.HeNormal(seed=1)((3, 2))
    assert len(np.unique(first)) == 6  # elsewhere it is what it was


@pytest.mark.parametrize(
    ("initializer", "expected"),
    [("zeros", 0), ("constant(0.1)", 0.1), ("equal(constant(0.2))", 0.2)],
)
def test_weights_that_are_not_drawn_are_as_declared(initializer: str, expected: float) -> None:
    changes = dict.fromkeys(("kernel_initializer", "output_initializer"), initializer)
    model = build(small(ELU, **changes, bias_initializer=initializer))
    for kernel in kernels(model, *HIDDEN, "probabilities"):
        np.testing.assert_array_equal(kernel, np.float32(expected))
    for name in HIDDEN:
        np.testing.assert_array_equal(model.get_layer(name).bias, np.float32(expected))
    np.testing.assert_array_equal(model.get_layer("probabilities").bias, 0)


def test_biases_are_drawn_anew_for_every_layer_and_kernels_stay_as_they_are_without() -> None:
    drawn = small(ELU, units=400, bias_initializer="random_normal(stddev=0.1)")
    model, usual = build(drawn), build(small(ELU, units=400))
    biases = [model.get_layer(name).bias.numpy() for name in HIDDEN]
    np.testing.assert_allclose(np.std(biases, axis=1), 0.1, rtol=0.15)
    assert np.abs(np.corrcoef(biases) - np.eye(3)).max() < 0.2
    for one, other in zip(kernels(model, *HIDDEN), kernels(usual, *HIDDEN), strict=True):
        np.testing.assert_array_equal(one, other)
    # Of the same numbers as the kernel, a bias would be a weight of it in disguise.
    same = build(small(drawn, kernel_initializer="random_normal(stddev=0.1)", units=400))
    kernel, bias = same.get_layer("dense_2").get_weights()
    assert abs(np.corrcoef(kernel[0], bias)[0, 1]) < 0.2


def test_a_seed_gives_other_draws() -> None:
    first, second = (kernels(build(EQUAL, seed=seed), "dense_2")[0] for seed in (1, 2))
    assert (first != second).all()


@pytest.mark.parametrize(
    ("variant", "layers"),
    [
        (small(ELU, convolution_filters=2), ("convolution", *HIDDEN, "probabilities")),
        (small(ELU, output_activation="sigmoid"), (*HIDDEN, "logits")),
        (small(ELU, arms="shared"), (*HIDDEN, "joint", "logit")),
    ],
)
def test_all_kernels_are_penalised_and_nothing_else(
    variant: Variant, layers: tuple[str, ...]
) -> None:
    model = build(small(variant, kernel_regularizer="l2(0.01)"), for_training=True)
    expected = [0.01 * np.square(kernel).sum() for kernel in kernels(model, *layers)]
    np.testing.assert_allclose(sorted(model.losses), sorted(expected), rtol=1e-5)
    assert not build(variant, for_training=True).losses


@pytest.mark.parametrize("for_training", [False, True])
def test_outputs_that_are_not_softmax_are_divided_by_their_sum(for_training: bool) -> None:
    model = build(small(ELU, output_activation="sigmoid"), for_training=for_training)
    logits = np.random.default_rng(0).normal(0, 3, (50, 4)).astype(np.float32)
    logits[0], logits[1] = -200, [200, -200, -200, 200]  # sigmoids of 0
    of_logits = keras.Model(model.get_layer("logits").output, [trained_output(model), model.output])
    outputs, probabilities = (one.numpy() for one in of_logits(logits))
    expected = 1 / (1 + np.exp(-logits.astype(np.float64)))
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-30)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(probabilities[2:], (expected.T / expected.sum(1)).T[2:], rtol=1e-5)
    np.testing.assert_allclose(probabilities[:2], [[0.25] * 4, [0.5, 0, 0, 0.5]], atol=1e-6)


def test_a_softmax_of_softmax_is_what_is_predicted() -> None:
    model = build(small(ELU, output_activation="softmax(softmax(x))"))
    logits = np.random.default_rng(0).normal(0, 3, (50, 4)).astype(np.float32)
    once, twice = keras.ops.softmax(logits), part(model, "logits", "probabilities")(logits)
    np.testing.assert_allclose(twice, keras.ops.softmax(once), rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*from_logits=True")
@pytest.mark.parametrize("from_logits", [False, True])
def test_keras_computes_losses_of_saturated_outputs_by_their_logits(from_logits: bool) -> None:
    """So training sees no loss of infinity, and `from_logits=True` on softmax changes nothing."""
    images = standard_images(8)
    for activation, loss in {
        "softmax": keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits),
        "sigmoid": keras.losses.BinaryCrossentropy(from_logits=from_logits),
    }.items():
        model = build(small(ELU, output_activation=activation), for_training=True)
        last = "probabilities" if activation == "softmax" else "logits"
        model.get_layer(last).bias.assign([300, 0, 0, 0])
        trained = keras.Model(model.input, trained_output(model))
        labels = np.full(8, 3) if activation == "softmax" else np.tile([0, 0, 0, 1], (8, 1))
        # Keras warns that the outputs are no logits; that is the slip that is measured.
        found = tf.function(lambda x, of=trained, by=labels, how=loss: how(by, of(x)))(images)
        assert found > (200 if activation == "softmax" else 60)
        assert np.isfinite(found)


def test_batch_normalization_stands_after_the_activation_where_declared() -> None:
    model = build(small(BN, hidden_layers=2, normalization_place="after", dropout="standard"))
    assert [layer.name for layer in model.layers[3:]] == [
        *("dense_1", "activation_1", "batch_normalization_1"),
        *("dense_2", "activation_2", "batch_normalization_2", "dropout_2", "probabilities"),
    ]


def test_a_convolution_is_of_3_x_3_standardised_pixels_with_relu() -> None:
    model = build(small(ELU, convolution_filters=5))
    images = standard_images(7)
    received = keras.Model(model.input, model.get_layer("flatten_convolution").output)(images)
    kernel, bias = model.get_layer("convolution").get_weights()
    assert (kernel.shape, bias.shape) == ((3, 3, 3, 5), (5,))
    np.testing.assert_allclose(kernel.std(), np.sqrt(2 / 27), rtol=0.2)  # He, of 27 inputs
    pixels = standardized(images).reshape(7, 8, 8, 3)
    at = np.lib.stride_tricks.sliding_window_view(pixels, (3, 3), axis=(1, 2))
    expected = np.maximum(np.einsum("nyxcij,ijcf->nyxf", at, kernel), 0).reshape(7, -1)
    np.testing.assert_allclose(received, expected, rtol=1e-3, atol=1e-4)


def test_images_smaller_than_a_convolution_are_refused() -> None:
    with pytest.raises(InputError, match=r"convolution_filters of variant 'elu'.*3 x 3"):
        build(small(ELU, convolution_filters=5), image_shape=(2, 8, 3))


@pytest.mark.parametrize("variant", [ELU, small(ELU, arms="two")], ids=["one", "two"])
def test_pixels_are_scaled_from_0_to_1_where_they_are_not_standardised(variant: Variant) -> None:
    model = build(small(variant, standardized=False))
    images = standard_images(4) if variant.arms == "one" else pairs(2)
    received = keras.Model(model.input, model.get_layer("standardize").output)(images)
    np.testing.assert_allclose(np.ravel(received), images.ravel() / 255, rtol=1e-6)


@pytest.mark.parametrize(
    "changes", [{"output_activation": "sigmoid"}, {"convolution_filters": 3}], ids=str
)
def test_pairs_take_no_other_output_and_no_convolution(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="of variant 'elu'"):
        small(ELU, arms="two", **changes)


@pytest.mark.parametrize(
    "changes",
    [
        *({setting: "0.1"} for setting in INITIALIZERS),
        {"kernel_regularizer": "0.1"},
        {"kernel_initializer": "None"},
        {"bias_initializer": "orthogonal"},  # which only kernels can have
        {"kernel_initializer": "stft"},  # nor these
        {"kernel_regularizer": "orthogonal_regularizer(0.1)", "convolution_filters": 3},
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused_by_the_name_of_its_setting(changes: dict[str, str]) -> None:
    setting = next(iter(changes))
    with pytest.raises(InputError, match=f"^{setting} of variant 'elu'"):
        build(small(ELU, **changes))
