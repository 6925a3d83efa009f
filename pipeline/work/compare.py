"""The work of `compare`: finished training runs side by side, and what they answer."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from rich.console import Console
from rich.markdown import Markdown

from pipeline.answers.fairness import LeftOut
from pipeline.answers.summary import check_comparable
from pipeline.base import InputError, progress, unknown_name
from pipeline.comparisons import Comparison
from pipeline.steps.reuse import once
from pipeline.steps.step import Step
from pipeline.tracking import client, views
from pipeline.tracking.client import NOTE_LENGTH, StepRun
from pipeline.work import evidence
from pipeline.work.champion import register

MOST_NAMED = 60  # runs: MLflow cuts longer parameters and tags


@dataclass(frozen=True, kw_only=True)
class Compare(Step):
    """The comparison of some training runs on the same data.

    Args:
        comparison: whose questions are asked.
        runs: finished training runs.
        absent: the runs that are left out.
        baseline: the variant whose best validation loss the others are timed against.
        command: what makes this comparison again.
    """

    entry_point: ClassVar[str] = "compare"
    packages: ClassVar[tuple[str, ...]] = ("pandas", "scipy", "matplotlib", "jinja2")

    comparison: Comparison
    runs: Sequence[client.Run]
    absent: Sequence[LeftOut]
    baseline: str
    command: str

    @property
    def name(self) -> str:
        return f"compare {self.comparison.name} on {self.runs[0].data.tags['dataset']}"

    def parameters(self) -> Mapping[str, Any]:
        return {"baseline": self.baseline, "comparison": self.comparison.name}

    def upstream(self) -> Mapping[str, str]:
        questions = {f"question {one.id}": repr(one) for one in self.comparison.asked}
        absent = {f"not compared {one.name}": one.run_id for one in self.absent}
        return {**questions, **absent, **_identities(self.runs)}

    def logged(self) -> Mapping[str, Any]:
        return {"runs": named(self.runs, f"{len(self.runs)}, see runs.csv")}

    def tags(self) -> Mapping[str, Any]:
        data = self.runs[0].data.tags
        return {name: data[name] for name in ("dataset", "data_fingerprint", "prepare_run")}

    def work(self, run: StepRun, after: Sequence[client.Run], *, anew: bool) -> None:
        progress.update(step="compare", text=f"{len(self.runs)} runs")
        _log(run, self)
        progress.update(step="compare", state="finished")


def compared(step: Compare, *, reuse: str) -> str:
    """The id of the run of a comparison, made now if there is none; prints it.

    Raises:
        InputError: if the runs are on different data, or the baseline is no variant.
    """
    run_id = once(step, reuse=reuse).info.run_id
    text = client.local_artifact(run_id, "comparison.md").read_text("utf-8")
    Console(soft_wrap=False, width=max(Console().width, 125)).print(Markdown(text))
    experiment = client.experiment_id()
    views.write_views(experiment)
    views.write_experiment_note(
        experiment, title=step.comparison.title, report=text, command=step.command
    )
    return run_id


def step_of(
    comparison: Comparison, runs: Sequence[client.Run], *, baseline: str, command: str = ""
) -> Compare:
    """The step that compares some finished training runs.

    Args:
        comparison: whose questions are asked.
        runs: finished training runs.
        baseline: the variant that the others are timed against.
        command: what makes this comparison again, for its note and the experiment's.

    Raises:
        InputError: if the runs are on different data, or the baseline is no variant.
    """
    _check_baseline(baseline, comparison, runs)
    check_comparable({run.info.run_name: run.data.tags["data_fingerprint"] for run in runs})
    return Compare(
        comparison=comparison,
        runs=runs,
        absent=evidence.left_out(runs),
        baseline=baseline,
        command=command,
    )


def _check_baseline(baseline: str, comparison: Comparison, runs: Sequence[client.Run]) -> None:
    """Refuse a baseline that is no variant; say so where it is one that is not compared."""
    among = {run.data.params["variant"] for run in runs}
    known = sorted(among | {variant.name for variant in comparison.variants})
    if baseline not in known:
        raise unknown_name("baseline", baseline, known)
    if baseline not in among:
        progress.update(
            message=f"The baseline {baseline} is not among the runs compared: none is timed by it."
        )


def _identities(runs: Sequence[client.Run]) -> dict[str, str]:
    """What tells the results of the runs, by their names, or of many runs one hash."""
    by_id = sorted(runs, key=lambda run: run.info.run_id)
    if len(by_id) <= MOST_NAMED:
        return {f"run {run.info.run_name}": _identity(run) for run in by_id}
    joined = ",".join(_identity(run) for run in by_id)
    return {f"the {len(by_id)} runs": hashlib.sha256(joined.encode()).hexdigest()}


def _identity(run: client.Run) -> str:
    """A run's id, and what is done to a finished run anew: MC Dropout with other samples."""
    samples = run.data.metrics.get("mc_samples")
    return f"{run.info.run_id}, {samples:.0f} samples" if samples else run.info.run_id


def named(runs: Sequence[client.Run], many: str) -> str:
    """The ids of the runs separated by commas; of many runs another text."""
    few = len(runs) <= MOST_NAMED
    return ",".join(run.info.run_id for run in runs) if few else many


def choose(run_ids: Sequence[str] | None, comparison: Comparison) -> list[client.Run]:
    """The training runs of some ids; None: the newest of every variant of a comparison and seed.

    Raises:
        InputError: if there are none, or one is not a finished training run.
    """
    if run_ids is None:
        found = client.finished_runs("train", client.experiment_id())
        return _newest_of_each(found, [variant.name for variant in comparison.variants])
    chosen = [client.get_run(run_id) for run_id in run_ids]
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


def _newest_of_each(found: Sequence[client.Run], variants: Sequence[str]) -> list[client.Run]:
    """The newest run of every variant and seed, on the data of the newest run of all."""
    of_variants = [run for run in found if run.data.params["variant"] in variants]
    if not of_variants:
        raise InputError(
            "runs",
            expected=f"finished training runs of {', '.join(variants)} in this experiment",
            received="none",
            action=f"Train first, e.g. `mlflow run . -e train -P variant={variants[0]}`.",
        )
    fingerprint = of_variants[0].data.tags["data_fingerprint"]
    newest: dict[tuple[int, int], client.Run] = {}
    for run in of_variants:
        if run.data.tags["data_fingerprint"] == fingerprint:
            place = variants.index(run.data.params["variant"])
            newest.setdefault((place, int(run.data.params["seed"])), run)
    return [run for _, run in sorted(newest.items(), key=lambda item: item[0])]


def _log(run: StepRun, step: Compare) -> None:
    from pipeline.answers import words  # these import figures and statistics: a second that a
    from pipeline.report import comparison_figures, page  # comparison that is reused saves

    found = evidence.collect(
        step.runs, step.absent, comparison=step.comparison, baseline=step.baseline
    )
    registered = _registered(found, step.tags())
    text = f"{words.verdict(found)}\n\n{words.markdown_report(found)}"
    ending = f"\n## Champion\n\n{registered}\n"
    run.log_text(text + ending, "comparison.md")
    tables = {"runs": found.runs, "curves": found.curves}
    for name, table in {**tables, "summary": found.summary, "tests": found.tests}.items():
        run.log_text(table.to_csv(index=False), f"{name}.csv")
    panels = page.sections(found)
    run.log_text(page.html_report(found, panels), "report.html")
    for name, of in panels.items():
        run.log_figure(comparison_figures.sheet(of), f"{name}.png")
    ending += f"\nRun again: `{step.command}`"
    run.set_note(views.beginning(text, NOTE_LENGTH - len(ending)) + ending)


def _registered(found: "evidence.Evidence", tags: Mapping[str, str]) -> str:
    """Register each variant's best model; what came of it, as Markdown."""
    try:
        return register(
            found.runs,
            found.curves,
            dataset=tags["dataset"],
            data_fingerprint=tags["data_fingerprint"],
            prepare_run=tags["prepare_run"],
        ).text
    except InputError as error:  # a model was deleted; what the runs came to can be compared
        progress.update(message=f"No model was registered: {error}")
        return f"No model was registered: {views.escape_markdown(str(error))}"
