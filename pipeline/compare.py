"""Entry point `compare`: finished training runs side by side, and what they answer."""

import base64
import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
from mlflow.exceptions import MlflowException
from rich.console import Console
from rich.markdown import Markdown

from pipeline import cli, fairness, html_report, progress, report, report_figures, tracking, views
from pipeline.errors import InputError
from pipeline.registry import register
from pipeline.reuse import once
from pipeline.significance import paired_tests
from pipeline.steps import Step
from pipeline.summary import OPTIONAL_COLUMNS, RUN_COLUMNS, check_comparable, summarize
from pipeline.variants import VARIANTS

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
SOURCES = (
    "summary",
    "significance",
    "report",
    "figures",
    "report_figures",
    "html_report",
    "fairness",
    "registry",
    "variants",
    "compare",
)
MOST_NAMED = 60  # runs: MLflow cuts longer parameters and tags
# What a run has that was made before its figures were drawn in the report.
MC_PICTURES = {
    "Accuracy by the number of samples": "accuracy_by_samples",
    "Reliability diagram": "reliability",
    "Most uncertain images": "most_uncertain_images",
}


def compare(
    *,
    runs: cli.Runs = "auto",
    baseline: cli.Baseline = "elu",
    reuse: cli.Reuse = "auto",
) -> str:
    """Compare finished training runs on the same data and answer what the variants differ in.

    Prints the table and the answers, and logs them with the curves of all variants. Several seeds
    per variant give confidence intervals and paired tests; runs on different data are refused.
    """
    cli.check_reuse(reuse)
    chosen = _choose(runs)
    wanted = _named(chosen, "auto" if runs == "auto" else "<the ids in runs.csv>")
    command = cli.mlflow_run("compare", {"runs": wanted, "baseline": baseline})
    run_id = compared(chosen, baseline=baseline, reuse=reuse, command=command)
    views.announce(views.view_urls(tracking.experiment_id(), chosen[0]))
    return run_id


def compared(chosen: list[tracking.Run], *, baseline: str, reuse: str, command: str) -> str:
    """The comparison of some training runs, made now if there is none; prints it.

    Args:
        chosen: finished training runs.
        baseline: the variant whose best validation loss the others are timed against.
        reuse: ``auto`` or ``never``.
        command: what makes this comparison again, for its note and the experiment's.

    Raises:
        InputError: if the runs are on different data, or the baseline is not among them.
    """
    fingerprints = {run.info.run_name: run.data.tags["data_fingerprint"] for run in chosen}
    check_comparable(fingerprints)
    absent = fairness.left_out(chosen)
    template = html_report.TEMPLATE.read_bytes()
    step = Step(
        entry_point="compare",
        parameters={"baseline": baseline},
        sources=SOURCES,
        packages=("pandas", "scipy", "matplotlib", "jinja2"),
        upstream={
            "template of the report": hashlib.sha256(template).hexdigest()[:16],
            **{f"not compared {one.name}": one.run_id for one in absent},
            **_run_ids(chosen),
        },
    )
    run_id = once(
        step,
        name="compare",
        reuse=reuse,
        run=lambda: _run(step, chosen, absent, baseline, command),
    )
    text = tracking.artifact_directory(run_id, "comparison.md").read_text("utf-8")
    Console(soft_wrap=False, width=max(Console().width, 120)).print(Markdown(text))
    experiment = tracking.experiment_id()
    views.write_views(experiment)
    views.write_experiment_note(experiment, report=text, command=command)
    return run_id


def _run_ids(chosen: list[tracking.Run]) -> dict[str, str]:
    """The ids of the runs by their names, or of many runs one hash."""
    by_id = sorted(chosen, key=lambda run: run.info.run_id)
    if len(by_id) <= MOST_NAMED:
        return {f"run {run.info.run_name}": run.info.run_id for run in by_id}
    joined = ",".join(run.info.run_id for run in by_id)
    return {f"the {len(by_id)} runs": hashlib.sha256(joined.encode()).hexdigest()}


def _named(chosen: list[tracking.Run], many: str) -> str:
    """The ids of the runs separated by commas; of many runs another text."""
    few = len(chosen) <= MOST_NAMED
    return ",".join(run.info.run_id for run in chosen) if few else many


def _choose(runs: str) -> list[tracking.Run]:
    if runs == "auto":
        return _newest_of_each(tracking.finished_runs("train", tracking.experiment_id()))
    chosen = [tracking.get_run(run_id.strip()) for run_id in runs.split(",")]
    for run in chosen:
        if run.data.tags.get("step") != "train" or run.info.status != "FINISHED":
            raise InputError(
                "runs",
                expected="ids of finished training runs",
                received=f"{run.info.run_id} ({run.data.tags.get('step', 'foreign')}, "
                f"{run.info.status})",
                action="Copy the ids of runs named 'train <variant> seed <seed>'.",
            )
    return chosen


def _newest_of_each(found: list[tracking.Run]) -> list[tracking.Run]:
    """The newest run of every variant and seed, on the data of the newest run of all."""
    if not found:
        raise InputError(
            "runs",
            expected="finished training runs in this experiment",
            received="none",
            action="Train first, e.g. `mlflow run . -e train -P variant=elu`.",
        )
    fingerprint = found[0].data.tags["data_fingerprint"]
    newest: dict[tuple[str, str], tracking.Run] = {}
    for run in found:
        if run.data.tags["data_fingerprint"] == fingerprint:
            newest.setdefault((run.data.params["variant"], run.data.params["seed"]), run)
    order = {name: place for place, name in enumerate(VARIANTS)}
    return sorted(
        newest.values(),
        key=lambda run: (
            order.get(run.data.params["variant"], len(order)),
            run.data.params["variant"],
            int(run.data.params["seed"]),
        ),
    )


def _run(
    step: Step,
    chosen: list[tracking.Run],
    absent: list[fairness.LeftOut],
    baseline: str,
    command: str,
) -> str:
    tags = {
        name: chosen[0].data.tags[name] for name in ("dataset", "data_fingerprint", "prepare_run")
    }
    parameters = {"baseline": baseline, "runs": _named(chosen, f"{len(chosen)}, see runs.csv")}
    name = f"compare {tags['dataset']}"
    with tracking.step_run("compare", parameters, name=name, step=step, tags=tags) as run:
        progress.update(step="compare", text=f"{len(chosen)} runs")
        comparison = _comparison(chosen, absent, baseline)
        _log(run, comparison, again=command, registered=_registered(comparison, tags))
        progress.update(step="compare", state="finished")
        return run.run_id


def _registered(comparison: html_report.Comparison, tags: Mapping[str, str]) -> str:
    """Register each variant's best model; what came of it, as Markdown."""
    return register(
        comparison.runs,
        comparison.curves,
        dataset=tags["dataset"],
        data_fingerprint=tags["data_fingerprint"],
        prepare_run=tags["prepare_run"],
    ).text


def _log(
    run: tracking.StepRun, comparison: html_report.Comparison, *, again: str, registered: str
) -> None:
    summary, tests = comparison.summary, comparison.tests
    text = report.markdown_report(summary, tests, report.answers(summary, tests))
    if comparison.left_out:
        text += "\n## Not compared\n\n" + "".join(f"- {one}\n" for one in comparison.left_out)
    text += f"\n## Champion\n\n{registered}\n"
    run.log_text(text, "comparison.md")
    tables = {"runs": comparison.runs, "curves": comparison.curves}
    for name, table in {**tables, "summary": summary, "tests": tests}.items():
        run.log_text(table.to_csv(index=False), f"{name}.csv")
    panels = html_report.sections(comparison)
    run.log_text(html_report.html_report(comparison, panels), "report.html")
    for name, of in panels.items():
        run.log_figure(report_figures.sheet(of), f"{name}.png")
    run.set_note(text + f"\nRun again: `{again}`")


def _comparison(
    chosen: list[tracking.Run], absent: list[fairness.LeftOut], baseline: str
) -> html_report.Comparison:
    """Everything the report shows, with artifacts of one run per variant only."""
    rows, curves = pd.DataFrame([_row(run) for run in chosen]), _curves(chosen)
    examples = _examples(chosen)
    searches = _runs_by_id(run.data.tags.get("search_run") for run in chosen)
    return html_report.Comparison(
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


def _row(run: tracking.Run) -> dict[str, object]:
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


def _curves(runs: Sequence[tracking.Run]) -> pd.DataFrame:
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

    return tracking.tracking_uri().startswith(tuple(DATABASE_ENGINES))


def _from_database(run_ids: list[str]) -> pd.DataFrame:
    """The curves of many runs in a few queries; MLflow's own API takes one per run and metric."""
    import sqlalchemy
    from mlflow.store.db.utils import create_sqlalchemy_engine
    from mlflow.store.tracking.dbmodels.models import SqlMetric

    engine = create_sqlalchemy_engine(tracking.tracking_uri())
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
        histories = pool.map(lambda key: tracking.metric_histories(key, CURVE_METRICS), run_ids)
        rows = [
            (run_id, epoch, metric, value)
            for run_id, by_metric in zip(run_ids, histories, strict=True)
            for metric, by_epoch in by_metric.items()
            for epoch, value in by_epoch.items()
        ]
    return pd.DataFrame(rows, columns=["run_id", "epoch", "metric", "value"])


def _examples(runs: Sequence[tracking.Run]) -> dict[str, tracking.Run]:
    """The run of each variant with the lowest validation loss."""
    best: dict[str, tracking.Run] = {}
    for run in sorted(runs, key=lambda run: run.data.metrics["best_val_loss"]):
        best.setdefault(run.data.params["variant"], run)
    return {run.data.params["variant"]: best[run.data.params["variant"]] for run in runs}


def _runs_by_id(run_ids: Iterable[str | None]) -> dict[str, tracking.Run]:
    """The runs that are still there."""
    found = {}
    for run_id in dict.fromkeys(filter(None, run_ids)):
        try:
            found[run_id] = tracking.get_run(run_id)
        except InputError:
            continue
    return found


def _present(found: dict) -> dict:
    return {name: value for name, value in found.items() if value is not None}


def _artifact(run_id: str, path: str) -> bytes | None:
    """An artifact of a run; None where there is none, or its store cannot be reached from here."""
    try:
        return tracking.artifact_directory(run_id, path).read_bytes()
    except (OSError, MlflowException):
        return None


def _json(run_id: str, path: str) -> dict | None:
    content = _artifact(run_id, path)
    return json.loads(content) if content else None


def _trials(run: tracking.Run) -> pd.DataFrame | None:
    """The trials of the search behind a run, as `report_figures.search_panels` takes them."""
    content = _artifact(run.data.tags.get("search_run", "none"), "trials.csv")
    if content is None:
        return None
    trials = pd.read_csv(io.BytesIO(content))
    if "user_attrs_diverged" in trials:
        trials.loc[trials["user_attrs_diverged"].notna(), "state"] = "DIVERGED"
    return trials.rename(columns={"params_learning_rate": "learning_rate"})


def _uncertainty(run: tracking.Run) -> html_report.Uncertainty | None:
    if "mc_accuracy" not in run.data.metrics:
        return None
    run_id = run.info.run_id
    record = _json(run_id, "mc_dropout/record.json") or {}
    pictures = {
        alt: _artifact(run_id, f"mc_dropout/{name}.png")
        for alt, name in MC_PICTURES.items()
        if not record
    }
    return html_report.Uncertainty(
        run_name=run.info.run_name,
        record=record,
        pictures={
            alt: f"data:image/png;base64,{base64.b64encode(content).decode()}"
            for alt, content in pictures.items()
            if content
        },
    )


if __name__ == "__main__":
    cli.run(compare)
