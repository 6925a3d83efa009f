"""MC Dropout against every mask written out by hand."""

import itertools
import math
import random
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats

from pipeline.base import InputError
from pipeline.comparisons.digits import DIGITS_DROPOUT
from pipeline.training.models import build_model
from pipeline.uncertainty.sampling import (
    dropout_layers,
    mc_probabilities,
    mutual_information,
    predictive_entropy,
)

UNITS, CLASSES, RATE = 4, 8, 0.3
MASKS = np.array(list(itertools.product([False, True], repeat=UNITS)))  # True: kept.
DROPOUTS = [keras.layers.Dropout, keras.layers.AlphaDropout]


def build(dropout=None, *, where="last", batch_norm=False, hidden_layers=3, rate=RATE):
    """A small relative of the project's network, with weights that spread its predictions."""
    weights = keras.initializers.RandomNormal(stddev=0.6, seed=7)
    outputs = inputs = keras.Input((4, 4, 1), dtype="uint8")
    outputs = keras.layers.Flatten()(outputs)
    outputs = keras.layers.Normalization(mean=np.full(16, 128.0), variance=np.full(16, 64.0**2))(
        outputs
    )
    for index in range(hidden_layers):
        outputs = keras.layers.Dense(UNITS, kernel_initializer=weights.clone())(outputs)
        if batch_norm:
            outputs = keras.layers.BatchNormalization()(outputs)
        outputs = keras.layers.Activation("selu")(outputs)
        if dropout and (where == "all" or index == hidden_layers - 1):
            # One seed for all of them, as a model built from one seed may have it.
            outputs = dropout(rate, seed=5)(outputs)
    outputs = keras.layers.Dense(CLASSES, activation="softmax", kernel_initializer=weights)(outputs)
    return keras.Model(inputs, outputs)


def images_of(count, seed=0):
    shape = (count, 4, 4, 1)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def dropped(features, mask, kind):
    """The definition of dropout (Srivastava 2014) or alpha dropout (Klambauer 2017) in NumPy."""
    if kind is keras.layers.Dropout:
        return np.where(mask, features / (1 - RATE), 0)
    saturation = -1.6732632423543772 * 1.0507009873554805
    keep = 1 - RATE
    scale = (keep + saturation**2 * keep * RATE) ** -0.5
    return scale * np.where(mask, features, saturation) - scale * RATE * saturation


def softmax_layer(model, features):
    kernel, bias = model.layers[-1].get_weights()
    return scipy.special.softmax(features @ kernel + bias, axis=-1)


def nearest(candidates, probabilities):
    """The index of the candidate (m, n, k) that each probability (s, n, k) equals."""
    # In logarithms, where two masks differ even if both are sure of the same class.
    distance = np.abs(np.log(candidates)[:, None] - np.log(probabilities)[None]).max(axis=-1)
    nearest_two = np.sort(distance, axis=0)[:2]
    np.testing.assert_array_less(nearest_two[0], 5e-5)
    assert nearest_two[1].min() > 2e-4, "two masks give the same prediction"
    return distance.argmin(axis=0)


def state_of(model):
    """Every variable of a model, seed generators included."""
    generators = [layer.seed_generator.state for layer in dropout_layers(model)]
    return [np.array(variable) for variable in [*model.variables, *generators]]


@pytest.mark.parametrize("kind", DROPOUTS)
def test_every_sample_is_the_prediction_under_one_mask(kind):
    model, images = build(kind), images_of(5)
    features = keras.Model(model.input, model.layers[-3].output).predict(images, verbose=0)
    candidates = np.stack([softmax_layer(model, dropped(features, mask, kind)) for mask in MASKS])

    samples = mc_probabilities(model, images, samples=400, seed=1)

    assert samples.shape == (400, 5, CLASSES)
    assert samples.dtype == np.float32
    kept = MASKS[nearest(candidates, samples)]  # (400, 5, UNITS)
    # 400 draws of 20 units, each kept with 0.7: 4 standard deviations of the mean are 0.092.
    np.testing.assert_allclose(kept.mean(axis=0), 1 - RATE, atol=0.092)
    # Independent between units, between images and from one sample to the next.
    correlation = np.corrcoef(kept.reshape(400, -1).T) - np.eye(5 * UNITS)
    assert np.abs(correlation).max() < 0.22
    consecutive = np.corrcoef(kept[:-1].ravel(), kept[1:].ravel())[0, 1]
    assert abs(consecutive) < 0.05


@pytest.mark.parametrize("kind", DROPOUTS)
def test_mean_of_samples_is_the_expectation_over_masks(kind):
    model, images = build(kind), images_of(3)
    features = keras.Model(model.input, model.layers[-3].output).predict(images, verbose=0)
    weight = np.prod(np.where(MASKS, 1 - RATE, RATE), axis=1)
    expectation = sum(
        share * softmax_layer(model, dropped(features, mask, kind))
        for share, mask in zip(weight, MASKS, strict=True)
    )

    samples = mc_probabilities(model, images, samples=4000, seed=3)

    standard_error = samples.std(axis=0) / math.sqrt(4000)
    np.testing.assert_array_less(
        np.abs(samples.mean(axis=0) - expectation), 5 * standard_error + 1e-6
    )


def test_dropout_in_every_layer_has_an_own_mask_in_each():
    kind = keras.layers.Dropout
    model, images = build(kind, where="all", hidden_layers=2), images_of(2)
    # Small weights keep SELU from saturating, and biases its units from 0: both would hide masks.
    kernel, bias = 0.2 * model.layers[6].get_weights()[0], np.array([0.5, -0.4, 0.8, -0.7])
    model.layers[6].set_weights([kernel, bias])
    first = keras.Model(model.input, model.layers[4].output).predict(images, verbose=0)
    # Where the second layer drops every unit (mask 0), the first layer's mask cannot be told.
    pairs = [(outer, inner) for outer in range(16) for inner in range(1, 16)] + [(0, 0)]
    candidates = []
    for outer, inner in pairs:
        second = keras.ops.selu(dropped(first, MASKS[outer], kind) @ kernel + bias)
        candidates.append(softmax_layer(model, dropped(np.array(second), MASKS[inner], kind)))

    samples = mc_probabilities(model, images, samples=300, seed=2)

    masks = MASKS[np.array(pairs)[nearest(np.stack(candidates), samples)]]  # (300, 2, 2, UNITS)
    assert len(np.unique(masks[:, :, 0].reshape(-1, UNITS), axis=0)) == 16
    assert len(np.unique(masks[:, :, 1].reshape(-1, UNITS), axis=0)) == 16
    assert abs(np.corrcoef(masks[:, :, 0].ravel(), masks[:, :, 1].ravel())[0, 1]) < 0.1


def test_a_vanishing_rate_gives_the_ordinary_prediction_in_every_sample():
    model = build(keras.layers.Dropout, where="all", batch_norm=True, rate=1e-12)
    images = images_of(9)

    samples = mc_probabilities(model, images, samples=3, seed=0, batch_size=4)

    expected = np.broadcast_to(model.predict(images, verbose=0), (3, 9, CLASSES))
    np.testing.assert_allclose(samples, expected, atol=1e-6)


def trained_batch_norm_model(where):
    """Moving statistics that differ from those of any batch."""
    model = build(keras.layers.AlphaDropout, where=where, batch_norm=True)
    for index, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, _, _ = layer.get_weights()
            layer.set_weights([gamma, beta, np.full(UNITS, 0.3 * index), np.full(UNITS, 2.0)])
    return model


@pytest.mark.parametrize("where", ["last", "all"])
def test_batch_normalisation_uses_its_moving_averages(where):
    model, images = trained_batch_norm_model(where), images_of(6)
    others = np.concatenate([images[:2], images_of(4, seed=9)])

    samples = mc_probabilities(model, images, samples=20, seed=4)
    among_others = mc_probabilities(model, others, samples=20, seed=4)

    np.testing.assert_allclose(samples[:, :2], among_others[:, :2], atol=1e-6)
    assert np.abs(samples[:, 2:] - among_others[:, 2:]).max() > 0.01


@pytest.mark.parametrize("where", ["last", "all"])
def test_weights_moving_statistics_and_seed_states_are_untouched(where):
    model = trained_batch_norm_model(where)
    before, python_state = state_of(model), random.getstate()
    numpy_state = np.random.get_state(legacy=False)

    mc_probabilities(model, images_of(6), samples=5, seed=4)

    after = state_of(model)
    assert len(after) == len(before) > 20
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(old, new)
    assert random.getstate() == python_state
    np.testing.assert_equal(np.random.get_state(legacy=False), numpy_state)


@pytest.mark.parametrize("where", ["last", "all"])
def test_the_same_seed_gives_the_same_bits_whatever_the_model_did_before(where):
    model, images = build(keras.layers.AlphaDropout, where=where), images_of(7)
    first = mc_probabilities(model, images, samples=6, seed=11, batch_size=3)

    model(images, training=True)  # Advances the dropout layers' seed generators.
    keras.utils.set_random_seed(99)
    again = mc_probabilities(model, images, samples=6, seed=11, batch_size=3)
    other = mc_probabilities(model, images, samples=6, seed=12, batch_size=3)

    np.testing.assert_array_equal(again, first)
    assert not np.array_equal(other, first)


def test_a_saved_and_loaded_model_gives_the_same_bits(tmp_path):
    model, images = build(keras.layers.AlphaDropout, where="all"), images_of(4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")

    np.testing.assert_array_equal(
        mc_probabilities(loaded, images, samples=5, seed=1),
        mc_probabilities(model, images, samples=5, seed=1),
    )


@pytest.mark.parametrize("batch_size", [1, 3, 7, 1000])
def test_any_batch_size_predicts_every_image(batch_size):
    model, images = build(keras.layers.Dropout, rate=1e-12), images_of(7)

    samples = mc_probabilities(model, images, samples=2, seed=0, batch_size=batch_size)

    assert samples.shape == (2, 7, CLASSES)
    np.testing.assert_allclose(samples[1], model.predict(images, verbose=0), atol=1e-6)


def test_equal_images_in_different_batches_have_different_masks():
    model, images = build(keras.layers.Dropout), np.repeat(images_of(1), 40, axis=0)

    samples = mc_probabilities(model, images, samples=10, seed=0, batch_size=10)

    first_batch, second_batch = samples[:, :10], samples[:, 10:20]
    assert (first_batch != second_batch).any()
    assert len(np.unique(samples[0].round(5), axis=0)) > 5


def test_no_images_give_no_probabilities():
    samples = mc_probabilities(build(keras.layers.Dropout), images_of(0), samples=3, seed=0)

    assert samples.shape == (3, 0, CLASSES)


def test_a_sequential_model_is_a_chain():
    layers = build(keras.layers.Dropout).layers
    model = keras.Sequential([keras.Input((4, 4, 1), dtype="uint8"), *layers[1:]])

    samples = mc_probabilities(model, images_of(3), samples=5, seed=0)

    assert samples.shape == (5, 3, CLASSES)
    assert np.ptp(samples, axis=0).max() > 0.01


def test_dropout_layers_lists_every_kind_that_drops():
    inputs = keras.Input((4, 4))
    kinds = [
        keras.layers.Dropout(0.1),
        keras.layers.AlphaDropout(0.1),
        keras.layers.GaussianDropout(0.1),
        keras.layers.SpatialDropout1D(0.1),
    ]
    outputs = keras.layers.Dropout(0.0)(inputs)
    for layer in kinds:
        outputs = layer(outputs)
    outputs = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(outputs))
    model = keras.Model(inputs, outputs)

    assert dropout_layers(model) == kinds
    images = np.random.default_rng(0).normal(size=(2, 4, 4))
    assert mc_probabilities(model, images, samples=4, seed=0).shape == (4, 2, 3)


@pytest.mark.parametrize("dropout", [None, keras.layers.Dropout])
def test_a_model_without_dropout_is_refused(dropout):
    model = build(dropout, rate=0.0)

    assert dropout_layers(model) == []
    with pytest.raises(InputError, match=r"no dropout layers.*such as alpha_dropout"):
        mc_probabilities(model, images_of(2), samples=2, seed=0)


def test_branches_are_joined_as_in_the_model():
    inputs = keras.Input((4,))
    dense = keras.layers.Dense(4)
    hidden = keras.layers.Dropout(0.5)(dense(inputs))
    model = keras.Model(inputs, keras.layers.Add()([inputs, hidden]))
    given = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)

    added = mc_probabilities(model, given, samples=6, seed=0) - given

    kept = np.broadcast_to(2 * dense(given).numpy(), added.shape)
    dropped = np.abs(added) < 1e-6
    assert 0.45 < dropped.mean() < 0.55
    np.testing.assert_allclose(added[~dropped], kept[~dropped], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("arms", ["two", "shared"])
def test_networks_for_pairs_are_sampled(arms):
    shape = (2, 4, 4, 1)
    statistics = np.ones(16, np.float32)
    splits: Any = SimpleNamespace(
        image_shape=shape, n_classes=2, mean=statistics, variance=statistics
    )
    variant = DIGITS_DROPOUT.derive(name="pairs", hidden_layers=2, units=16, arms=arms)
    model = build_model(variant, splits, seed=1)
    pairs = np.random.default_rng(0).integers(0, 256, (7, *shape), dtype=np.uint8)

    samples = mc_probabilities(model, pairs, samples=40, seed=0)

    assert samples.shape == (40, 7, 2)
    np.testing.assert_allclose(samples.sum(axis=2), 1, rtol=1e-5)
    assert np.ptp(samples, axis=0).min() > 0.01
    np.testing.assert_array_equal(mc_probabilities(model, pairs, samples=40, seed=0), samples)


@pytest.mark.parametrize("arms", ["one", "two"])
def test_networks_that_predict_by_mirror_images_are_sampled(arms):
    shape = (4, 4, 1) if arms == "one" else (2, 4, 4, 1)
    statistics = np.ones(16, np.float32)
    splits: Any = SimpleNamespace(
        image_shape=shape, n_classes=2, mean=statistics, variance=statistics
    )
    variant = DIGITS_DROPOUT.derive(
        name="both", hidden_layers=2, units=16, dropout_rate=0.3, arms=arms
    )
    both = variant.derive(name="mirrored", mirrored_prediction=True)
    plain, model = (build_model(one, splits, seed=1) for one in (variant, both))
    images = np.random.default_rng(0).integers(0, 256, (7, *shape), dtype=np.uint8)

    samples = mc_probabilities(model, images, samples=400, seed=0)

    expected = [
        mc_probabilities(plain, of, samples=400, seed=0).mean(axis=0)
        for of in (images, images[..., ::-1, :])
    ]
    np.testing.assert_allclose(samples.mean(axis=0), np.mean(expected, axis=0), atol=0.05)
    assert np.ptp(samples, axis=0).min() > 0.01


def model_with_a_shared_layer():
    inputs, shared = keras.Input((4,)), keras.layers.Dense(4, name="twice")
    return keras.Model(inputs, shared(keras.layers.Dropout(0.5)(shared(inputs))))


def model_with_a_bare_operation():
    inputs = keras.Input((4,))
    hidden = keras.layers.Dropout(0.5)(inputs) * 2
    return keras.Model(inputs, keras.layers.Dense(4)(hidden))


def nested_model():
    inputs = keras.Input((4,))
    inner = keras.Sequential([keras.layers.Dense(4)], name="inner")
    return keras.Model(inputs, inner(keras.layers.Dropout(0.5)(inputs)))


def model_with_two_outputs():
    inputs = keras.Input((4,))
    hidden = keras.layers.Dropout(0.5)(inputs)
    return keras.Model(inputs, [hidden, keras.layers.Dense(4)(hidden)])


@pytest.mark.parametrize(
    "graph",
    [
        model_with_a_shared_layer,
        model_with_a_bare_operation,
        nested_model,
        model_with_two_outputs,
    ],
)
def test_a_graph_that_does_more_than_apply_layers_once_is_refused(graph):
    model = graph()

    with pytest.raises(InputError, match="layers that are each applied once"):
        mc_probabilities(model, np.zeros((2, 4), np.float32), samples=2, seed=0)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((2, 4, 4, 1), np.float32),
    ],
)
def test_images_that_do_not_fit_the_input_are_refused(images):
    with pytest.raises(InputError, match=r"expected shape \(n, 4, 4, 1\) and dtype uint8"):
        mc_probabilities(build(keras.layers.Dropout), images, samples=2, seed=0)


@pytest.mark.parametrize(("name", "value"), [("samples", 0), ("batch_size", 0), ("seed", -1)])
def test_a_number_out_of_range_is_refused(name, value):
    arguments = {"samples": 2, "seed": 0, "batch_size": 10, name: value}
    with pytest.raises(InputError, match=f"{name}: expected an integer"):
        mc_probabilities(build(keras.layers.Dropout), images_of(2), **arguments)


def test_predictive_entropy_equals_scipy():
    probabilities = np.random.default_rng(5).dirichlet(np.ones(4), size=50).astype(np.float32)
    entropy = predictive_entropy(probabilities)

    assert entropy.shape == (50,)
    np.testing.assert_allclose(entropy, scipy.stats.entropy(probabilities, axis=1), rtol=1e-5)


def test_predictive_entropy_of_certainty_and_of_no_idea():
    entropy = predictive_entropy(np.array([[1, 0, 0, 0], [0.25] * 4], np.float32))

    np.testing.assert_allclose(entropy, [0, math.log(4)])


def test_mutual_information_tells_disagreement_from_doubt():
    disagree, doubt, sure = [[1, 0], [0, 1]], [[0.5, 0.5], [0.5, 0.5]], [[1, 0], [1, 0]]
    samples = np.array([disagree, doubt, sure], np.float32).transpose(1, 0, 2)

    np.testing.assert_allclose(mutual_information(samples), [math.log(2), 0, 0], atol=1e-12)


def test_mutual_information_is_the_mean_divergence_from_the_mean():
    samples = np.random.default_rng(1).dirichlet(np.ones(4), size=(20, 6))
    divergence = scipy.stats.entropy(samples, samples.mean(axis=0)[None], axis=-1).mean(axis=0)

    np.testing.assert_allclose(mutual_information(samples), divergence)
