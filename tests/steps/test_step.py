"""What a step's key is made of, and what a run records of it."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
from step_runs import Small, SmallSearch

from pipeline.comparisons.twenty_layers import BN, ONE_CYCLE
from pipeline.steps.step import recorded_settings, settings_tag


def test_step_key_is_the_same_for_the_same_inputs_in_any_order_and_type() -> None:
    key = Small().key
    assert len(key) == 64
    assert Small(given={"epochs": "2", "variant": "bn"}).key == key


@pytest.mark.parametrize(
    "changes",
    [
        {"given": {"variant": "bn", "epochs": 3}},
        {"given": {"variant": "bn", "epochs": 2, "seed": 1}},
        {"given": {"variant": "bn"}},
        {"settings": {"activation": "swish"}},
        {"reads": {"search": "another-key"}},
        {"reads": {}},
    ],
)
def test_step_key_changes_with_every_input(changes: dict[str, Any]) -> None:
    assert Small(**changes).key != Small().key


def test_step_key_changes_with_the_entry_point_the_packages_and_the_code() -> None:
    class OfKeras(Small):
        packages = ("numpy", "keras")

    class Elsewhere(Small):
        __module__ = "pipeline.data.npz"

    keys = {of().key for of in (Small, SmallSearch, OfKeras, Elsewhere)}
    assert len(keys) == 4


def test_replicates_have_one_key_whatever_their_seed() -> None:
    def step(**changes: int) -> Small:
        return Small(given={"variant": "bn", "epochs": 2, "seed": 1} | changes)

    assert step(seed=2).key != step().key
    assert step(seed=2).replicates_key == step().replicates_key
    assert step(epochs=3).replicates_key != step().replicates_key


def test_step_inputs_can_be_read_by_a_person() -> None:
    class OfData(Small):
        __module__ = "pipeline.data.fingerprints"

    inputs = OfData(settings={"activation": "swish", "epochs": 7}).inputs
    assert list(inputs) == [
        "parameter variant",
        "parameter epochs",
        "variant activation",  # the epochs are a parameter, and given in full
        "code of pipeline.data.fingerprints",
        "version of numpy",
        "search",
    ]
    assert inputs["parameter epochs"] == "2"
    assert inputs["version of numpy"] == np.__version__
    assert inputs["search"] == "a-key"
    assert len(inputs["code of pipeline.data.fingerprints"]) == 16


def test_a_run_records_its_variant_whatever_is_declared_later() -> None:
    used = dataclasses.replace(ONE_CYCLE, batch_size=64)
    tags = settings_tag(used, {"batch_size": 64})
    variant, given = recorded_settings(tags)
    assert variant == json.loads(json.dumps(dataclasses.asdict(used)))
    assert given == {"batch_size": 64}
    assert recorded_settings({}) == ({}, {})


def test_a_variant_counts_by_the_settings_that_are_not_the_defaults() -> None:
    assert BN.content("train") == {"batch_normalization": True}
    assert set(ONE_CYCLE.content("train")) - set(ONE_CYCLE.content("search")) == {
        "epochs",
        "patience",
    }
    shown = dataclasses.replace(BN, description="another", color="#000000", derived_from="selu")
    assert shown.content("train") == BN.content("train")
