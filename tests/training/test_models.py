import itertools
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from small_networks import IMAGE_SHAPE, build, pairs, small, standard_images, standardized

from pipeline.base import InputError
from pipeline.comparisons import Variant
from pipeline.comparisons.digits import DIGITS, DIGITS_BN
from pipeline.comparisons.pairs import PAIRS_SHARED, PAIRS_TWO
from pipeline.comparisons.pretraining import ARM_FROZEN
from pipeline.comparisons.transfer import CACHED, FROZEN, TOP_TWO, UNFROZEN
from pipeline.comparisons.twenty_layers import ALPHA_DROPOUT, BN, ELU, ONE_CYCLE, SELU
from pipeline.training.models import build_model, summary
from pipeline.training.settings import refuse_unknown


def names(model: keras.Model) -> list[str]:
    return [layer.name for layer in model.layers]


def test_summary_is_whole_whatever_the_terminal_and_the_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    model = build(small(BN, name="bn_" + "long" * 10, units=1234))
    lines = summary(model).splitlines()
    assert lines[0].split() == ["Layer", "Type", "Output", "shape", "Parameters"]
    assert len(lines) == 1 + len(model.layers) + 2
    row = next(line for line in lines if "batch_normalization_3" in line)
    assert row.split() == [
        *("batch_normalization_3", "BatchNormalization", "(None,", "1234)", "4,936"),
    ]
    counts = [int(number.replace(",", "")) for number in re.findall(r"\b\d[\d,]*", lines[-1])]
    assert counts[-3:] == [model.count_params(), *_counts(model)]
    assert lines[-1].startswith(f"{model.name}: ")


def _counts(model: keras.Model) -> list[int]:
    return [
        sum(int(np.prod(one.shape)) for one in of)
        for of in (model.trainable_weights, model.non_trainable_weights)
    ]


def test_model_takes_raw_images_and_gives_probabilities() -> None:
    model = build(ELU)
    assert (model.input.dtype, model.input_shape) == ("uint8", (None, 8, 8, 3))
    probabilities = model.predict(standard_images(5), verbose=0)
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (5, 4))
    assert (probabilities >= 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)


def test_first_layers_standardize_as_numpy_does() -> None:
    model = build(small(SELU))
    images = np.random.default_rng(0).integers(0, 256, (6, *IMAGE_SHAPE), dtype=np.uint8)
    received = keras.Model(model.input, model.get_layer("standardize").output)(images)
    np.testing.assert_allclose(received, standardized(images), rtol=1e-5, atol=1e-6)


def test_batch_normalization_stands_between_dense_layer_and_activation() -> None:
    model = build(small(BN, hidden_layers=2))
    kinds = [type(layer) for layer in model.layers]
    hidden = [keras.layers.Dense, keras.layers.BatchNormalization, keras.layers.Activation]
    first = [keras.layers.InputLayer, keras.layers.Flatten, keras.layers.Normalization]
    assert kinds == [*first, *hidden, *hidden, keras.layers.Dense]
    for before, after in itertools.pairwise(model.layers[1:]):
        assert after.input is before.output


@pytest.mark.parametrize(("variant", "activation"), [(ELU, keras.ops.elu), (SELU, keras.ops.selu)])
def test_dense_layers_are_linear_and_activations_the_variants(
    variant: Variant, activation: Any
) -> None:
    model = build(small(variant))
    values = np.linspace(-3, 3, 16, dtype=np.float32)[None]
    for number in (1, 2, 3):
        assert model.get_layer(f"dense_{number}").activation is keras.activations.linear
        received = model.get_layer(f"activation_{number}")(values)
        np.testing.assert_array_equal(received, activation(values))
    assert model.get_layer("probabilities").activation is keras.activations.softmax


@pytest.mark.parametrize(("variant", "gain"), [(ELU, 2), (BN, 2), (SELU, 1), (ONE_CYCLE, 1)])
def test_initial_kernels_are_scaled_by_fan_in(variant: Variant, gain: float) -> None:
    model = build(variant)
    kernels = [model.get_layer(f"dense_{number}").kernel.numpy() for number in range(1, 21)]
    assert [kernel.shape for kernel in kernels] == [(192, 100), *[(100, 100)] * 19]
    for kernel in kernels:
        np.testing.assert_allclose(kernel.std(), np.sqrt(gain / len(kernel)), rtol=0.03)
        np.testing.assert_allclose(kernel.mean(), 0, atol=0.01)
    # Every layer draws its own: equal kernels would be correlated fully.
    flat = np.array([kernel.ravel() for kernel in kernels[1:]])
    assert np.abs(np.corrcoef(flat) - np.eye(19)).max() < 0.06


def test_weights_depend_on_the_seed_alone() -> None:
    first, same, other = (build(small(BN), seed=seed).get_weights() for seed in (1, 1, 2))
    assert len(first) == 3 * 6 + 2
    for one, another in zip(first, same, strict=True):
        np.testing.assert_array_equal(one, another)
    kernels = [index for index, weights in enumerate(first) if weights.ndim == 2]
    assert len(kernels) == 4
    for index in kernels:
        assert (first[index] == other[index]).mean() < 0.01


@pytest.mark.parametrize(("layers", "after"), [("last", [3]), ("all", [1, 2, 3])])
def test_dropout_stands_before_the_output_or_after_every_hidden_layer(
    layers: str, after: list[int]
) -> None:
    model = build(small(ALPHA_DROPOUT, dropout_layers=layers))
    hidden: list[str] = []
    for number in (1, 2, 3):
        hidden += [f"dense_{number}", f"activation_{number}"]
        hidden += [f"dropout_{number}"] * (number in after)
    assert names(model)[3:] == [*hidden, "probabilities"]
    dropouts = [model.get_layer(f"dropout_{number}") for number in after]
    assert {type(layer) for layer in dropouts} == {keras.layers.AlphaDropout}
    assert {layer.rate for layer in dropouts} == {0.1}
    assert len({layer.seed for layer in dropouts}) == len(after)


def test_variants_without_dropout_have_no_dropout_layer() -> None:
    assert not [name for name in names(build(small(SELU))) if name.startswith("dropout")]


@pytest.mark.parametrize("arms", ["one", "two", "shared"])
@pytest.mark.parametrize("kind", ["alpha", "standard"])
def test_weights_of_the_training_model_fit_the_stock_model(kind: str, arms: str) -> None:
    variant = small(
        ALPHA_DROPOUT,
        dropout=kind,
        self_normalizing=kind == "alpha",
        dropout_layers="all",
        arms=arms,
    )
    training, stock = build(variant, seed=1, for_training=True), build(variant, seed=2)
    images = standard_images(20) if arms == "one" else pairs(20)
    assert not np.allclose(training(images), stock(images), atol=1e-3)
    stock.set_weights(training.get_weights())
    np.testing.assert_allclose(training(images), stock(images), rtol=1e-5, atol=1e-6)
    assert {type(layer).__module__.split(".")[0] for layer in stock.layers} == {"keras"}


@pytest.mark.parametrize(
    ("variant", "n_classes", "parameters", "trainable"),
    [
        # 784 x 100 + 100, four times 100 x 100 + 100, and 100 x 5 + 5.
        (DIGITS, 5, 119_405, 119_405),
        # Of each of 500 units scale, shift, and two moving statistics that are not trained.
        (DIGITS_BN, 5, 121_405, 120_405),
        (FROZEN, 5, 121_405, 505),
        (CACHED, 5, 121_405, 505),
        # Two layers of 100 x 100 + 100 + 200, and the output.
        (TOP_TWO, 5, 110_905, 21_105),
        (UNFROZEN, 5, 110_905, 110_105),
        (ARM_FROZEN, 10, 121_910, 1_010),
        # Arms of 118,900 and 4 x 500, then 200 x 10 + 10, and 10 + 1.
        (PAIRS_TWO, 2, 243_821, 241_821),
        (PAIRS_SHARED, 2, 122_921, 121_921),
    ],
    ids=lambda one: getattr(one, "name", None),
)
@pytest.mark.parametrize("for_training", [False, True])
def test_parameter_counts(
    variant: Variant, n_classes: int, parameters: int, trainable: int, for_training: bool
) -> None:
    statistics = np.ones(784, np.float32)
    shape = (28, 28, 1) if variant.arms == "one" else (2, 28, 28, 1)
    splits: Any = SimpleNamespace(
        image_shape=shape, n_classes=n_classes, mean=statistics, variance=statistics
    )
    model = build_model(variant, splits, seed=0, for_training=for_training)
    assert (model.count_params(), sum(_counts(model))) == (parameters, parameters)
    assert _counts(model)[0] == trainable


@pytest.mark.parametrize("arms", ["two", "shared"])
@pytest.mark.parametrize("for_training", [False, True])
def test_only_arms_of_the_same_weights_make_the_same_of_the_same_image(
    arms: str, for_training: bool
) -> None:
    model = build(small(BN, arms=arms), for_training=for_training)
    hidden = keras.Model(model.input, model.get_layer("joined").output)
    images = standard_images(6)
    first, second = np.split(hidden(np.stack([images, images], axis=1)).numpy(), 2, axis=1)
    assert first.shape == (6, 16)
    assert np.allclose(first, second, rtol=1e-5, atol=1e-6) == (arms == "shared")
    # Each arm sees its own image.
    first_of_others, second_of_same = np.split(
        hidden(np.stack([images[::-1], images], axis=1)).numpy(), 2, axis=1
    )
    np.testing.assert_allclose(second_of_same, second, rtol=1e-5, atol=1e-6)
    assert not np.allclose(first_of_others, first, atol=0.1)


@pytest.mark.parametrize("arms", ["two", "shared"])
def test_the_arms_make_of_an_image_what_a_network_of_one_arm_does(arms: str) -> None:
    paired, single = build(small(BN, arms=arms)), build(small(BN))
    for number in (1, 2, 3):
        for kind in ("dense", "batch_normalization"):
            weights = paired.get_layer(f"{kind}_{number}").get_weights()
            single.get_layer(f"{kind}_{number}").set_weights(weights)
    images = pairs(7)
    joined = keras.Model(paired.input, paired.get_layer("joined").output)(images)
    alone = keras.Model(single.input, single.get_layer("activation_3").output)(images[:, 0])
    np.testing.assert_allclose(joined[:, :16], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("arms", ["two", "shared"])
def test_pairs_have_one_logistic_output(arms: str) -> None:
    model = build(small(ELU, arms=arms, joint_units=7))
    assert (model.input.dtype, model.input_shape) == ("uint8", (None, 2, *IMAGE_SHAPE))
    assert model.get_layer("joint").kernel.shape == (32, 7)
    assert model.get_layer("joint_activation").activation is keras.activations.elu
    logit = keras.Model(model.input, model.get_layer("logit").output)(pairs(9)).numpy()
    assert logit.shape == (9, 1)
    same = 1 / (1 + np.exp(-logit.astype(np.float64)))
    probabilities = model(pairs(9)).numpy()
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, np.hstack([1 - same, same]), rtol=1e-5)


def test_frozen_layers_are_not_trained_and_stay_so_when_loaded(tmp_path: Path) -> None:
    variant = small(BN, starts_from="bn", reused_layers=3, frozen_layers=2)
    model = build(variant)
    model.save(tmp_path / "model.keras")
    for one in (model, keras.models.load_model(tmp_path / "model.keras")):
        trained = {weight.path.split("/")[0] for weight in one.trainable_weights}
        assert trained == {"dense_3", "batch_normalization_3", "probabilities"}


@pytest.mark.parametrize("for_training", [True, False])
@pytest.mark.parametrize(
    ("changes", "expected", "action"),
    [
        ({"activation": "swich"}, "a Keras activation, such as elu", "Did you mean 'swish'?"),
        ({"activation": "xyz"}, "a Keras activation, such as elu", "Correct it"),
        ({"activation": "leaky_relu(alpha=0.1)"}, "a Keras activation", "argument 'alpha'"),
        ({"activation": "x * tahn(x)"}, "a Keras activation", "Did you mean 'tanh'?"),
        ({"activation": "x * y"}, "a Keras activation", "'y' is unknown"),
        ({"activation": "mean(x)"}, "a Keras activation", "it gives float32 of shape ()"),
        ({"activation": "greater(x, 0)"}, "a Keras activation", "it gives bool of shape"),
        ({"activation": "while_loop(x, x, x)"}, "a Keras activation", "Correct it"),
        ({"activation": "x * 9 ** 9 ** 9"}, "a Keras activation", "out of range"),
        ({"output_activation": "elu"}, "a Keras activation", "it gives numbers below 0"),
        ({"kernel_initializer": "he_norm"}, "an initializer of Keras", "mean 'he_normal'?"),
        ({"kernel_initializer": "stft"}, "an initializer of Keras", "Correct it"),
        ({"kernel_initializer": "initializer"}, "an initializer of Keras", "must implement"),
        ({"kernel_initializer": "equal"}, "an initializer of Keras", "'initializer'"),
        ({"bias_initializer": "constnat(0.1)"}, "an initializer of Keras", "mean 'constant'?"),
        ({"output_initializer": "he_normal(scale=2)"}, "an initializer of", "argument 'scale'"),
        ({"kernel_regularizer": "l1_12"}, "a regularizer of Keras", "mean 'l1_l2'?"),
    ],
)
def test_what_keras_does_not_know_is_refused(
    changes: dict[str, str], expected: str, action: str, for_training: bool
) -> None:
    ((setting, name),) = changes.items()
    with pytest.raises(InputError) as refused:
        build(small(ELU, name="mine", **changes), for_training=for_training)
    assert refused.value.subject == f"{setting} of variant 'mine'"
    assert refused.value.expected.startswith(expected)
    assert refused.value.received == repr(name)
    assert action in refused.value.action
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match=re.escape(str(refused.value))):
        refuse_unknown([ELU, small(ELU, name="mine", **changes)])


@pytest.mark.parametrize(
    ("changes", "meant"),
    [
        ({"optimizer": "nadamm"}, "Did you mean 'nadam'?"),
        ({"optimizer": "sgd(momentum=2)"}, "momentum"),
        ({"loss": "categorical_crosentropy"}, "Did you mean 'categorical_crossentropy'?"),
        ({"output_initializer": "he_norm"}, "Did you mean 'he_normal'?"),
    ],
)
def test_what_is_no_layer_is_looked_at_before_training_too(
    changes: dict[str, str], meant: str
) -> None:
    ((setting, _),) = changes.items()
    with pytest.raises(InputError, match=rf"^{setting} of variant 'mine'.*{re.escape(meant)}"):
        refuse_unknown([ELU, small(ELU, name="mine", **changes)])


def test_any_activation_and_initializer_of_keras_can_be_declared() -> None:
    model = build(small(BN, activation="swish", kernel_initializer="orthogonal"), for_training=True)
    assert model.get_layer("activation_1").activation is keras.activations.swish


@pytest.mark.parametrize("variant", [BN, PAIRS_SHARED, PAIRS_TWO])
def test_mirrored_prediction_is_in_the_network_of_stock_layers_and_is_served(
    variant: Variant, tmp_path: Path
) -> None:
    images = standard_images(6) if variant.arms == "one" else pairs(6)
    plain = build(small(variant))
    model = build(small(variant, mirrored_prediction=True))
    expected = (plain(images).numpy() + plain(images[..., ::-1, :]).numpy()) / 2
    assert np.abs(expected - plain(images).numpy()).max() > 1e-3
    np.testing.assert_allclose(model(images), expected, rtol=1e-5, atol=1e-7)
    assert names(model) == names(plain)
    assert model.layers[-1].name == "probabilities"
    model.save(tmp_path / "model.keras")
    served = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(served(images), expected, rtol=1e-5, atol=1e-7)
    trained = build(small(variant, mirrored_prediction=True), for_training=True)
    np.testing.assert_allclose(trained(images), plain(images), rtol=1e-4, atol=1e-6)
