"""benchmarks.throughput: all sides train the same thing, and every epoch but the first is timed."""

import json
from pathlib import Path

import pytest

from benchmarks import harness, throughput
from pipeline import data, sources
from pipeline.errors import InputError

NO_WEIGHT_MOVES = 1e-12  # a learning rate so small
SIDES = (harness.OURS, *throughput.TO_REACH)


@pytest.fixture(scope="module")
def prepared_directory(tiny_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("prepared")
    arrays = sources.load(sources.resolve(str(tiny_npz)))
    data.save(data.prepare_splits(arrays, val_size=60, seed=1), directory)
    return str(directory)


def test_all_sides_start_from_the_same_weights_and_validate_on_the_same_images(
    prepared_directory: str,
) -> None:
    arguments = ("selu", prepared_directory, 3, 1, NO_WEIGHT_MOVES)
    rows = [
        throughput.compiled(*arguments),
        *(throughput.plain(side, *arguments) for side in throughput.TO_REACH),
    ]
    for row in rows:
        assert row["val_losses"] == pytest.approx(rows[0]["val_losses"], rel=1e-5)
        assert len(row["val_losses"]) == 2
        assert row["epoch_wall_seconds"] > 0
        assert row["epoch_cpu_seconds"] > 0


def test_the_first_epoch_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 100.0, 102.0, 103.0, 107.0])
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: next(times))
    monkeypatch.setattr(throughput.time, "process_time", lambda: 0.0)
    clock = throughput.Clock()
    for _ in range(4):
        clock.epoch_ended()
    assert clock.medians() == {"epoch_wall_seconds": 2.0, "epoch_cpu_seconds": 0.0}


def test_command_measures_in_turns_and_writes_ratios_against_both_peers(
    tiny_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    # In this process, which has TensorFlow; a process of its own is tested with the harness.
    monkeypatch.setattr(harness, "call", lambda function, arguments: function(**arguments))
    throughput.throughput(
        dataset=str(tiny_npz), variants="elu", epochs=1, rounds=1, learning_rate=NO_WEIGHT_MOVES
    )

    report = json.loads((tmp_path / "throughput.json").read_text("utf-8"))
    assert report["conditions"]["dataset"] == "stripes"
    assert report["conditions"]["images"] == {"training": 240, "validation": 60}
    rows = report["measurements"]
    assert [row["side"] for row in rows] == list(SIDES)
    assert {row["variant"] for row in rows} == {"elu"}
    cpu = [row["epoch_cpu_seconds"] for row in rows]
    by_peer = {one["peer_name"]: one for one in report["results"] if "CPU" in one["what"]}
    assert by_peer["Model.fit"]["ratios"] == pytest.approx([cpu[1] / cpu[0]])
    assert by_peer["Model.fit, jit"]["ratios"] == pytest.approx([cpu[2] / cpu[0]])
    assert by_peer["Model.fit"]["at_least"] == 5
    assert "elu: CPU s per epoch" in capsys.readouterr().out


def test_variant_with_another_optimizer_is_refused() -> None:
    with pytest.raises(InputError, match="one of elu, bn, selu; received 'one_cycle'"):
        throughput.throughput(variants="elu,one_cycle")
