from typing import Any

import numpy as np
import pytest
from step_runs import make_step


def test_step_key_is_the_same_for_the_same_inputs_in_any_order_and_type() -> None:
    key = make_step().key
    assert len(key) == 64
    assert make_step(parameters={"epochs": "2", "variant": "bn"}).key == key
    assert make_step(sources=("pipeline.data.npz", "pipeline.base.errors")).key == key


@pytest.mark.parametrize(
    "changes",
    [
        {"entry_point": "search"},
        {"parameters": {"variant": "bn", "epochs": 3}},
        {"parameters": {"variant": "bn", "epochs": 2, "seed": 1}},
        {"parameters": {"variant": "bn"}},
        {"upstream": {"search": "another-key"}},
        {"upstream": {}},
        {"sources": ("pipeline.base.errors",)},
        {"sources": ("pipeline.base.errors", "pipeline.data.splits")},
        {"packages": ("numpy", "keras")},
        {"packages": ()},
    ],
)
def test_step_key_changes_with_every_input(changes: dict[str, Any]) -> None:
    assert make_step(**changes).key != make_step().key


def test_step_inputs_can_be_read_by_a_person() -> None:
    inputs = make_step().inputs
    assert list(inputs) == [
        "parameter variant",
        "parameter epochs",
        "code of pipeline.base.errors",
        "code of pipeline.data.npz",
        "version of numpy",
        "search",
    ]
    assert inputs["parameter epochs"] == "2"
    assert inputs["version of numpy"] == np.__version__
    assert inputs["search"] == "a-key"
    assert len(inputs["code of pipeline.base.errors"]) == 16
