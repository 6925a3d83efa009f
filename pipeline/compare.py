"""Entry point `compare`: finished training runs side by side, and what they answer."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markdown import Markdown

from pipeline import cli, options
from pipeline.answers import fairness
from pipeline.answers.summary import check_comparable
from pipeline.base import InputError, progress, unknown_name
from pipeline.comparisons.variants import VARIANTS
from pipeline.steps import running
from pipeline.steps.code import modules_of
from pipeline.steps.keys import Step
from pipeline.steps.reuse import once
from pipeline.tracking import client, step_runs, views
from pipeline.work.champion import register

if TYPE_CHECKING:
    from pipeline.report import page

MOST_NAMED = 60  # runs: MLflow cuts longer parameters and tags


def compare(
    *,
    runs: options.Runs = "auto",
    baseline: options.Baseline = "elu",
    reuse: options.Reuse = "auto",
) -> str:
    """Compare finished training runs on the same data and answer what the variants differ in.

    Prints the table and the answers, and logs them with the curves of all variants. Several seeds
    per variant give confidence intervals and paired tests; runs on different data are refused.
    """
    options.check_reuse(reuse)
    chosen = _choose(runs)
    wanted = _named(chosen, "auto" if runs == "auto" else "<the ids in runs.csv>")
    command = options.mlflow_run("compare", {"runs": wanted, "baseline": baseline})
    run_id = compared(chosen, baseline=baseline, reuse=reuse, command=command)
    views.announce(views.view_urls(client.experiment_id(), chosen[0]))
    return run_id


def compared(chosen: list[client.Run], *, baseline: str, reuse: str, command: str) -> str:
    """The comparison of some training runs, made now if there is none; prints it.

    Args:
        chosen: finished training runs.
        baseline: the variant whose best validation loss the others are timed against.
        reuse: ``auto`` or ``never``.
        command: what makes this comparison again, for its note and the experiment's.

    Raises:
        InputError: if the runs are on different data, or the baseline is no variant.
    """
    _check_baseline(baseline, chosen)
    fingerprints = {run.info.run_name: run.data.tags["data_fingerprint"] for run in chosen}
    check_comparable(fingerprints)
    absent = fairness.left_out(chosen)
    step = step_of(chosen, absent, baseline=baseline)
    run_id = once(
        step,
        name="compare",
        reuse=reuse,
        run=lambda: _run(step, chosen, absent, baseline, command),
    )
    text = client.local_artifact(run_id, "comparison.md").read_text("utf-8")
    Console(soft_wrap=False, width=max(Console().width, 125)).print(Markdown(text))
    experiment = client.experiment_id()
    views.write_views(experiment)
    views.write_experiment_note(experiment, report=text, command=command)
    return run_id


def _check_baseline(baseline: str, chosen: Sequence[client.Run]) -> None:
    """Refuse a baseline that is no variant; say so where it is one that is not compared."""
    among = {run.data.params["variant"] for run in chosen}
    if baseline not in among | set(VARIANTS):
        raise unknown_name("baseline", baseline, sorted(among | set(VARIANTS)))
    if baseline not in among:
        progress.update(
            message=f"The baseline {baseline} is not among the runs compared: none is timed by it."
        )


def step_of(
    chosen: Sequence[client.Run], absent: Sequence[fairness.LeftOut], *, baseline: str
) -> Step:
    """What decides the result of comparing some runs."""
    return Step(
        entry_point="compare",
        parameters={"baseline": baseline},
        sources=modules_of(__name__.replace("__main__", "pipeline.compare")),
        packages=("pandas", "scipy", "matplotlib", "jinja2"),
        upstream={
            **{f"not compared {one.name}": one.run_id for one in absent},
            **_identities(chosen),
        },
    )


def _identities(chosen: Sequence[client.Run]) -> dict[str, str]:
    """What tells the results of the runs, by their names, or of many runs one hash."""
    by_id = sorted(chosen, key=lambda run: run.info.run_id)
    if len(by_id) <= MOST_NAMED:
        return {f"run {run.info.run_name}": _identity(run) for run in by_id}
    joined = ",".join(_identity(run) for run in by_id)
    return {f"the {len(by_id)} runs": hashlib.sha256(joined.encode()).hexdigest()}


def _identity(run: client.Run) -> str:
    """A run's id, and what is done to a finished run anew: MC Dropout with other samples."""
    samples = run.data.metrics.get("mc_samples")
    return f"{run.info.run_id}, {samples:.0f} samples" if samples else run.info.run_id


def _named(chosen: list[client.Run], many: str) -> str:
    """The ids of the runs separated by commas; of many runs another text."""
    few = len(chosen) <= MOST_NAMED
    return ",".join(run.info.run_id for run in chosen) if few else many


def _choose(runs: str) -> list[client.Run]:
    if runs == "auto":
        return _newest_of_each(client.finished_runs("train", client.experiment_id()))
    chosen = [client.get_run(run_id.strip()) for run_id in runs.split(",")]
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


def _newest_of_each(found: list[client.Run]) -> list[client.Run]:
    """The newest run of every variant and seed, on the data of the newest run of all."""
    if not found:
        raise InputError(
            "runs",
            expected="finished training runs in this experiment",
            received="none",
            action="Train first, e.g. `mlflow run . -e train -P variant=elu`.",
        )
    fingerprint = found[0].data.tags["data_fingerprint"]
    newest: dict[tuple[str, str], client.Run] = {}
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
    chosen: list[client.Run],
    absent: list[fairness.LeftOut],
    baseline: str,
    command: str,
) -> str:
    tags = {
        name: chosen[0].data.tags[name] for name in ("dataset", "data_fingerprint", "prepare_run")
    }
    parameters = {"baseline": baseline, "runs": _named(chosen, f"{len(chosen)}, see runs.csv")}
    name = f"compare {tags['dataset']}"
    from pipeline.work import (
        evidence,  # figures and statistics: a second that a reused comparison saves
    )

    with running.step_run("compare", parameters, name=name, step=step, tags=tags) as run:
        progress.update(step="compare", text=f"{len(chosen)} runs")
        comparison = evidence.collect(chosen, absent, baseline)
        _log(run, comparison, again=command, registered=_registered(comparison, tags))
        progress.update(step="compare", state="finished")
        return run.run_id


def _registered(comparison: "page.Comparison", tags: Mapping[str, str]) -> str:
    """Register each variant's best model; what came of it, as Markdown."""
    try:
        return register(
            comparison.runs,
            comparison.curves,
            dataset=tags["dataset"],
            data_fingerprint=tags["data_fingerprint"],
            prepare_run=tags["prepare_run"],
        ).text
    except InputError as error:  # a model was deleted; what the runs came to can be compared
        progress.update(message=f"No model was registered: {error}")
        return f"No model was registered: {views.escape_markdown(str(error))}"


def _log(
    run: step_runs.StepRun, comparison: "page.Comparison", *, again: str, registered: str
) -> None:
    from pipeline.answers import words
    from pipeline.report import comparison_figures, page

    summary, tests = comparison.summary, comparison.tests
    text = f"{page.verdict(comparison)}\n\n"
    text += words.markdown_report(summary, tests, words.answers(summary, tests))
    if comparison.left_out:
        text += "\n## Not compared\n\n" + "".join(f"- {one}\n" for one in comparison.left_out)
    ending = f"\n## Champion\n\n{registered}\n"
    run.log_text(text + ending, "comparison.md")
    tables = {"runs": comparison.runs, "curves": comparison.curves}
    for name, table in {**tables, "summary": summary, "tests": tests}.items():
        run.log_text(table.to_csv(index=False), f"{name}.csv")
    panels = page.sections(comparison)
    run.log_text(page.html_report(comparison, panels), "report.html")
    for name, of in panels.items():
        run.log_figure(comparison_figures.sheet(of), f"{name}.png")
    ending += f"\nRun again: `{again}`"
    run.set_note(views.beginning(text, step_runs.NOTE_LENGTH - len(ending)) + ending)


if __name__ == "__main__":
    cli.run(compare)
