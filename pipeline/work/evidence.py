"""What a comparison rests on: results and curves of its runs, and artifacts of one per variant."""

import contextlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import pandas as pd
from mlflow.exceptions import MlflowException

from pipeline.answers import fairness
from pipeline.answers.evidence import Evidence
from pipeline.answers.fairness import RunRecord
from pipeline.answers.summary import OPTIONAL_COLUMNS, RUN_COLUMNS
from pipeline.answers.verdicts import Answer
from pipeline.base import progress
from pipeline.comparisons import Comparison
from pipeline.steps.step import recorded_inputs, recorded_settings, resolved_parameters
from pipeline.tracking import client, curves
from pipeline.work import artifacts

CURVE_METRICS = ["loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"]
CURVE_METRICS += ["epoch_seconds", "elapsed_seconds"]
CURVE_OF = ["run_id", "variant", "seed"]
MEASURED = (*RUN_COLUMNS, *OPTIONAL_COLUMNS, "final_val_accuracy", "epochs_run", "test_loss")
# Columns of the table of runs that are metrics of another name: a run is judged by the weights it
# kept, and its calibration is that on the test set. The other columns are metrics of their name.
METRIC_OF = {"nll": "test_nll", "ece": "test_ece"}
METRIC_OF |= {f"best_{name}": f"judged_{name}" for name in ("epoch", "val_loss", "val_accuracy")}


def collect(
    chosen: Sequence[client.Run],
    absent: Sequence[fairness.LeftOut],
    *,
    comparison: Comparison,
    baseline: str,
) -> Evidence:
    """Everything the report shows of finished training runs, as in `compare.Compare`.

    Artifacts that are only shown are read of one run per variant.
    """
    runs = _records(chosen)
    names = dict.fromkeys(run.variant for run in runs)
    by_loss = sorted(runs, key=lambda run: run.metrics["best_val_loss"])
    examples = {name: next(run for run in by_loss if run.variant == name) for name in names}
    ids = {name: run.run_id for name, run in examples.items()}
    searches = {name: run.tags.get("search_run") for name, run in examples.items()}
    uncertain = {name: ids[name] for name in ids if "mc_accuracy" in examples[name].metrics}
    colors = {variant.name: variant.color for variant in comparison.variants}
    return Evidence(
        **_measured(chosen, comparison, baseline),
        title=comparison.title,
        colors=colors | _colors(runs),
        facts=fairness.facts(runs, absent=absent),
        left_out=absent,
        searches=_of_each(searches, "trials.csv", artifacts.trials),
        activations=_of_each(ids, "activations.json", artifacts.activations),
        uncertainty=_of_each(uncertain, "mc_dropout/record.json", artifacts.uncertainty),
        examples={name: run.name for name, run in examples.items()},
    )


def judged(
    chosen: Sequence[client.Run], *, comparison: Comparison, baseline: str
) -> Sequence[Answer]:
    """The answers that finished training runs give, as `collect` finds them; reads no more."""
    return Evidence(**_measured(chosen, comparison, baseline)).answers


def _measured(
    chosen: Sequence[client.Run], comparison: Comparison, baseline: str
) -> dict[str, Any]:
    """All that the answers follow from."""
    runs = [record(run) for run in chosen]
    return {
        "dataset": runs[0].tags["dataset"],
        "baseline": baseline,
        "questions": comparison.asked,
        "runs": pd.DataFrame([_row(run) for run in runs]),
        "curves": _curves(runs),
    }


def left_out(chosen: Sequence[client.Run]) -> list[fairness.LeftOut]:
    """The runs on the same data as some that failed or were interrupted; see `fairness`."""
    fingerprint = chosen[0].data.tags["data_fingerprint"]
    query = f"tags.step = 'train' and tags.data_fingerprint = '{fingerprint}'"
    query += " and attributes.status != 'FINISHED'"
    unfinished = client.search_runs(chosen[0].info.experiment_id, query)
    named = [run for run in unfinished if "seed" in run.data.params]
    return fairness.left_out(*([record(run) for run in runs] for runs in (chosen, named)))


def record(run: client.Run, **made_from: RunRecord | None) -> RunRecord:
    """What a run says of itself, with the records `search` and `prepare`."""
    tags = run.data.tags
    declared, given = recorded_settings(tags)
    return RunRecord(
        run_id=run.info.run_id,
        name=run.info.run_name,
        status=run.info.status,
        start_time=run.info.start_time,
        variant=run.data.params.get("variant", ""),
        seed=int(run.data.params.get("seed", 0)),
        metrics=run.data.metrics,
        settings=resolved_parameters(run),
        declared=declared,
        given=given,
        tags=tags,
        code=recorded_inputs(tags, "code of pipeline."),
        versions=recorded_inputs(tags, "version of "),
        **made_from,
    )


def _records(runs: Sequence[client.Run]) -> list[RunRecord]:
    """The records of training runs, with those of the runs that they were made from."""

    @cache
    def found(run_id: str | None) -> RunRecord | None:
        run = client.find_run(run_id)
        return record(run) if run else None

    def made_from(tags: Mapping[str, str]) -> dict[str, RunRecord | None]:
        return {step: found(tags.get(f"{step}_run")) for step in ("search", "prepare")}

    return [record(run, **made_from(run.data.tags)) for run in runs]


def _colors(runs: Sequence[RunRecord]) -> dict[str, str]:
    """The colours that the runs have in the UI, by variant; anyone can change that tag."""
    tags = ((run.variant, run.tags.get("mlflow.runColor", "")) for run in runs)
    return {variant: color for variant, color in tags if re.fullmatch(r"#[0-9A-Fa-f]{6}", color)}


def _row(run: RunRecord) -> dict[str, object]:
    measured = {name: run.metrics.get(METRIC_OF.get(name, name), math.nan) for name in MEASURED}
    return measured | {
        "run_id": run.run_id,
        "variant": run.variant,
        "seed": run.seed,
        "learning_rate": float(run["learning_rate"]),
        "batch_size": int(run["batch_size"]),
        "capped": fairness.is_capped(run),
        "started": run.start_time,
        "processor": run.tags.get("processor", ""),
    }


def _curves(runs: Sequence[RunRecord]) -> pd.DataFrame:
    """A row per run and epoch; the runs in their order."""
    of_run = pd.DataFrame([{name: getattr(run, name) for name in CURVE_OF} for run in runs])
    found = curves.curves(list(of_run["run_id"]), CURVE_METRICS)
    return of_run.merge(found).reindex(columns=["epoch", *CURVE_METRICS, *CURVE_OF])


def _of_each(
    run_ids: Mapping[str, str | None], path: str, read: Callable[[bytes], Any]
) -> dict[str, Any]:
    """What an artifact of each run has; of none without it, or whose store cannot be reached."""
    found: dict[str, Any] = {}
    for variant, run_id in run_ids.items():
        with contextlib.suppress(OSError, MlflowException):
            if run_id and (content := client.local_artifact(run_id, path).read_bytes()):
                try:
                    found[variant] = read(content)
                except Exception as error:  # damaged: the comparison is of figures, not of these
                    text = f"is not shown, as it is damaged ({type(error).__name__})"
                    progress.update(message=f"{path} of {variant} {text}.")
    return found
