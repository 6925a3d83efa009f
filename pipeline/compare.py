"""Entry point `compare`: finished training runs side by side, and what they answer."""

import math

import pandas as pd
from rich.console import Console
from rich.markdown import Markdown

from pipeline import cli, figures, progress, report, tracking
from pipeline.errors import InputError
from pipeline.reuse import reusable
from pipeline.significance import paired_tests
from pipeline.steps import Step
from pipeline.summary import check_comparable, summarize
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
COLUMNS = {
    "best_epoch": "judged_epoch",
    "best_val_loss": "judged_val_loss",
    "best_val_accuracy": "judged_val_accuracy",
    "final_val_accuracy": "final_val_accuracy",
    "epochs_run": "epochs_run",
    "test_loss": "test_loss",
    "test_accuracy": "test_accuracy",
    "mc_accuracy": "mc_accuracy",
    "mc_nll": "mc_nll",
    "mc_ece": "mc_ece",
    "nll": "test_nll",
    "ece": "test_ece",
    "median_epoch_seconds": "median_epoch_seconds",
    "train_seconds": "train_seconds",
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
    return compared(_choose(runs), baseline=baseline, reuse=reuse)


def compared(chosen: list[tracking.Run], *, baseline: str, reuse: str) -> str:
    """The comparison of some training runs, made now if there is none; prints it.

    Args:
        chosen: finished training runs.
        baseline: the variant whose best validation loss the others are timed against.
        reuse: ``auto`` or ``never``.

    Raises:
        InputError: if the runs are on different data, or the baseline is not among them.
    """
    fingerprints = {run.info.run_name: run.data.tags["data_fingerprint"] for run in chosen}
    check_comparable(fingerprints)
    step = Step(
        entry_point="compare",
        parameters={"baseline": baseline},
        sources=("summary", "significance", "report", "figures", "compare"),
        packages=("pandas", "scipy", "matplotlib"),
        upstream={
            f"run {run.info.run_name}": run.info.run_id
            for run in sorted(chosen, key=lambda run: run.info.run_id)
        },
    )
    reused = reusable(step, name="compare", reuse=reuse)
    run_id = reused.info.run_id if reused else _run(step, chosen, baseline)
    text = tracking.artifact_directory(run_id, "comparison.md").read_text("utf-8")
    Console(soft_wrap=False, width=max(Console().width, 120)).print(Markdown(text))
    return run_id


def _choose(runs: str) -> list[tracking.Run]:
    if runs == "auto":
        return _newest_of_each(tracking.training_runs())
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
    order = list(VARIANTS)
    return sorted(
        newest.values(),
        key=lambda run: (order.index(run.data.params["variant"]), int(run.data.params["seed"])),
    )


def _run(step: Step, chosen: list[tracking.Run], baseline: str) -> str:
    rows = pd.DataFrame([_row(run) for run in chosen])
    curves = pd.concat([_curve(run) for run in chosen], ignore_index=True)
    tags = {
        name: chosen[0].data.tags[name] for name in ("dataset", "data_fingerprint", "prepare_run")
    }
    parameters = {"baseline": baseline, "runs": ",".join(rows["run_id"])}
    name = f"compare {tags['dataset']}"
    with tracking.step_run("compare", parameters, name=name, step=step, tags=tags) as run:
        progress.update(step="compare", text=f"{len(chosen)} runs")
        summary = summarize(rows, curves, baseline)
        tests = paired_tests(rows, curves, baseline=baseline)
        text = report.markdown_report(summary, tests, report.answers(summary, tests))
        run.log_text(text, "comparison.md")
        run.log_text(rows.to_csv(index=False), "runs.csv")
        run.log_text(summary.to_csv(index=False), "summary.csv")
        run.log_text(tests.to_csv(index=False), "tests.csv")
        run.log_text(curves.to_csv(index=False), "curves.csv")
        colors = {variant.name: variant.color for variant in VARIANTS.values()}
        for x, path in (("epoch", "curves_by_epoch"), ("elapsed_seconds", "curves_by_seconds")):
            run.log_figure(figures.comparison_curves(curves, colors, x), f"{path}.png")
        run.log_figure(figures.epoch_seconds(curves, colors), "epoch_seconds.png")
        run.set_note(text)
        progress.update(step="compare", state="finished")
        return run.run_id


def _row(run: tracking.Run) -> dict[str, object]:
    metrics, parameters = run.data.metrics, run.data.params
    return {
        "run_id": run.info.run_id,
        "variant": parameters["variant"],
        "seed": int(parameters["seed"]),
        "learning_rate": float(parameters["chosen_learning_rate"]),
        "batch_size": int(parameters["chosen_batch_size"]),
        "capped": parameters["patience"] != "none" and not metrics["stopped_early"],
        **{column: metrics.get(name, math.nan) for column, name in COLUMNS.items()},
    }


def _curve(run: tracking.Run) -> pd.DataFrame:
    curve = pd.DataFrame(tracking.metric_histories(run.info.run_id, CURVE_METRICS))
    curve.index.name = "epoch"
    return curve.reset_index().assign(
        run_id=run.info.run_id,
        variant=run.data.params["variant"],
        seed=int(run.data.params["seed"]),
    )


if __name__ == "__main__":
    cli.run(compare)
