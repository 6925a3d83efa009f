"""benchmarks.costs: a setting is timed beside the same network without it, on the same images."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import costs, harness, outcomes, turns
from pipeline.base import InputError
from pipeline.comparisons.files import find_variant

SHARED = ("hidden_layers", "units", "batch_size", "images_per_class")
NO_SETTING = {"name", "description", "color", "derived_from", "learning_rate_of", "search_epochs"}


@pytest.mark.parametrize(("variant", "without"), costs.PAIRS.items())
def test_two_sides_differ_by_little_and_have_the_same_images_and_batches(
    variant: str, without: str
) -> None:
    one, other = (dataclasses.asdict(find_variant(name)[0]) for name in (variant, without))
    assert {name for name in SHARED if one[name] != other[name]} == set()
    differ = {name for name in one if one[name] != other[name]}
    assert 1 <= len(differ - NO_SETTING) <= 3, differ


@pytest.mark.slow
def test_a_ratio_is_of_the_epochs_of_both_sides(
    tiny_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "RESULTS", tmp_path)
    # In this process, which has TensorFlow; test_turns has processes that take turns.
    monkeypatch.setattr(turns, "end_turn", lambda: None)

    def one_after_the_other(sides: dict[str, turns.Side], *, turns: int) -> dict[str, Any]:
        assert turns == 1
        return {name: call(**given) for name, (call, given) in sides.items()}

    monkeypatch.setattr(turns, "alternate", one_after_the_other)
    costs.costs(costs.Costs(dataset=str(tiny_npz), variants=("gradual_90",), epochs=1))
    report = json.loads((tmp_path / "costs.json").read_text("utf-8"))
    ours, theirs = report["measurements"]
    assert [ours["side"], theirs["side"]] == [harness.OURS, "elu"]
    cpu, _ = report["results"]
    assert cpu["ratios"] == pytest.approx([ours["epoch_cpu_seconds"] / theirs["epoch_cpu_seconds"]])
    assert cpu["at_most"] == costs.MOST


def test_a_variant_without_a_peer_is_refused() -> None:
    with pytest.raises(InputError, match="'one_cycle'"):
        costs.costs(costs.Costs(variants=("one_cycle",)))
