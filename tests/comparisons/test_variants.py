import dataclasses
import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pipeline.comparisons.variants import VARIANTS, Variant, get_variant

from pipeline.base import InputError
from pipeline.comparisons import variants

# Parameters on CIFAR-10, all and trainable: every variant needs its pin.
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
    return {
        key: value for key, value in changed.items() if key not in ("name", "description", "color")
    }


def expected_parameters(variant: Variant) -> tuple[int, int]:
    """All and trainable parameters on CIFAR-10: a kernel and a bias per dense layer."""
    widths = [32 * 32 * 3, *[variant.units] * variant.hidden_layers, 10]
    dense = sum(before * after + after for before, after in itertools.pairwise(widths))
    # Trained scale and shift, and two moving statistics that are not trained.
    normalized = variant.units * variant.hidden_layers * variant.batch_normalization
    return dense + 4 * normalized, dense + 2 * normalized


def test_every_variant_has_a_pinned_parameter_count() -> None:
    assert list(PARAMETERS) == list(VARIANTS)


@pytest.mark.parametrize("name", VARIANTS)
def test_parameter_count(name: str) -> None:
    import numpy as np

    from pipeline.training.models import build_model

    variant = VARIANTS[name]
    statistics = np.ones(32 * 32 * 3, np.float32)
    model = build_model(
        variant, image_shape=(32, 32, 3), n_classes=10, mean=statistics, variance=statistics, seed=0
    )
    trainable = sum(weight.shape.num_elements() for weight in model.trainable_weights)
    assert (model.count_params(), trainable) == PARAMETERS[name] == expected_parameters(variant)


def test_names_are_keys_and_colors_are_distinct() -> None:
    assert list(VARIANTS) == ["elu", "bn", "selu", "alpha_dropout", "one_cycle"]
    assert [variant.name for variant in VARIANTS.values()] == list(VARIANTS)
    colors = {variant.color for variant in VARIANTS.values()}
    assert len(colors) == len(VARIANTS)
    assert all(re.fullmatch("#[0-9A-F]{6}", color) for color in colors)


def test_the_baseline() -> None:
    settings = dataclasses.asdict(VARIANTS["elu"])
    for shown in ("name", "description", "color"):
        del settings[shown]
    assert settings == {
        "hidden_layers": 20,
        "units": 100,
        "activation": "elu",
        "kernel_initializer": "he_normal",
        "batch_normalization": False,
        "self_normalizing": False,
        "dropout": None,
        "dropout_rate": 0.0,
        "dropout_layers": "last",
        "optimizer": "nadam",
        "schedule": "constant",
        "batch_size": 32,
        "epochs": 100,
        "patience": 20,
        "search_epochs": 10,
    }


@pytest.mark.parametrize(
    ("relative", "name", "expected"),
    [
        ("elu", "bn", {"batch_normalization": True}),
        (
            "elu",
            "selu",
            {"activation": "selu", "kernel_initializer": "lecun_normal", "self_normalizing": True},
        ),
        ("selu", "alpha_dropout", {"dropout": "alpha", "dropout_rate": 0.1}),
        (
            "alpha_dropout",
            "one_cycle",
            {
                "optimizer": "sgd",
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
    relative: str, name: str, expected: dict[str, Any]
) -> None:
    assert differences(VARIANTS[relative], VARIANTS[name]) == expected


@pytest.mark.parametrize("name", ["selu", "alpha_dropout", "one_cycle"])
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
    name: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message.format(name))) as refused:
        dataclasses.replace(VARIANTS[name], **change)
    assert refused.value.received == repr(next(iter(change.values())))
    allowed = dataclasses.replace(VARIANTS[name], self_normalizing=False, **change)
    assert differences(VARIANTS[name], allowed) == {"self_normalizing": False, **change}


def test_get_variant_finds_every_name() -> None:
    assert [get_variant(name) for name in VARIANTS] == list(VARIANTS.values())


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("alfa_dropout", "alpha_dropout"), ("onecycle", "one_cycle"), ("sellu", "selu")],
)
def test_an_unknown_name_suggests_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(InputError, match=rf"received '{name}'\. Did you mean '{nearest}'\?$"):
        get_variant(name)


def test_a_name_near_to_none_lists_them_all() -> None:
    with pytest.raises(InputError, match="one of elu, bn, selu, alpha_dropout, one_cycle; "):
        get_variant("resnet")


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_a_dropout_rate_out_of_range_is_refused(rate: float) -> None:
    with pytest.raises(InputError, match=rf"dropout_rate: expected .* received {rate}"):
        VARIANTS["alpha_dropout"].with_dropout(rate=rate, layers=None)


def test_unknown_dropout_layers_are_refused() -> None:
    with pytest.raises(InputError, match=r"dropout_layers: expected one of last, all; .* 'every'"):
        VARIANTS["alpha_dropout"].with_dropout(rate=None, layers="every")


@pytest.mark.parametrize(
    ("rate", "layers", "expected"),
    [
        (None, None, {}),
        (0.0, None, {"dropout_rate": 0.0}),
        (0.25, None, {"dropout_rate": 0.25}),
        (None, "all", {"dropout_layers": "all"}),
        (0.05, "all", {"dropout_rate": 0.05, "dropout_layers": "all"}),
    ],
)
def test_with_dropout_changes_what_is_given_alone(
    rate: float | None, layers: str | None, expected: dict[str, Any]
) -> None:
    variant = VARIANTS["one_cycle"]
    assert differences(variant, variant.with_dropout(rate=rate, layers=layers)) == expected


@pytest.mark.parametrize("name", ["elu", "bn", "selu"])
def test_with_dropout_is_refused_without_dropout_to_change(name: str) -> None:
    variant = VARIANTS[name]
    assert variant.with_dropout(rate=None, layers=None) == variant
    with pytest.raises(InputError, match=f"variant '{name}' has no dropout; received 0.2"):
        variant.with_dropout(rate=0.2, layers=None)
    with pytest.raises(InputError, match=r"^dropout_layers: .* alpha_dropout, one_cycle"):
        variant.with_dropout(rate=None, layers="all")


def test_variants_import_nothing_heavy() -> None:
    program = "import sys, pipeline.variants; print([m for m in sys.argv[1:] if m in sys.modules])"
    finished = subprocess.run(
        [sys.executable, "-c", program, "tensorflow", "keras", "numpy", "mlflow", "optuna"],
        cwd=Path(variants.__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.strip() == "[]"
