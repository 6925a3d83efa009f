"""What a comparison rests on: results and curves of its runs, and artifacts of one per variant."""

import io
import json
import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
from mlflow.exceptions import MlflowException

from pipeline.answers import fairness
from pipeline.answers.statistics import paired_tests
from pipeline.answers.summary import OPTIONAL_COLUMNS, RUN_COLUMNS, summarize
from pipeline.base import InputError
from pipeline.comparisons.variants import VARIANTS
from pipeline.report import page
from pipeline.tracking import client

CURVE_METRICS = (
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "epoch_seconds",
    "elapsed_seconds",
)
# Columns of the table of runs that are metrics of another name: a run is judged by the weights it
# kept, and its calibration is that on the test set. The other columns are metrics of their name.
METRIC_OF = {
    "best_epoch": "judged_epoch",
    "best_val_loss": "judged_val_loss",
    "best_val_accuracy": "judged_val_accuracy",
    "nll": "test_nll",
    "ece": "test_ece",
}
MORE_COLUMNS = ("final_val_accuracy", "epochs_run", "test_loss")


def collect(
    chosen: list[client.Run], absent: list[fairness.LeftOut], baseline: str
) -> page.Comparison:
    """Everything the report shows, with artifacts of one run per variant only.

    Args:
        chosen: the finished training runs.
        absent: the runs that are left out.
        baseline: the variant that the others are timed against.
    """
    rows, curves = pd.DataFrame([_row(run) for run in chosen]), _curves(chosen)
    examples = _examples(chosen)
    searches = _runs_by_id(run.data.tags.get("search_run") for run in chosen)
    return page.Comparison(
        dataset=chosen[0].data.tags["dataset"],
        baseline=baseline,
        runs=rows,
        curves=curves,
        summary=summarize(rows, curves, baseline),
        tests=paired_tests(rows, curves, baseline=baseline),
        colors={variant.name: variant.color for variant in VARIANTS.values()},
        facts=fairness.facts(
            chosen,
            searches=searches,
            prepares=_runs_by_id(run.data.tags.get("prepare_run") for run in chosen),
            absent=absent,
        ),
        left_out=absent,
        searches=_present({name: _trials(run) for name, run in examples.items()}),
        activations=_present(
            {name: _json(run.info.run_id, "activations.json") for name, run in examples.items()}
        ),
        uncertainty=_present({name: _uncertainty(run) for name, run in examples.items()}),
        examples={name: run.info.run_name for name, run in examples.items()},
    )


def _row(run: client.Run) -> dict[str, object]:
    metrics, parameters = run.data.metrics, run.data.params
    own = {
        "run_id": run.info.run_id,
        "variant": parameters["variant"],
        "seed": int(parameters["seed"]),
        "learning_rate": float(parameters["chosen_learning_rate"]),
        "batch_size": int(parameters["chosen_batch_size"]),
        "capped": fairness.is_capped(run),
    }
    columns = [*RUN_COLUMNS, *OPTIONAL_COLUMNS, *MORE_COLUMNS]
    measured = {name: metrics.get(METRIC_OF.get(name, name), math.nan) for name in columns}
    return measured | own


def _curves(runs: Sequence[client.Run]) -> pd.DataFrame:
    """A row per run and epoch; the runs in their order."""
    of_run = {run.info.run_id: run for run in runs}
    found = _from_database(list(of_run)) if _has_database() else _from_server(list(of_run))
    long = found.drop_duplicates(["run_id", "epoch", "metric"], keep="last")
    wide = long.pivot(index=["run_id", "epoch"], columns="metric", values="value").reset_index()
    wide["variant"] = wide["run_id"].map(
        {key: of_run[key].data.params["variant"] for key in of_run}
    )
    wide["seed"] = wide["run_id"].map({key: int(of_run[key].data.params["seed"]) for key in of_run})
    place = {key: place for place, key in enumerate(of_run)}
    ordered = wide.sort_values(["run_id", "epoch"], kind="stable")
    ordered = ordered.sort_values("run_id", key=lambda ids: ids.map(place), kind="stable")
    columns = ["epoch", *CURVE_METRICS, "run_id", "variant", "seed"]
    return ordered.reindex(columns=columns).reset_index(drop=True)


def _has_database() -> bool:
    from mlflow.store.db.db_types import DATABASE_ENGINES

    return client.tracking_uri().startswith(tuple(DATABASE_ENGINES))


def _from_database(run_ids: list[str]) -> pd.DataFrame:
    """The curves of many runs in a few queries; MLflow's own API takes one per run and metric."""
    import sqlalchemy
    from mlflow.store.db.utils import create_sqlalchemy_engine
    from mlflow.store.tracking.dbmodels.models import SqlMetric

    engine = create_sqlalchemy_engine(client.tracking_uri())
    columns = (SqlMetric.run_uuid, SqlMetric.step, SqlMetric.key, SqlMetric.value)
    rows: list[tuple] = []
    with engine.connect() as connection:
        for start in range(0, len(run_ids), 500):
            query: sqlalchemy.Select = (
                sqlalchemy.select(*columns)
                .where(SqlMetric.run_uuid.in_(run_ids[start : start + 500]))
                .where(SqlMetric.key.in_(CURVE_METRICS), ~SqlMetric.is_nan)
                .order_by(SqlMetric.timestamp)
            )
            rows += [tuple(row) for row in connection.execute(query)]
    engine.dispose()
    return pd.DataFrame(rows, columns=["run_id", "epoch", "metric", "value"])


def _from_server(run_ids: list[str]) -> pd.DataFrame:
    """The curves of many runs from a tracking server, several requests at a time."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        histories = pool.map(lambda key: client.metric_histories(key, CURVE_METRICS), run_ids)
        rows = [
            (run_id, epoch, metric, value)
            for run_id, by_metric in zip(run_ids, histories, strict=True)
            for metric, by_epoch in by_metric.items()
            for epoch, value in by_epoch.items()
        ]
    return pd.DataFrame(rows, columns=["run_id", "epoch", "metric", "value"])


def _examples(runs: Sequence[client.Run]) -> dict[str, client.Run]:
    """The run of each variant with the lowest validation loss."""
    best: dict[str, client.Run] = {}
    for run in sorted(runs, key=lambda run: run.data.metrics["best_val_loss"]):
        best.setdefault(run.data.params["variant"], run)
    return {run.data.params["variant"]: best[run.data.params["variant"]] for run in runs}


def _runs_by_id(run_ids: Iterable[str | None]) -> dict[str, client.Run]:
    """The runs that are still there."""
    found = {}
    for run_id in dict.fromkeys(filter(None, run_ids)):
        try:
            found[run_id] = client.get_run(run_id)
        except InputError:
            continue
    return found


def _present(found: dict) -> dict:
    return {name: value for name, value in found.items() if value is not None}


def _artifact(run_id: str, path: str) -> bytes | None:
    """An artifact of a run; None where there is none, or its store cannot be reached from here."""
    try:
        return client.local_artifact(run_id, path).read_bytes()
    except (OSError, MlflowException):
        return None


def _json(run_id: str, path: str) -> dict | None:
    content = _artifact(run_id, path)
    return json.loads(content) if content else None


def _trials(run: client.Run) -> pd.DataFrame | None:
    """The trials of the search behind a run, as `report_figures.search_panels` takes them."""
    content = _artifact(run.data.tags.get("search_run", "none"), "trials.csv")
    if content is None:
        return None
    trials = pd.read_csv(io.BytesIO(content))
    if "user_attrs_diverged" in trials:
        trials.loc[trials["user_attrs_diverged"].notna(), "state"] = "DIVERGED"
    return trials.rename(columns={"params_learning_rate": "learning_rate"})


def _uncertainty(run: client.Run) -> page.Uncertainty | None:
    if "mc_accuracy" not in run.data.metrics:
        return None
    record = _json(run.info.run_id, "mc_dropout/record.json")
    return page.Uncertainty(run_name=run.info.run_name, record=record) if record else None
