"""A run per variant of a comparison: the means of its seeds, for charts of few lines."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pipeline.answers.evidence import Evidence
from pipeline.answers.summary import IF_ASKED
from pipeline.steps.running import step_run
from pipeline.tracking import client
from pipeline.tracking.runs import StepRun
from pipeline.tracking.views import MEANS, Pairs, side_by_side

# Columns of the tables of runs and of curves, by the metric that their means become. First what a
# reader is meant to use: MLflow compares two runs by the first metric that they have in common.
RESULTS = {name: name for name in ("test_accuracy", "best_val_accuracy", "mc_accuracy")}
RESULTS |= {name: name for name in ("test_precision", "best_train_accuracy", "generalization_gap")}
RESULTS |= {"best_val_loss": "best_val_loss", "test_nll": "nll", "mc_nll": "mc_nll"}
RESULTS |= {"test_ece": "ece", "mc_ece": "mc_ece", "best_epoch": "best_epoch"}
RESULTS |= {name: name for name in ("train_seconds", *IF_ASKED)}
CURVES = {"val_accuracy": "val_accuracy", "val_loss": "val_loss", "train_accuracy": "accuracy"}
CURVES |= {"train_loss": "loss", "elapsed_seconds": "elapsed_seconds"}


def log(
    comparison: StepRun,
    found: Evidence,
    data: Mapping[str, Any],
    pairs: Pairs,
) -> None:
    """Log the means of every variant as a run below that of a comparison, unless it is there.

    Curves are averaged as far as all seeds go.
    """
    below = f"tags.`mlflow.parentRunId` = '{comparison.run_id}' and attributes.status = 'FINISHED'"
    logged = {run.data.tags["variant"] for run in client.search_runs(comparison.experiment, below)}
    for variant, runs in found.timed.groupby("variant", sort=False):
        if variant not in logged:
            curves = found.curves[found.curves["variant"] == variant]
            tags = {
                "variant": variant,
                "mlflow.parentRunId": comparison.run_id,
                "mlflow.runColor": found.colors.get(str(variant), ""),
                **side_by_side(str(variant), pairs),
                **data,
            }
            _log_variant(str(variant), runs, curves, tags)


def _log_variant(
    variant: str, runs: pd.DataFrame, curves: pd.DataFrame, tags: Mapping[str, Any]
) -> None:
    rate, seeds = runs["learning_rate"].mean(), len(runs)
    parameters = {"variant": variant, "seeds": seeds, "learning_rate": f"{rate:.3g}"}
    name = f"{variant}: mean of {seeds}"  # short: in a legend, a metric follows
    results = {metric: runs[column].mean() for metric, column in RESULTS.items() if column in runs}
    results["median_epoch_seconds"] = runs["median_epoch_seconds"].median()  # as in the report
    columns = [name for name in CURVES.values() if name in curves]
    by_epoch = curves.groupby("epoch")[columns]
    means = by_epoch.mean()[by_epoch.size() == seeds]
    points = {
        int(epoch): {metric: row[column] for metric, column in CURVES.items() if column in row}
        for epoch, row in zip(means.index, means.to_dict("records"), strict=True)
    }
    with step_run(MEANS, parameters, name=name, tags=tags) as run:
        run.log_curves({0: _rounded(results)} | {at: _rounded(one) for at, one in points.items()})


def _rounded(metrics: Mapping[str, float]) -> dict[str, float]:
    """To the digits that a person reads."""
    return {name: float(f"{value:.4g}") for name, value in metrics.items()}
