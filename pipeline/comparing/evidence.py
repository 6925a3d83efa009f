"""What a comparison rests on: results and curves of its runs, and artifacts of one per variant."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any

import pandas as pd

from pipeline.answers import fairness, run_records
from pipeline.answers.evidence import Evidence
from pipeline.answers.run_records import LeftOut, RunRecord, is_capped
from pipeline.answers.summary import OPTIONAL_COLUMNS, RUN_COLUMNS, SOURCE_COLUMN, disturbed
from pipeline.answers.verdicts import Answer
from pipeline.comparing import artifacts, images, predictions
from pipeline.comparing.predictions import Predictions
from pipeline.comparing.previous import previous
from pipeline.comparisons import Comparison, Variant
from pipeline.comparisons.colors import told_apart
from pipeline.steps.step import recorded_inputs, recorded_settings, resolved_parameters
from pipeline.tracking import client, curves, metrics
from pipeline.work.source import SOURCE_RUN

# Columns of the table of curves, by the metrics that they are.
CURVE_METRICS = {"train_loss": "loss", "train_accuracy": "accuracy"}
CURVE_METRICS |= {name: name for name in ("val_loss", "val_accuracy", "learning_rate")}
CURVE_METRICS |= {
    f"{name}_seconds": f"{name}_seconds" for name in ("epoch", "epoch_cpu", "elapsed")
}
CURVE_OF = ["run_id", "variant", "seed"]
MEASURED = (*RUN_COLUMNS, *OPTIONAL_COLUMNS, "epochs_run", "test_loss")
# Columns of the table of runs that are metrics of another name; the others are of their own.
METRIC_OF = {"nll": "test_nll", "ece": "test_ece"}


def collect(
    chosen: Sequence[client.Run],
    absent: Sequence[LeftOut],
    *,
    comparison: Comparison,
    baseline: str,
) -> Evidence:
    """Everything the report shows of finished training runs, as in `compare.Compare`.

    Activations, the search and single images are shown of one run per variant.
    """
    runs = _records(chosen)
    test, mc_test = _predicted(chosen)
    measured = _measured(chosen, comparison, baseline, test, mc_test)
    examples = _examples(runs)
    ids = {name: run.run_id for name, run in examples.items()}
    # One that is another's is shown of that.
    own = [one for one in examples.values() if not one.declared.get("learning_rate_of")]
    searches = {run.variant: run.tags.get("search_run") for run in own}
    tags, experiment = runs[0].tags, chosen[0].info.experiment_id
    colors = {one.name: one.color for one in comparison.variants if one.name in examples}
    of_images = images.evidence(chosen, measured["runs"], test)
    classes = len(of_images.class_names) if of_images else 0
    return Evidence(
        **measured,
        title=comparison.title,
        descriptions={variant.name: variant.description for variant in comparison.variants},
        colors=told_apart(colors, _colors(runs)),
        facts=fairness.facts(runs, absent=absent, disturbed=disturbed(measured["curves"])),
        left_out=absent,
        searches=_of_each(searches, "trials.csv", artifacts.trials),
        rate_curves=_of_each(searches, "learning_rate_curve.csv", artifacts.rate_curve),
        activations=_layers(ids),
        figures=comparison.figures,
        first_losses=_first_losses(runs) if "first_losses" in comparison.figures else {},
        uncertainty=_uncertainty(runs, ids),
        examples={name: run.name for name, run in examples.items()},
        ensembles=predictions.ensembles(measured["runs"], test, mc_test),
        settings={name: _settings(run) for name, run in examples.items()},
        images_per_class={name: _images_per_class(run, classes) for name, run in examples.items()},
        images=of_images,
        before=previous(comparison.name, tags["data_fingerprint"], experiment),
    )


def _examples(runs: Sequence[RunRecord]) -> dict[str, RunRecord]:
    """The run of each variant that is shown where one has to do.

    That with the first seed which all have, so that what they begin with compares; where they have
    none in common, with its own first.
    """
    of: dict[str, dict[int, RunRecord]] = {}
    for run in runs:
        of.setdefault(run.variant, {})[run.seed] = run
    shared = set[int].intersection(*map(set, of.values()))
    return {name: by_seed[min(shared or by_seed)] for name, by_seed in of.items()}


def _layers(ids: Mapping[str, str]) -> dict[str, Any]:
    """What is known of the layers; runs of earlier versions logged less, under another name."""
    older = _of_each(ids, "activations.json", artifacts.layers)
    found = older | _of_each(ids, "layers.json", artifacts.layers)
    return {name: found[name] for name in ids if name in found}


def _first_losses(runs: Sequence[RunRecord]) -> dict[str, list[Any]]:
    """The losses of the first epoch, of every run of each variant that has logged them."""
    found, path = dict[str, list[Any]](), "first_epoch_losses.npy"
    for run in runs:
        if (of := artifacts.read(run.run_id, path, artifacts.losses, of=run.name)) is not None:
            found.setdefault(run.variant, []).append(of)
    return found


def _uncertainty(runs: Sequence[RunRecord], examples: Mapping[str, str]) -> dict[str, Any]:
    """What MC Dropout came to in all runs of a variant that have it, with the example's images."""
    sampled = [run for run in runs if "mc_accuracy" in run.metrics]
    names = {run.run_id: run.name for run in sampled}
    path = "mc_dropout/record.json"
    read = {
        run_id: artifacts.read(run_id, path, artifacts.uncertainty, of=name)
        for run_id, name in names.items()
    }
    records = {run_id: record for run_id, record in read.items() if record}
    found = {}
    for variant, example in examples.items():
        of = [
            records[run.run_id]
            for run in sampled
            if run.variant == variant
            if run.run_id in records
        ]
        if of:
            shown = records.get(example, {}).get("most_uncertain", ())
            found[variant] = artifacts.mean_uncertainty(of) | {"most_uncertain": shown}
    return found


def _settings(run: RunRecord) -> dict[str, Any]:
    """What a variant was trained with; empty for a run from before this was recorded."""
    decisive = {
        one.name
        for one in fields(Variant)
        if one.name != "name" and one.metadata.get("steps", (True,))
    }
    shown = {*decisive, "derived_from", "starts_from"}
    found = {name: one for name, one in run.declared.items() if name in shown}
    if found and "parameter_count" in run.metrics:
        found["parameters"] = int(run.metrics["parameter_count"])
    return found


def _images_per_class(run: RunRecord, classes: int) -> int:
    """How many images of each class a variant was trained with, on average; 0 if it is unknown."""
    if number := run.declared.get("images_per_class"):
        return int(number)
    # The images of pairs are of other classes than the pairs.
    is_known = classes and run.declared.get("arms") == "one"
    data = run.prepare.metrics if is_known and run.prepare else {}
    return round(data.get("train_images", 0) / max(classes, 1))


def judged(
    chosen: Sequence[client.Run], *, comparison: Comparison, baseline: str
) -> Sequence[Answer]:
    """The answers that finished training runs give, as `collect` finds them; reads no more."""
    predicted = _predicted(chosen)
    return Evidence(**_measured(chosen, comparison, baseline, *predicted)).answers


def _predicted(chosen: Sequence[client.Run]) -> tuple[Predictions, Predictions]:
    """What runs predicted of the test set; without MC Dropout, and with it those that have it."""
    with_dropout = [run for run in chosen if "mc_accuracy" in run.data.metrics]
    return predictions.read(chosen, "test"), predictions.read(with_dropout, "mc_test")


def _measured(
    chosen: Sequence[client.Run],
    comparison: Comparison,
    baseline: str,
    test: Predictions,
    mc_test: Predictions,
) -> dict[str, Any]:
    """All that the answers follow from."""
    runs, epochs = tables(chosen)
    return {
        "dataset": chosen[0].data.tags["dataset"],
        "baseline": baseline,
        "questions": comparison.asked,
        "runs": runs,
        "curves": epochs,
        "correct": test.correct,
        "mc_correct": mc_test.correct,
    }


def tables(chosen: Sequence[client.Run]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of runs and of their curves, as `Evidence` has them."""
    runs = [record(run) for run in chosen]
    rows, epochs = pd.DataFrame([_row(run) for run in runs]), _curves(runs)
    # It is not known of runs from before CPU time was logged, and of those without epochs.
    slowed = rows["run_id"].map(disturbed(epochs)).fillna(False)
    return rows.assign(disturbed=slowed.astype(bool)), epochs


def left_out(chosen: Sequence[client.Run], variants: Sequence[str]) -> list[LeftOut]:
    """The runs of some variants that failed or were interrupted, on the data of those chosen."""
    fingerprint = chosen[0].data.tags["data_fingerprint"]
    query = f"tags.step = 'train' and tags.data_fingerprint = '{fingerprint}'"
    query += " and attributes.status != 'FINISHED'"
    unfinished = client.search_runs(chosen[0].info.experiment_id, query)
    named = [run for run in unfinished if "seed" in run.data.params]
    asked = [run for run in named if run.data.params["variant"] in variants]
    return run_records.left_out(*([record(run) for run in runs] for runs in (chosen, asked)))


def record(run: client.Run, **made_from: RunRecord | None) -> RunRecord:
    """What a run says of itself, with the records `search` and `prepare`."""
    tags = run.data.tags
    declared, given = recorded_settings(tags)
    # A run from before a setting could be declared was trained as its default says.
    usual = {one.name: one.default for one in fields(Variant)} if declared else {}
    own = usual | declared
    if own.get("learning_rate", 0) is None:
        del own["learning_rate"]  # the parameters have what it was trained with
    return RunRecord(
        run_id=run.info.run_id,
        name=run.info.run_name,
        status=run.info.status,
        start_time=run.info.start_time,
        variant=run.data.params.get("variant", ""),
        seed=int(run.data.params.get("seed", 0)),
        metrics=metrics.of_run(run),
        settings=resolved_parameters(run),
        declared=own,
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
        "capped": is_capped(run),
        "started": run.start_time,
        "processor": run.tags.get("processor", ""),
        SOURCE_COLUMN: run.tags.get(SOURCE_RUN, ""),
    }


def _curves(runs: Sequence[RunRecord]) -> pd.DataFrame:
    """A row per run and epoch; the runs in their order."""
    of_run = pd.DataFrame([{name: getattr(run, name) for name in CURVE_OF} for run in runs])
    found = curves.curves(list(of_run["run_id"]), list(CURVE_METRICS)).rename(columns=CURVE_METRICS)
    return of_run.merge(found).reindex(columns=["epoch", *CURVE_METRICS.values(), *CURVE_OF])


def _of_each(
    run_ids: Mapping[str, str | None], path: str, parse: Callable[[bytes], Any]
) -> dict[str, Any]:
    """What an artifact of each run has; of none without it."""
    found = {
        variant: artifacts.read(run_id, path, parse, of=variant)
        for variant, run_id in run_ids.items()
        if run_id
    }
    return {variant: what for variant, what in found.items() if what is not None}
