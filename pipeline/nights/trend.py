"""Figures over nights, kept in MLflow, so that its UI draws them: a point for every night.

A comparison on data of a name has a run for each of its variants, with `TREND` as its tag `step`;
it ends at once, and every night adds a value to each of its metrics, at the MLflow step that is the
night's number and at the time when the night began. A night that trained nothing new repeats what
was known. A run that a person deletes is begun anew, with the night's number as it was.
"""

import io
import json
from collections.abc import Hashable, Mapping
from hashlib import sha256
from typing import Any

import pandas as pd

from pipeline.answers.night import TREND_COLUMNS
from pipeline.comparing import artifacts
from pipeline.comparisons.colors import readable
from pipeline.steps.running import step_run
from pipeline.tracking import client
from pipeline.tracking.curves import curves
from pipeline.tracking.names import hidden
from pipeline.tracking.night_views import NIGHTLY, NIGHTS, TREND
from pipeline.tracking.runs import StepRun

NUMBER = "night"  # the tag of a night's run: 1, 2, ... of its comparison and data
ALARM = "alarm"  # the metric that every variant has of every night: 1 where it rang, else 0
LOW, HIGH = "test_accuracy_low", "test_accuracy_high"  # metrics: the 95% interval of the mean
# Columns of `answers.summary.summarize`, by the metric that they become.
METRICS = {"test_accuracy": "test_accuracy", "val_accuracy": "val_accuracy", "seeds": "seeds"}
METRICS |= {"median_epoch_seconds": "seconds_per_epoch"}


def tags(comparison: str, dataset: str) -> dict[str, str]:
    """What the runs of all nights of a comparison on data of a name have in common, as tags.

    That of a night has them from its beginning on, so that one that fails is listed with the rest.
    """
    digest = sha256(json.dumps([comparison, dataset]).encode()).hexdigest()[:8]
    # By this they are found: a name may be one that no query can ask for.
    return {"comparison": comparison, "dataset": dataset, **hidden({"nights": digest})}


def log(
    night: StepRun, compared: str, *, of: Mapping[str, str], colors: Mapping[str, str], alarm: bool
) -> int:
    """Add a night to the figures of all variants of its comparison, once; its number.

    Args:
        night: its run.
        compared: the run of its comparison; where that has no summary left, nothing is added.
        of: the tags that `tags` gives.
        colors: of the variants.
        alarm: whether it rang.
    """
    began = client.get_run(night.run_id).info.start_time / 1000
    runs = {run.data.tags["variant"]: run for run in _runs(night.experiment, of)}
    numbers = {name: _nights(run.info.run_id) for name, run in runs.items()}
    number = _number(night, of, max((max(one, default=0) for one in numbers.values()), default=0))
    summary = artifacts.read(compared, "summary.csv", _summary, of=compared)
    for row in [] if summary is None else summary.to_dict("records"):
        variant = str(row["variant"])
        if number in numbers.get(variant, ()):
            continue  # the night goes on where it was cut off
        run = runs[variant].info.run_id if variant in runs else _begun(variant, of, colors)
        point = {ALARM: float(alarm), **_point(row)}
        StepRun(run, night.experiment).log_metrics(point, epoch=number, at=began)
    return number


def table(experiment: str, of: Mapping[str, str]) -> pd.DataFrame:
    """The figures over nights of a comparison, with `TREND_COLUMNS`: a row per night and variant.

    Args:
        experiment: its id.
        of: the tags that `tags` gives.
    """
    runs = _runs(experiment, of)
    points = [
        (run.info.run_id, number, run.data.tags["variant"], began, rang)
        for run in runs
        for number, (began, rang) in _nights(run.info.run_id).items()
    ]
    rows = pd.DataFrame(points, columns=["of", "epoch", "variant", "night", "alarm"])
    rows["night"] = pd.to_datetime(rows["night"].astype("int64"), unit="ms", utc=True)
    metrics = [*METRICS, LOW, HIGH]
    found = curves([run.info.run_id for run in runs], metrics).rename(columns={"run_id": "of"})
    found = found.reindex(columns=["of", "epoch", *metrics]).astype({"epoch": "int64"})
    rows = rows.merge(found, on=["of", "epoch"], how="left")
    ids = {_numbered(run): run.info.run_id for run in client.search_runs(experiment, query(of))}
    rows["run_id"] = rows["epoch"].map(ids).fillna("")  # of a night that was deleted, nothing
    rows = rows.rename(columns={LOW: "low", HIGH: "high"}).drop_duplicates(["epoch", "variant"])
    return rows.sort_values("epoch", kind="stable", ignore_index=True)[[*TREND_COLUMNS]]


def _summary(content: bytes) -> pd.DataFrame:
    found = pd.read_csv(io.BytesIO(content), float_precision="round_trip")
    columns = [*METRICS.values(), "test_accuracy_half_width"]
    return found[["variant", *columns]].astype(dict.fromkeys(columns, float))


def _point(row: Mapping[Hashable, Any]) -> dict[str, float]:
    """The metrics of a row of the summary, to the digits that a person reads."""
    point = {metric: row[column] for metric, column in METRICS.items()}
    mean, half_width = row["test_accuracy"], row["test_accuracy_half_width"]
    point |= {LOW: mean - half_width, HIGH: mean + half_width}
    return {name: float(f"{value:.5g}") for name, value in point.items()}


def query(of: Mapping[str, str], step: str = NIGHTLY) -> str:
    """What finds all nights of a comparison by the tags that `tags` gives; or runs of a step."""
    return f"tags.step = '{step}' and tags.`{NIGHTS}` = '{of[NIGHTS]}'"


def _runs(experiment: str, of: Mapping[str, str]) -> list[client.Run]:
    """The runs with the figures of the variants, in the order in which they were begun."""
    found = client.search_runs(experiment, query(of, TREND))[::-1]
    return [run for run in found if "variant" in run.data.tags]  # a person may have taken it away


def _nights(run_id: str) -> dict[int, tuple[int, bool]]:
    """By the numbers of the nights that a variant has figures of, when they began, and alarms."""
    history = client.connect().get_metric_history(run_id, ALARM)
    return {point.step: (point.timestamp, bool(point.value)) for point in history}


def _number(night: StepRun, of: Mapping[str, str], reached: int) -> int:
    """The number of a night: the next after all that were given away, also where one died."""
    if own := _numbered(client.get_run(night.run_id)):
        return own
    nights = client.newest_first(night.experiment, query(of))
    number = 1 + max(reached, next(filter(None, map(_numbered, nights)), 0))
    night.set_tags({**of, NUMBER: number})
    return number


def _numbered(run: client.Run) -> int:
    """The number that a night has; 0 where it has none, or a person has changed it."""
    given = run.data.tags.get(NUMBER, "")
    return int(given) if given.isdecimal() else 0


def _begun(variant: str, of: Mapping[str, str], colors: Mapping[str, str]) -> str:
    color = colors.get(variant, "")
    shown = {"variant": variant, "mlflow.runColor": readable(color) if color else ""}
    with step_run(TREND, {"variant": variant}, name=variant, tags={**of, **shown}) as run:
        return run.run_id
