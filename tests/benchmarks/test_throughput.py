"""benchmarks.throughput: all sides train the same thing, and are compared by their times."""

import json
from pathlib import Path
from typing import Any

import pytest
from small_layers import COMPARISON as SMALL

from benchmarks import harness, outcomes, throughput, turns
from pipeline.base import InputError
from pipeline.comparisons import files

NO_WEIGHT_MOVES = 1e-12  # a learning rate so small
SIDES = (harness.OURS, *throughput.TO_REACH)


@pytest.mark.slow
def test_all_sides_train_the_same_and_are_compared_by_their_times(
    tiny_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(files, "load", lambda _: SMALL)
    monkeypatch.setattr(outcomes, "RESULTS", tmp_path)
    # In this process, which has TensorFlow; test_turns has processes that take turns.
    monkeypatch.setattr(turns, "end_turn", lambda: None)
    returned: dict[str, harness.Row] = {}

    def one_after_the_other(sides: dict[str, turns.Side], *, turns: int) -> dict[str, Any]:
        assert turns == 1
        for name, (call, given) in sides.items():
            returned[name] = json.loads(json.dumps(call(**given)))
        return returned

    monkeypatch.setattr(turns, "alternate", one_after_the_other)
    asked = throughput.Throughput(
        dataset=str(tiny_npz), variants=("selu",), epochs=1, learning_rate=NO_WEIGHT_MOVES
    )
    throughput.throughput(asked)

    report = json.loads((tmp_path / "throughput.json").read_text("utf-8"))
    assert report["conditions"]["dataset"] == "stripes"
    assert report["conditions"]["images"] == {"training": 240, "validation": 60}
    rows = report["measurements"]
    assert [row["side"] for row in rows] == list(SIDES)
    assert {row["variant"] for row in rows} == {"selu"}
    assert all(row["epoch_wall_seconds"] > 0 for row in rows)
    ours = returned[harness.OURS]["val_losses"]
    assert len(ours) == 2
    for row in returned.values():  # from the same weights, validated on the same images
        assert row["val_losses"] == pytest.approx(ours, rel=1e-5)
    cpu = [row["epoch_cpu_seconds"] for row in rows]
    by_peer = {one["peer_name"]: one for one in report["results"] if "CPU" in one["what"]}
    assert by_peer["Model.fit"]["ratios"] == pytest.approx([cpu[1] / cpu[0]])
    assert by_peer["Model.fit, jit"]["ratios"] == pytest.approx([cpu[2] / cpu[0]])
    assert by_peer["Model.fit"]["at_least"] == 5
    assert "selu: CPU s per epoch" in capsys.readouterr().out


def test_variant_with_another_optimizer_is_refused() -> None:
    with pytest.raises(
        InputError, match="one of elu, bn, selu, selu_convolution; received 'one_cycle'"
    ):
        throughput.throughput(throughput.Throughput(variants=("elu", "one_cycle")))
