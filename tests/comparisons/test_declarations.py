"""What can be declared: variants, questions, data and comparisons, and what of them is refused."""

import dataclasses
import itertools
import math
import re
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.base import InputError
from pipeline.comparisons import Comparison, Data, Question, Variant, twenty_layers
from pipeline.comparisons.colors import OKABE_ITO
from pipeline.comparisons.twenty_layers import ALPHA_DROPOUT, BN, ELU, ONE_CYCLE, SELU
from pipeline.comparisons.variants import default_setting

VARIANTS = {variant.name: variant for variant in twenty_layers.COMPARISON.variants}
STARTED = {"starts_from": "bn", "reused_layers": 5}
SHOWN = ("name", "description", "color", "derived_from")
# Parameters on CIFAR-10, all and trainable.
PARAMETERS = {
    "elu": (500_210, 500_210),
    "bn": (508_210, 504_210),
    "selu": (500_210, 500_210),
    "alpha_dropout": (500_210, 500_210),
    "one_cycle": (500_210, 500_210),
}


def differences(first: Variant, second: Variant) -> dict[str, Any]:
    """Settings in which the second variant differs from the first, but for how they are shown."""
    settings = dataclasses.asdict(second)
    changed = {key: value for key, value in settings.items() if value != getattr(first, key)}
    return {key: value for key, value in changed.items() if key not in SHOWN}


def expected_parameters(variant: Variant) -> tuple[int, int]:
    """All and trainable parameters on CIFAR-10: a kernel and a bias per dense layer."""
    widths = [32 * 32 * 3, *[variant.units] * variant.hidden_layers, 10]
    dense = sum(before * after + after for before, after in itertools.pairwise(widths))
    # Trained scale and shift, and two moving statistics that are not trained.
    normalized = variant.units * variant.hidden_layers * variant.batch_normalization
    return dense + 4 * normalized, dense + 2 * normalized


# --- Variants ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_count(name: str) -> None:
    import numpy as np

    from pipeline.training.models import build_model

    variant = VARIANTS[name]
    statistics = np.ones(32 * 32 * 3, np.float32)
    shapes = {"image_shape": (32, 32, 3), "n_classes": 10}
    splits: Any = SimpleNamespace(**shapes, mean=statistics, variance=statistics)
    model = build_model(variant, splits, seed=0)
    trainable = sum(weight.shape.num_elements() for weight in model.trainable_weights)
    assert (model.count_params(), trainable) == PARAMETERS[name] == expected_parameters(variant)


def test_the_baseline() -> None:
    settings = dataclasses.asdict(ELU)
    for shown in SHOWN:
        del settings[shown]
    assert settings == {
        "hidden_layers": 20,
        "units": 100,
        "activation": "elu",
        "kernel_initializer": "he_normal",
        "bias_initializer": "zeros",
        "output_initializer": "glorot_uniform",
        "output_activation": "softmax",
        "batch_normalization": False,
        "normalization_place": "before",
        "convolution_filters": 0,
        "standardized": True,
        "self_normalizing": False,
        "dropout": None,
        "dropout_rate": 0.0,
        "dropout_layers": "last",
        "loss": "sparse_categorical_crossentropy",
        "kernel_regularizer": "",
        "optimizer": "nadam",
        "learning_rate": None,
        "learning_rate_of": "",
        "schedule": "constant",
        "batch_size": 32,
        "epochs": 100,
        "patience": 20,
        "restore_best_weights": True,
        "validated_on": "validation",
        "may_diverge": False,
        "search_epochs": 10,
        "images_per_class": None,
        "mirrored_images": False,
        "shifted_pixels": 0,
        "mirrored_prediction": False,
        "arms": "one",
        "joint_units": 10,
        "starts_from": "",
        "reused_layers": 0,
        "reused_output": False,
        "frozen_layers": 0,
        "cached": False,
        "pruned": 0.0,
        "pruning": "at_start",
        "pruning_epochs": 10,
    }
    assert {name: default_setting(name) for name in settings} == settings
    assert default_setting("no_setting") is None


@pytest.mark.parametrize(
    ("relative", "variant", "expected"),
    [
        (ELU, BN, {"batch_normalization": True}),
        (
            ELU,
            SELU,
            {"activation": "selu", "kernel_initializer": "lecun_normal", "self_normalizing": True},
        ),
        (SELU, ALPHA_DROPOUT, {"dropout": "alpha", "dropout_rate": 0.1}),
        (
            ALPHA_DROPOUT,
            ONE_CYCLE,
            {
                "optimizer": "sgd(momentum=0.9, nesterov=True)",
                "schedule": "one_cycle",
                "batch_size": 128,
                "epochs": 15,
                "patience": None,
                "search_epochs": 5,
            },
        ),
    ],
)
def test_the_difference_between_relatives_is_the_experiment(
    relative: Variant, variant: Variant, expected: dict[str, Any]
) -> None:
    assert differences(relative, variant) == expected
    assert variant.derived_from == relative.name


def test_a_derived_variant_is_described_by_what_it_changes_and_has_a_colour_of_its_own() -> None:
    swish = BN.derive(name="bn_swish", activation="swish", units=50)
    assert swish.description == "bn with activation swish, units 50"
    assert (swish.color, swish.derived_from) == ("", "bn")
    assert differences(BN, swish) == {"activation": "swish", "units": 50}


@pytest.mark.parametrize("variant", [SELU, ALPHA_DROPOUT, ONE_CYCLE], ids=lambda one: one.name)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_normalization": True}, "batch_normalization of variant '{}': expected False,"),
        ({"dropout": "standard"}, "dropout of variant '{}': expected None or 'alpha',"),
        ({"kernel_initializer": "he_normal"}, "kernel_initializer of variant '{}': expected"),
        ({"activation": "elu"}, "activation of variant '{}': expected 'selu',"),
    ],
)
def test_a_breach_of_self_normalization_is_refused(
    variant: Variant, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message.format(variant.name))) as refused:
        dataclasses.replace(variant, **change)
    assert refused.value.received == repr(next(iter(change.values())))
    allowed = dataclasses.replace(variant, self_normalizing=False, **change)
    assert differences(variant, allowed) == {"self_normalizing": False, **change}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dropout_rate": 1.0}, "dropout_rate of variant 'x': expected a number of .* below 1"),
        ({"dropout_rate": -0.1}, "dropout_rate"),
        ({"dropout_rate": math.nan}, "dropout_rate"),
        ({"dropout_rate": "0.1"}, "dropout_rate of variant 'x': expected a number; received '0.1'"),
        ({"dropout_layers": "every"}, "dropout_layers .*expected 'last' or 'all'; .*'every'"),
        ({"hidden_layers": 0}, "hidden_layers .*expected an integer from 1 to 1000000; received 0"),
        ({"units": 2.5}, "units of variant 'x'"),
        ({"batch_size": 65_537}, "batch_size .*expected an integer from 1 to 65536"),
        ({"batch_size": True}, "batch_size"),
        ({"patience": 0}, "patience .*expected an integer from 1 to 1000000 or None; received 0"),
        ({"batch_normalization": 1}, "batch_normalization .*expected True or False; received 1"),
        ({"optimizer": "sgd(0.9"}, "optimizer .*a call such as sgd.*received 'sgd\\(0.9'"),
        ({"activation": "x.y"}, "activation .*received 'x.y', 'x.y' in it"),
        ({"loss": ""}, "loss of variant 'x': expected a name"),
        ({"dropout": "alpha", "dropout_rate": 10}, "dropout_rate .*below 1; received 10"),
        ({"pruned": 1}, "pruned of variant 'x': expected a number of at least 0, below 1"),
        ({"epochs": 0}, "epochs .*expected at least 1, unless all of it is taken from another"),
        ({"learning_rate": 0}, "learning_rate .*expected a number above 0"),
        ({"learning_rate": 0.1, "learning_rate_of": "bn"}, "learning_rate_of .*expected empty"),
        ({"patience": None, "restore_best_weights": False}, "restore_best_weights .*never stops"),
        ({**STARTED, "reused_output": True}, "reused_output .*only with all hidden layers"),
        (
            {**STARTED, "frozen_layers": 5, "cached": True, "mirrored_images": True},
            "cached .*expected False, as its images are mirrored or shifted",
        ),
        (
            {**STARTED, "frozen_layers": 5, "cached": True, "mirrored_prediction": True},
            "cached .*expected False, as its images are mirrored or shifted",
        ),
        (
            {**STARTED, "frozen_layers": 5, "cached": True, "pruned": 0.5, "pruning": "gradual"},
            "cached .*expected False, as frozen layers are pruned while it trains",
        ),
        (
            {"mirrored_prediction": True, "output_activation": "sigmoid"},
            "mirrored_prediction .*expected False, as its outputs are not softmax",
        ),
        ({"arms": "three"}, "arms .*expected 'one' or 'two' or 'shared'; received 'three'"),
        ({"reused_layers": 1}, "reused_layers .*expected 0, as it starts from no other"),
        ({"frozen_layers": 1}, "frozen_layers of variant 'x': expected at most reused_layers, 0"),
        ({"cached": True}, "cached of variant 'x': expected True only with frozen layers"),
        ({"starts_from": "bn"}, "reused_layers .*expected from 1 to the 20 hidden .*received 0"),
        ({"starts_from": "bn", "reused_layers": 21}, "reused_layers .*received 21"),
        ({**STARTED, "frozen_layers": 6}, "frozen_layers .*at most reused_layers, 5; received 6"),
        ({**STARTED, "arms": "two"}, "arms .*expected one, as it starts from another"),
        ({**STARTED, "cached": True}, "cached .*expected True only with frozen layers"),
        (
            {
                **STARTED,
                **{"frozen_layers": 5, "cached": True, "dropout": "standard"},
                "dropout_layers": "all",
            },
            "cached .*without dropout in all layers",
        ),
        ({"images_per_class": 0}, "images_per_class .*expected an integer from 1"),
        ({"color": "red"}, "color of variant 'x': expected a colour such as #0072B2"),
        ({"activation": None}, "activation .*expected a text; received None"),
        ({"activation": abs}, "activation .*expected a text; .* Write what it computes as text"),
        ({"activaton": "swish"}, "setting of variant 'x': .*Did you mean 'activation'"),
        ({"name": "a b"}, "name of a variant: expected up to 50 letters"),
        ({"name": "quo'te"}, "name of a variant"),
        ({"name": ""}, "name of a variant"),
    ],
)
def test_a_setting_that_is_unknown_or_out_of_range_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ELU.derive(**{"name": "x", **changes})


# --- Data --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"val_size": 0}, "val_size of the data: expected an integer from 1 to 1000000000"),
        ({"split_seed": -1}, "split_seed of the data: expected an integer from 0 to 4294967295"),
        ({"images_per_class": 0}, "images_per_class .* or None; received 0"),
        ({"val_images_per_class": 0}, "val_images_per_class .* or None; received 0"),
        ({"skipped_per_class": -1}, "skipped_per_class .*from 0 to 1000000000; received -1"),
        ({"split": "random"}, "split of the data: expected 'stratified' or 'position'"),
        ({"pairs": 1}, "pairs of the data: expected True or False"),
        ({"classes": (1,)}, "classes of the data: expected at least two different labels"),
        ({"classes": (1, 1)}, "classes of the data"),
        ({"classes": (0, -1)}, "classes of the data"),
        ({"classes": (0, "1")}, "classes of the data"),
        ({"classes": 5}, "classes of the data: expected a tuple or None; received 5"),
        ({"standardized": "yes"}, "standardized of the data: expected True or False"),
        ({"source": 5}, "source of the data: expected a text"),
    ],
)
def test_data_that_cannot_be_chosen_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Data(**settings)


def test_classes_may_be_a_list() -> None:
    assert Data(classes=[3, 1]).classes == (3, 1)  # type: ignore[arg-type]


def test_what_data_selects_is_all_but_the_defaults_and_what_can_be_given() -> None:
    assert Data(source="mnist", val_size=7, split_seed=2).selection == {}
    chosen: dict[str, Any] = {
        "classes": (1, 2),
        "images_per_class": 3,
        "val_images_per_class": 4,
        "pairs": True,
    }
    chosen |= {"skipped_per_class": 1, "split": "position", "standardized": False}
    assert Data(**chosen).selection == chosen


# --- Comparisons -------------------------------------------------------------------------------

SWISH = BN.derive(name="bn_swish", activation="swish")


def ask(**changes: Any) -> Question:
    usual: dict[str, Any] = {"variant": "bn", "reference": "elu", "metric": "test_accuracy"}
    return Question(**{**usual, **changes})


def test_left_out_the_questions_are_whether_each_is_better_faster_and_cheaper() -> None:
    late = ELU.derive(name="late", units=50)
    asked = Comparison(variants=(BN, SWISH, late)).asked
    assert [(one.variant, one.reference, one.metric) for one in asked] == [
        (variant, reference, metric)
        for variant, reference in (("bn_swish", "bn"), ("late", "bn"))  # elu is not compared
        for metric in ("test_accuracy", "epochs_to_target", "median_epoch_seconds")
    ]
    assert Comparison(variants=(BN, SWISH), questions=()).asked == ()


def test_to_a_comparison_come_variants_and_the_usual_questions_about_them_or_others() -> None:
    own = Comparison(variants=(ELU, BN), questions=())
    usual = own.including(SWISH)
    assert [variant.name for variant in usual.variants] == ["elu", "bn", "bn_swish"]
    assert [one.reference for one in usual.asked] == ["bn", "bn", "bn"]
    question = Question(variant="bn_swish", reference="elu", metric="test_accuracy")
    assert usual.including(questions=[question]).asked == (*usual.asked, question)
    assert own.including(SWISH, questions=()).asked == ()
    with pytest.raises(InputError, match="received a tuple of Variant and Question"):
        own.including(SWISH, question)  # type: ignore[arg-type]


def test_colours_come_in_order_from_the_palette_unless_they_are_given() -> None:
    many = [ELU.derive(name=f"of_{units}", units=units) for units in range(1, 12)]
    colors = [variant.color for variant in Comparison(variants=(BN, *many)).variants]
    assert colors[0] == BN.color
    assert colors[1:8] == [color for color in OKABE_ITO if color != BN.color]
    assert colors[8:] == list(OKABE_ITO[:4])  # there are no more


def test_the_first_variant_is_the_baseline() -> None:
    assert Comparison(variants=(SWISH, BN)).baseline == "bn_swish"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"variants": ()}, "variants of a comparison: expected at least one Variant"),
        ({"variants": BN}, "variants of a comparison: .*mind the comma"),
        ({"variants": ("bn",)}, "variants of a comparison"),
        ({"variants": (BN, BN)}, "variants of a comparison: .*received 'bn' twice"),
        ({"questions": (ask(variant="bnn", reference="bn"),)}, "Did you mean 'bn'"),
        ({"questions": (ask(),)}, "variant of the question .*received 'elu'"),
        ({"questions": ask(reference="bn_swish")}, "questions of a comparison"),
        (
            {"questions": (Question(variant="bn", reference="bn", metric="mc_gain"),)},
            "metric of a question about 'bn': expected mc_gain of a variant with dropout",
        ),
        (
            {"questions": [ask(reference="bn_swish")] * 2},
            "received 'bn_quality_over_bn_swish' twice",
        ),
        ({"data": Data(pairs=True)}, "arms of variant 'bn': expected two or shared, .*are pairs"),
        (
            {"variants": (BN.derive(name="two", arms="two"), SWISH)},
            "arms of variant 'two': expected one, as its data are no pairs; received 'two'",
        ),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        Comparison(**{"variants": (BN, SWISH), **settings})
