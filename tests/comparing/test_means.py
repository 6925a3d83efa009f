"""The runs with the means of a comparison's variants."""

from pathlib import Path
from typing import Any

import pytest
from compared_runs import evidence_of, make_run
from step_runs import opened

from pipeline.answers.evidence import Evidence
from pipeline.comparing import means
from pipeline.tracking import client
from pipeline.tracking.runs import StepRun

DATA = {"dataset": "mnist_5k", "data_fingerprint": "f" * 64}


@pytest.fixture
def comparison(store: Path) -> StepRun:
    return opened("compare")


@pytest.fixture
def found() -> Evidence:
    """Of elu two seeds, the second of which trained for an epoch less; of bn one."""
    rows = [
        make_run("elu", 1, test_accuracy=0.5, median_epoch_seconds=2.0, learning_rate=1.58489e-4),
        make_run("elu", 2, test_accuracy=0.6, median_epoch_seconds=3.0, learning_rate=1.58489e-4),
        make_run("bn", 1, mc_accuracy=0.7),
    ]
    losses = {"elu-1": [2.0, 1.8, 1.6], "elu-2": [1.0, 1.5], "bn-1": [1.2]}
    return evidence_of(rows, losses)


def logged(comparison: StepRun) -> dict[str, client.Run]:
    below = f"tags.`mlflow.parentRunId` = '{comparison.run_id}'"
    return {run.data.tags["variant"]: run for run in client.search_runs("0", below)}


def test_every_variant_has_a_run_in_its_colour_below_the_comparison(
    comparison: StepRun, found: Evidence
) -> None:
    means.log(comparison, found, DATA, [("elu", "bn")])
    runs = logged(comparison)
    assert {name: run.info.run_name for name, run in runs.items()} == {
        "elu": "elu: mean of 2",
        "bn": "bn: mean of 1",
    }
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    elu = runs["elu"].data
    tags = {"step": "variant", "mlflow.runColor": "#0072B2", "side_by_side": "(elu and bn)"}
    assert elu.tags.items() >= {**tags, **DATA}.items()
    assert elu.params == {"variant": "elu", "seeds": "2", "learning_rate": "0.000158"}


def test_results_are_averaged_over_the_seeds_and_curves_as_far_as_all_go(
    comparison: StepRun, found: Evidence
) -> None:
    means.log(comparison, found, DATA, [])
    runs = logged(comparison)
    elu: dict[str, Any] = runs["elu"].data.metrics
    assert (elu["test_accuracy"], elu["median_epoch_seconds"]) == (0.55, 2.5)
    assert "mc_accuracy" not in elu
    assert runs["bn"].data.metrics["mc_accuracy"] == 0.7
    curves = client.metric_histories(runs["elu"].info.run_id, ["val_loss", "elapsed_seconds"])
    assert curves == {"val_loss": {1: 1.5, 2: 1.65}, "elapsed_seconds": {1: 2.5, 2: 5.0}}


def test_what_is_logged_is_not_logged_again(comparison: StepRun, found: Evidence) -> None:
    means.log(comparison, found, DATA, [])
    before = client.search_runs("0", "")
    means.log(comparison, found, DATA, [])
    assert [run.info.run_id for run in client.search_runs("0", "")] == [
        run.info.run_id for run in before
    ]
