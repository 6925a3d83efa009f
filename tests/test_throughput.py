"""benchmarks.throughput: all sides train the same thing, and every epoch but the first is timed."""

import json
from pathlib import Path

import pytest

from benchmarks import harness, outcomes, throughput
from pipeline.errors import InputError

NO_WEIGHT_MOVES = 1e-12  # a learning rate so small
SIDES = (harness.OURS, *throughput.TO_REACH)


def test_the_first_epoch_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 100.0, 102.0, 103.0, 107.0])
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: next(times))
    monkeypatch.setattr(throughput.time, "process_time", lambda: 0.0)
    clock = throughput.Clock()
    for _ in range(4):
        clock.epoch_ended()
    assert clock.medians() == {"epoch_wall_seconds": 2.0, "epoch_cpu_seconds": 0.0}


def test_all_sides_train_the_same_and_are_compared_by_their_times(
    tiny_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(outcomes, "RESULTS", tmp_path)
    # In this process, which has TensorFlow; a process of its own is tested with the harness.
    monkeypatch.setattr(harness, "call", lambda function, arguments: function(**arguments))
    throughput.throughput(
        dataset=str(tiny_npz), variants="selu", epochs=1, rounds=1, learning_rate=NO_WEIGHT_MOVES
    )

    report = json.loads((tmp_path / "throughput.json").read_text("utf-8"))
    assert report["conditions"]["dataset"] == "stripes"
    assert report["conditions"]["images"] == {"training": 240, "validation": 60}
    rows = report["measurements"]
    assert [row["side"] for row in rows] == list(SIDES)
    assert {row["variant"] for row in rows} == {"selu"}
    for row in rows:  # from the same weights, validated on the same images
        assert row["val_losses"] == pytest.approx(rows[0]["val_losses"], rel=1e-5)
        assert len(row["val_losses"]) == 2
        assert row["epoch_wall_seconds"] > 0
    cpu = [row["epoch_cpu_seconds"] for row in rows]
    by_peer = {one["peer_name"]: one for one in report["results"] if "CPU" in one["what"]}
    assert by_peer["Model.fit"]["ratios"] == pytest.approx([cpu[1] / cpu[0]])
    assert by_peer["Model.fit, jit"]["ratios"] == pytest.approx([cpu[2] / cpu[0]])
    assert by_peer["Model.fit"]["at_least"] == 5
    assert "selu: CPU s per epoch" in capsys.readouterr().out


def test_variant_with_another_optimizer_is_refused() -> None:
    with pytest.raises(InputError, match="one of elu, bn, selu; received 'one_cycle'"):
        throughput.throughput(variants="elu,one_cycle")
