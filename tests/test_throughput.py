"""benchmarks.throughput: both sides train the same thing, and the report says what was measured."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from benchmarks import throughput
from pipeline import data, sources
from pipeline.errors import InputError


@pytest.fixture(scope="module")
def prepared_directory(tiny_npz, tmp_path_factory) -> str:
    directory = tmp_path_factory.mktemp("prepared")
    arrays = sources.load(sources.resolve(str(tiny_npz)))
    data.save(data.prepare_splits(arrays, val_size=60, seed=1), directory)
    return str(directory)


@pytest.fixture(scope="module")
def rows_of(prepared_directory) -> dict[str, list[throughput.Row]]:
    """Both sides measured at a rate so small that the weights do not move."""
    return {
        side: throughput.measure(throughput.Turn(side, "selu", 3, 1, 1e-12, prepared_directory))
        for side in throughput.SIDES
    }


@pytest.mark.parametrize("side", throughput.SIDES)
def test_every_epoch_is_timed_and_carries_its_losses(side, rows_of):
    rows = rows_of[side]

    assert [(row["variant"], row["side"], row["seed"], row["epoch"]) for row in rows] == [
        ("selu", side, 3, 1),
        ("selu", side, 3, 2),
    ]
    for row in rows:
        assert row["wall_seconds"] > 0
        assert row["cpu_seconds"] > 0
        assert np.isfinite(row["loss"])


def test_both_sides_start_from_the_same_weights_and_validate_on_the_same_images(rows_of):
    for ours, peer in zip(rows_of["compiled"], rows_of["plain"], strict=True):
        assert ours["val_loss"] == pytest.approx(peer["val_loss"], rel=1e-5)


def test_plain_side_gets_neither_the_pipelines_threads_nor_its_flags(monkeypatch):
    for name in ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_prefer_vector_width=512")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")

    received = throughput.default_environment()

    assert not [name for name in received if name.startswith(("TF_", "XLA_", "OMP_"))]
    assert received["CUDA_VISIBLE_DEVICES"] == "0"
    assert received["PATH"] == os.environ["PATH"]


def test_failing_process_is_reported_with_its_error():
    with pytest.raises(RuntimeError, match=r"(?s)selu unheard-of: .*KeyError: 'unheard-of'"):
        throughput.measure_in_fresh_process(
            throughput.Turn("unheard-of", "selu", 1, 1, 0.0002, "nowhere")
        )


def test_summary_leaves_the_warm_up_epoch_out_and_pairs_the_sides_by_seed():
    columns = ["side", "seed", "epoch", "wall_seconds", "cpu_seconds", "val_loss"]
    measured = [
        ("compiled", 1, 1, 90.0, 90.0, 2.0),
        ("compiled", 1, 2, 1.0, 1.0, 1.5),
        ("plain", 1, 1, 50.0, 50.0, 2.1),
        ("plain", 1, 2, 4.0, 6.0, 1.6),
        ("compiled", 2, 1, 90.0, 90.0, 2.2),
        ("compiled", 2, 2, 2.0, 2.0, 1.7),
        ("plain", 2, 1, 50.0, 50.0, 2.3),
        ("plain", 2, 2, 4.0, 8.0, 1.8),
    ]

    summary = throughput.summarize(pd.DataFrame(measured, columns=columns).assign(variant="elu"))

    assert list(summary) == ["elu"]
    elu = summary["elu"]
    assert elu["compiled_wall_seconds"] == {"median": 1.5, "lowest": 1.0, "highest": 2.0}
    assert elu["plain_cpu_seconds"] == {"median": 7.0, "lowest": 6.0, "highest": 8.0}
    assert elu["cpu_ratio"] == {"median": 5.0, "lowest": 4.0, "highest": 6.0}
    assert elu["wall_ratio"] == {"median": 3.0, "lowest": 2.0, "highest": 4.0}
    assert elu["compiled_val_loss_1"] == pytest.approx(
        {"median": 2.1, "lowest": 2.0, "highest": 2.2}
    )


@pytest.mark.slow
def test_command_measures_in_turns_writes_json_and_prints_the_table(tiny_npz, tmp_path, capsys):
    output = tmp_path / "results" / "throughput.json"

    throughput.throughput(
        dataset=str(tiny_npz),
        variants="elu",
        epochs=1,
        rounds=1,
        learning_rate=0.0002,
        output=output,
    )

    report = json.loads(output.read_text(encoding="utf-8"))
    assert report["dataset"] == "stripes"
    assert report["images"] == {"training": 240, "validation": 60}
    assert [(row["side"], row["epoch"]) for row in report["measurements"]] == [
        ("compiled", 1),
        ("compiled", 2),
        ("plain", 1),
        ("plain", 2),
    ]
    assert report["summary"] == throughput.summarize(pd.DataFrame(report["measurements"]))
    assert set(report["versions"]) == {"python", "tensorflow", "keras", "numpy"}
    printed = capsys.readouterr().out
    ratio = report["summary"]["elu"]["cpu_ratio"]["median"]
    assert f"{ratio:.2f} ({ratio:.2f}-{ratio:.2f})" in printed
    assert "240 training images, 60 validation images" in printed


@pytest.mark.parametrize(("load", "warned"), [(0.1, False), (1.6, True)])
def test_busy_machine_is_warned_about(load, warned, monkeypatch, capsys):
    monkeypatch.setattr(os, "getloadavg", lambda: (load, load, load))
    report = throughput.describe_machine()
    report |= {"dataset": "stripes", "images": {"training": 240}, "summary": {}}

    throughput.show(report | {"measurements": [{"epoch": 1}]}, Console())

    assert report["load_average"] == load
    assert ("the machine was busy" in capsys.readouterr().out) == warned


def test_variant_with_another_optimizer_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="one of elu, bn, selu; received 'one_cycle'"):
        throughput.throughput(variants="elu,one_cycle", output=tmp_path / "out.json")
    assert list(tmp_path.iterdir()) == []
