"""What a comparison consists of; what of it is finished, and how long the rest would take."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import compare, options, prepare
from pipeline.answers import fairness
from pipeline.base import InputError, progress
from pipeline.comparisons.variants import get_variant
from pipeline.data import keras_cache, sources
from pipeline.prepare import Prepared
from pipeline.search import SearchSettings
from pipeline.steps.estimates import Estimate, Measured
from pipeline.steps.keys import Step, recorded_inputs
from pipeline.steps.reuse import explain_miss, find_finished
from pipeline.tracking import client
from pipeline.train import TrainSettings, settings
from pipeline.work.studies import check_storage

NARROWEST = 150  # columns, where there is no terminal


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `main` was asked for.

    Args:
        trainings: one per variant and seed.
        dataset, val_size, split_seed: the data, as given to `prepare`.
        storage: Optuna storage of the searches.
        baseline: the variant that the others are timed against.
        jobs: worker processes on this machine; None: one per core.
        scheduler: ``none``, or the address of a Dask scheduler whose workers are used instead.
        reuse: ``auto`` or ``never``.
    """

    trainings: Sequence[TrainSettings]
    dataset: str
    val_size: int
    split_seed: int
    storage: str
    baseline: str
    jobs: int | None
    scheduler: str
    reuse: str

    def workers(self) -> int:
        """Worker processes on this machine; a container may have fewer cores than its machine."""
        from dask.system import CPU_COUNT  # a sixth of a second, where something is to run

        return self.jobs or CPU_COUNT


def comparison(
    *, variants: str, seeds: str, baseline: str, jobs: str, storage: str, reuse: str, **others: Any
) -> Comparison:
    """The comparison behind the parameters of `main`.

    Raises:
        InputError: if one is unknown or out of range.
    """
    options.check_reuse(reuse)
    check_storage(storage)
    names = options.split_list("variants", variants)
    if baseline not in names:
        raise InputError(
            "baseline",
            expected=f"one of the variants compared: {', '.join(names)}",
            received=repr(baseline),
            action="Add it to variants, or choose another baseline.",
        )
    of_comparison = {
        name: others.pop(name) for name in ("dataset", "val_size", "split_seed", "scheduler")
    }
    without_dropout = {"dropout_rate": "auto", "dropout_layers": "auto"}
    return Comparison(
        trainings=[
            settings(
                variant=name,
                seed=seed,
                **{**others, **({} if get_variant(name).dropout else without_dropout)},
            )
            for name in names
            for seed in options.seed_list(seeds)
        ],
        jobs=options.auto_or("jobs", jobs, auto=None, minimum=1, kind=int),
        baseline=baseline,
        storage=storage,
        reuse=reuse,
        **of_comparison,
    )


def searches_of(trainings: Iterable[TrainSettings]) -> dict[str, SearchSettings]:
    """By variant, the searches that some trainings take their learning rate from."""
    return {one.variant.name: one.search for one in trainings if one.learning_rate is None}


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One step, and what would become of it.

    Args:
        name: of the step.
        reused: the finished run that would be used instead.
        reason: why there is none.
        variant: of a search or training.
        estimate: of its time, where any was measured; data and comparison take seconds.
    """

    name: str
    reused: client.Run | None
    reason: str = ""
    variant: str = ""
    estimate: Estimate | None = None


def plan(wanted: Comparison) -> list[Planned]:
    """What `main` would do with every step, in order; starts, fetches and writes nothing.

    Raises:
        InputError: if the data set is unknown or cannot be used.
    """
    experiment = _experiment()
    preparation, dataset, data = _plan_data(wanted, experiment)
    measured = Measured(experiment, dataset=dataset, data=data)

    def decided(one: TrainSettings | SearchSettings) -> Planned:
        step = _decided(one.name, one.step(data) if data else None, wanted.reuse, experiment)
        if step.reused:
            return step
        estimate = measured.estimate(one, anew=wanted.reuse == "never")
        return replace(step, variant=one.variant.name, estimate=estimate)

    trainings = {one.name: decided(one) for one in wanted.trainings}
    missing = [one for one in wanted.trainings if not trainings[one.name].reused]
    searches = [decided(one) for one in searches_of(missing).values()]
    comparing = _plan_compare(wanted, list(trainings.values()), experiment)
    return [preparation, *searches, *trainings.values(), comparing]


def _decided(name: str, step: Step | None, reuse: str, experiment: str | None) -> Planned:
    if reuse == "never":
        return Planned(name=name, reused=None, reason="reuse=never")
    if experiment is None:
        return Planned(name=name, reused=None, reason="no finished run of it yet")
    if step is None:
        return Planned(name=name, reused=None, reason="the data set is not prepared yet")
    reused = find_finished(step, experiment)
    reason = "" if reused else explain_miss(step, experiment)
    return Planned(name=name, reused=reused, reason=reason)


def _experiment() -> str | None:
    """The experiment in force; None where there is none yet, which MLflow would create."""
    uri = client.tracking_uri()
    database = uri.removeprefix("sqlite:///")
    if database != uri and not Path(database).exists():
        return None
    named = os.environ.get("MLFLOW_EXPERIMENT_NAME")
    if named and client.connect().get_experiment_by_name(named) is None:
        return None
    return client.experiment_id()


def _plan_data(wanted: Comparison, experiment: str | None) -> tuple[Planned, str, Prepared | None]:
    """The preparation, the data set's name, and the prepared data set where it can be told."""
    try:
        source = sources.resolve(wanted.dataset, fetch=False)
    except InputError:
        if wanted.dataset not in keras_cache.KERAS_FILES:
            raise
        reason = "not cached: it is fetched first"
        missing = Planned(name=f"prepare {wanted.dataset}", reused=None, reason=reason)
        return missing, wanted.dataset, None
    if source.warning:
        progress.update(
            message="CIFAR-10 is not cached, so this is the plan for mnist_5k. If CIFAR-10 can be "
            "fetched, it is, and everything runs on that instead."
        )
    step = prepare.step_of(source, val_size=wanted.val_size, seed=wanted.split_seed)
    decided = _decided(f"prepare {source.name}", step, wanted.reuse, experiment)
    run = decided.reused or _of_same_data(step, experiment)
    if run is None:
        return decided, source.name, None
    if decided.reused is None:
        decided = replace(decided, reason=f"{decided.reason} (taken to give the same data)")
    return decided, source.name, prepare.prepared_by(run, source)


def _of_same_data(step: Step, experiment: str | None) -> client.Run | None:
    """The newest preparation of the same data with the same parameters, by whatever code."""
    same = {
        name: value
        for name, value in step.inputs.items()
        if not name.startswith(("code of ", "version of "))
    }
    found = client.finished_runs("prepare", experiment) if experiment else []
    return next(
        (run for run in found if same.items() <= recorded_inputs(run.data.tags).items()), None
    )


def _plan_compare(
    wanted: Comparison, trainings: Sequence[Planned], experiment: str | None
) -> Planned:
    runs = [one.reused for one in trainings if one.reused]
    if len(runs) < len(trainings):
        return Planned(name="compare", reused=None, reason="after the trainings")
    step = compare.step_of(runs, fairness.left_out(runs), baseline=wanted.baseline)
    return _decided("compare", step, wanted.reuse, experiment)


def time_left(steps: Sequence[Planned], jobs: int) -> tuple[float, float] | None:
    """Expected and most seconds until all steps are done; None where one is unknown.

    Whatever order the steps come in, they end by total / jobs + (1 - 1 / jobs) * longest chain
    (Graham, 1969), and not before the longer of total / jobs and the longest chain. A chain is a
    search and a training after it.
    """
    left = [step for step in steps if step.variant and not step.reused]
    times = {step.name: step.estimate for step in left if step.estimate}
    if len(times) < len(left):
        return None
    workers = max(1, min(jobs, len(left)))
    chains = [{f"search {step.variant}", step.name} for step in left]

    def bounds(seconds: Mapping[str, float]) -> tuple[float, float]:
        share = sum(seconds.values()) / workers
        longest = max((sum(seconds.get(name, 0) for name in chain) for chain in chains), default=0)
        return max(share, longest), share + (1 - 1 / workers) * longest

    expected, _ = bounds({name: time.expected for name, time in times.items()})
    _, most = bounds({name: time.most for name, time in times.items()})
    return expected, most


def as_text(steps: Sequence[Planned], wanted: Comparison) -> str:
    """The plan as a table, and what it comes to in words."""
    table = Table(box=SIMPLE, pad_edge=False)
    for column in ("step", "plan", "why", "expected", "at most", "measured on"):
        right = column in ("expected", "at most")
        table.add_column(column, justify="right" if right else "left", no_wrap=column != "why")
    above = ""
    for step in steps:
        why = _why(step)
        time = step.estimate
        timed = bool(step.variant) and not step.reused
        cells = (
            step.name,
            "reused" if step.reused else "to run",
            "as above" if why == above else why,
            _about(time.expected, time.rough) if time else "unknown" if timed else "",
            _about(time.most, time.rough) if time else "",
            time.basis if time else "",
        )
        # As text: Rich would read square brackets in a cell as markup.
        table.add_row(*map(Text, cells))
        above = why
    console = Console(
        file=StringIO(), width=max(Console().width, NARROWEST), emoji=False, highlight=False
    )
    console.print(table)
    assert isinstance(console.file, StringIO)
    lines = [line.rstrip() for line in console.file.getvalue().strip("\n").splitlines()]
    return "\n".join([*lines, _in_words(steps, wanted)])


def _why(step: Planned) -> str:
    """The run that is reused, or why there is none; changed modules in one list."""
    if step.reused:
        return f"{step.reused.info.run_name}, run {step.reused.info.run_id}"
    module = re.compile(r"code of pipeline\.(\w+) changed")
    modules = module.findall(step.reason)
    reasons = [reason for reason in step.reason.split("; ") if not module.fullmatch(reason)]
    if len(modules) < 2:
        return step.reason
    return "; ".join([*reasons, f"code of {', '.join(modules)} changed"])


def _in_words(steps: Sequence[Planned], wanted: Comparison) -> str:
    left = [step for step in steps if not step.reused]
    if not left:
        return f"Nothing to run: all {len(steps)} steps are finished."
    jobs = wanted.workers()
    where = f"{jobs} workers" if jobs > 1 else "1 worker"
    if wanted.scheduler != "none":
        where, jobs = f"one worker of {wanted.scheduler} (sooner on several)", 1
    seconds = time_left(steps, jobs)
    time = "the time is unknown, since nothing like some of them has been measured yet"
    if seconds:
        rough = any(step.estimate.rough for step in left if step.estimate)
        time = (
            f"about {_duration(seconds[0])}, at most {_about(seconds[1], rough)}, since early "
            "stopping and pruning end most steps sooner"
        )
    return (
        f"{len(left)} of {len(steps)} steps to run on {where}: {time}. Preparing and comparing "
        "take seconds."
    )


def _about(seconds: float, rough: bool) -> str:
    return ("~" if rough else "") + _duration(seconds)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
