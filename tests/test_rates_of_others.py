"""Rates of another variant or of its own, and trainings without epochs: made, logged, compared."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_rates import RATES

from pipeline import command
from pipeline.compare import compare
from pipeline.parameters import Compare, Train
from pipeline.search import search
from pipeline.tracking import client
from pipeline.train import train

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(store: Path, tiny_npz: Path) -> dict[str, client.Run]:
    """The trainings of the comparison, by what they are of, and their comparison."""
    asked: dict[str, Any] = {"comparison": RATES, "dataset": str(tiny_npz), "n_trials": 2}
    names = ("tuned", "pruned", "same_rate", "diverges", "small")
    found = {name: train(Train(variant=name, **asked)) for name in names}
    found["compared"] = compare(Compare(comparison=RATES))
    return {name: client.get_run(run_id) for name, run_id in found.items()}


def artifact(run: client.Run, path: str) -> Path:
    return client.local_artifact(run.info.run_id, path)


def test_they_are_made_once_and_compared(runs: dict[str, client.Run]) -> None:
    made = client.search_runs("0", "")
    names = sorted(
        run.info.run_name for run in made if run.data.tags["step"] in ("search", "train")
    )
    assert names == [
        "search small",
        *(f"train {name} seed 1" for name in ("diverges", "pruned", "same_rate", "small", "tuned")),
    ]
    rates = {name: run.data.params.get("chosen_learning_rate") for name, run in runs.items()}
    assert rates["tuned"] == rates["same_rate"] == rates["small"] != rates["diverges"]
    searches = {runs[name].data.tags["search_run"] for name in ("tuned", "same_rate", "small")}
    assert len(searches) == 1
    assert "search_run" not in runs["pruned"].data.tags

    metrics = {name: run.data.metrics for name, run in runs.items()}
    for name in ("pruned", "diverges"):
        assert metrics[name]["epochs_run"] == metrics[name]["best_epoch"] == 0
        assert "median_epoch_seconds" not in metrics[name]
        assert not any(one.endswith("learning_curve.png") for one in _paths(runs[name]))
    assert metrics["pruned"]["zero_weights"] == metrics["tuned"]["zero_weights"] == 0.5
    assert metrics["small"]["zero_weights"] == 0 < metrics["small"]["compressed_megabytes"]
    assert (metrics["diverges"]["diverged"], metrics["small"]["diverged"]) == (1, 0)
    diverged = runs["diverges"].data.tags
    assert "in epoch 1" in diverged["diverged"]
    assert "**It diverged:** " in diverged["mlflow.note.content"]
    losses = np.load(artifact(runs["small"], "first_epoch_losses.npy"))
    images = client.get_run(runs["small"].data.tags["prepare_run"]).data.metrics["train_images"]
    assert (losses.dtype, losses.shape) == (np.float32, (math.ceil(images / 32),))
    assert "BY WHICH THE EPOCH WAS CHOSEN" in runs["same_rate"].data.tags["mlflow.note.content"]

    page = artifact(runs["compared"], "report.html").read_text("utf-8")
    for said in ("The test set chose the epoch", "Diverged, judged by earlier weights"):
        assert said in page
    champion = artifact(runs["compared"], "comparison.md").read_text("utf-8")
    assert "same_rate" not in champion.partition("## Champion")[2]


def _paths(run: client.Run) -> list[str]:
    return [one.path for one in client.connect().list_artifacts(run.info.run_id)]


OWN = """
from pipeline.comparisons import Comparison, Data, Variant

GIVEN = Variant(name="given", learning_rate=0.1)
ONE = Variant(name="one", learning_rate_of="{one}")
TWO = Variant(name="two", learning_rate_of="one")
COMPARISON = Comparison(variants=(GIVEN, ONE, TWO))
"""


@pytest.mark.parametrize(
    ("door", "named", "said"),
    [
        (train, "elo", "learning_rate_of of variant 'one': expected one of given, one, two, elu"),
        (train, "two", "received one -> two -> one"),
        (train, "one", "received one -> one. "),
        (train, "digits", "received 'digits', one of other data"),
        (train, "given", "received 'given', one with learning_rate=0.1"),
        (search, "elu", "received 'two', which has the rate of 'elu'. Search that: -P variant=elu"),
    ],
)
def test_rates_that_none_has_are_refused_in_one_line(
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    door: Any,
    named: str,
    said: str,
) -> None:
    own = store / "own.py"
    own.write_text(OWN.format(one=named), "utf-8")
    monkeypatch.setattr(sys, "argv", ["door", "--comparison", str(own), "--variant", "two"])
    with pytest.raises(SystemExit) as exited:
        command.run(door)
    assert exited.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert client.search_runs("0", "") == []
