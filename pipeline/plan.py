"""What a comparison consists of; what of it is finished, and how long the rest would take."""

import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import cli, keras_cache, progress, sources, tracking
from pipeline.errors import InputError
from pipeline.prepare import Prepared, prepared_by
from pipeline.reuse import explain_miss, find_finished
from pipeline.search import SearchSettings, check_storage
from pipeline.steps import Step, recorded_inputs
from pipeline.train import TrainSettings, settings
from pipeline.variants import Variant, get_variant

NARROWEST = 150  # columns, where there is no terminal


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `main` was asked for.

    Args:
        trainings: one per variant and seed.
        dataset, val_size, split_seed: the data, as given to `prepare`.
        storage: Optuna storage of the searches.
        baseline: the variant that the others are timed against.
        jobs: worker processes on this machine.
        scheduler: ``none``, or the address of a Dask scheduler whose workers are used instead.
        reuse: ``auto`` or ``never``.
    """

    trainings: Sequence[TrainSettings]
    dataset: str
    val_size: int
    split_seed: int
    storage: str
    baseline: str
    jobs: int
    scheduler: str
    reuse: str


def comparison(
    *, variants: str, seeds: str, baseline: str, jobs: str, storage: str, reuse: str, **others: Any
) -> Comparison:
    """The comparison behind the parameters of `main`.

    Raises:
        InputError: if one is unknown or out of range.
    """
    cli.check_reuse(reuse)
    check_storage(storage)
    names = cli.split_list("variants", variants)
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
            for seed in cli.seed_list(seeds)
        ],
        jobs=cli.auto_or("jobs", jobs, auto=os.cpu_count() or 1, minimum=1, kind=int),
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
    reused: tracking.Run | None
    reason: str = ""
    variant: str = ""
    estimate: "Estimate | None" = None


def plan(wanted: Comparison) -> list[Planned]:
    """What `main` would do with every step, in order; starts, fetches and writes nothing.

    Raises:
        InputError: if the data set is unknown or cannot be used.
    """
    experiment = _experiment()
    preparation, dataset, data = _plan_data(wanted, experiment)
    measured = _Measured(experiment, dataset=dataset, data=data)

    def decided(one: TrainSettings | SearchSettings) -> Planned:
        step = _decided(one.name, one.step(data) if data else None, wanted.reuse, experiment)
        if step.reused:
            return step
        return replace(step, variant=one.variant.name, estimate=measured.estimate(one))

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
    uri = tracking.tracking_uri()
    database = uri.removeprefix("sqlite:///")
    if database != uri and not Path(database).exists():
        return None
    named = os.environ.get("MLFLOW_EXPERIMENT_NAME")
    if named and tracking.client().get_experiment_by_name(named) is None:
        return None
    return tracking.experiment_id()


# --- Data and comparison: short steps, whose inputs a finished one of their kind tells ---------


def _plan_data(wanted: Comparison, experiment: str | None) -> tuple[Planned, str, Prepared | None]:
    """The preparation, the data set's name, and the prepared data set where it can be told."""
    try:
        with _no_network():
            source = sources.resolve(wanted.dataset)
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
    parameters = {"val_size": wanted.val_size, "seed": wanted.split_seed}
    content = {"content of the data set": f"{source.name} {source.identity}"}
    step = _as_before("prepare", experiment, parameters, content)
    decided = _decided(f"prepare {source.name}", step, wanted.reuse, experiment if step else None)
    run = decided.reused or (_of_same_data(step, experiment) if step else None)
    if run is None:
        return decided, source.name, None
    if decided.reused is None:
        decided = replace(decided, reason=f"{decided.reason} (taken to give the same data)")
    return decided, source.name, prepared_by(run, source)


def _of_same_data(step: Step, experiment: str | None) -> tracking.Run | None:
    """The newest preparation of the same data with the same parameters, by whatever code."""
    same = {
        name: value
        for name, value in step.inputs.items()
        if not name.startswith(("code of ", "version of "))
    }
    runs = _finished("prepare", experiment)
    return next(
        (run for run in runs if same.items() <= recorded_inputs(run.data.tags).items()), None
    )


@contextmanager
def _no_network() -> Iterator[None]:
    """Let nothing be fetched: a proxy that nobody answers at is in the way."""
    before = os.environ.get("https_proxy")
    os.environ["https_proxy"] = "http://127.0.0.1:9"
    try:
        yield
    finally:
        del os.environ["https_proxy"]
        if before is not None:
            os.environ["https_proxy"] = before


def _plan_compare(
    wanted: Comparison, trainings: Sequence[Planned], experiment: str | None
) -> Planned:
    runs = [one.reused for one in trainings if one.reused]
    if len(runs) < len(trainings):
        return Planned(name="compare", reused=None, reason="after the trainings")
    upstream = {f"run {run.info.run_name}": run.info.run_id for run in runs}
    step = _as_before("compare", experiment, {"baseline": wanted.baseline}, upstream)
    return _decided("compare", step, wanted.reuse, experiment if step else None)


def _as_before(
    entry_point: str,
    experiment: str | None,
    parameters: Mapping[str, Any],
    upstream: Mapping[str, str],
) -> Step | None:
    """The newest finished step of its kind with other parameters and runs; None without one.

    Args:
        entry_point: of the step.
        experiment: where to look.
        parameters: in place of the finished step's.
        upstream: in place of what the finished step has of the same names, and of its runs.
    """
    finished = _finished(entry_point, experiment)
    if not finished:
        return None
    inputs = recorded_inputs(finished[0].data.tags)

    def named(prefix: str) -> list[str]:
        return [name.removeprefix(prefix) for name in inputs if name.startswith(prefix)]

    here = Path(__file__).parent
    others = ("parameter ", "code of ", "version of ", "run ")
    kept = {name: value for name, value in inputs.items() if not name.startswith(others)}
    return Step(
        entry_point=entry_point,
        parameters=parameters,
        sources=[name for name in named("code of pipeline.") if (here / f"{name}.py").exists()],
        packages=named("version of "),
        upstream={**kept, **upstream},
    )


def _finished(entry_point: str, experiment: str | None) -> list[tracking.Run]:
    return tracking.finished_runs(entry_point, experiment) if experiment else []


# --- Time ------------------------------------------------------------------------------------


class Estimate(NamedTuple):
    """Seconds that a step takes on one worker.

    Args:
        expected: with early stopping and pruning as in the runs measured.
        most: without either.
        basis: the runs measured.
        rough: whether these were of another variant, batch size or data set.
    """

    expected: float
    most: float
    basis: str
    rough: bool


class _Past(NamedTuple):
    """A finished run: its seconds, its metrics, and how many times as long an epoch takes now."""

    seconds: float
    metrics: Mapping[str, float]
    scale: float


class _Measured:
    """Times of finished runs, by which those to come are estimated."""

    def __init__(self, experiment: str | None, *, dataset: str, data: Prepared | None):
        self._trainings = _finished("train", experiment)
        self._searches = _finished("search", experiment)
        self._images = {
            run.info.run_id: run.data.metrics["train_images"]
            for run in _finished("prepare", experiment)
        }
        self._dataset = dataset
        self._images_now = self._images.get(data.run_id) if data else None

    def estimate(self, wanted: TrainSettings | SearchSettings) -> Estimate | None:
        """The time of a step; None where nothing like it was measured."""
        if isinstance(wanted, SearchSettings):
            return self._search(wanted)
        past, basis, rough = self._alike(self._trainings, wanted.variant)
        if not past:
            return None
        epoch = median(run.metrics["median_epoch_seconds"] * run.scale for run in past)
        # Compiling, testing, logging. The least, as a run that was cut off counts the pause too.
        beside = min(run.seconds - run.metrics["train_seconds"] for run in past)
        usual = median(
            run.metrics["epochs_run"] if run.metrics["stopped_early"] else math.inf for run in past
        )
        epochs = wanted.variant.epochs
        expected = beside + min(usual, epochs) * epoch
        return Estimate(expected, beside + epochs * epoch, basis, rough)

    def _search(self, wanted: SearchSettings) -> Estimate | None:
        past, basis, rough = self._alike(self._searches, wanted.variant)
        if past:
            epoch = min(run.seconds / run.metrics["epochs_trained"] * run.scale for run in past)
            trained = sum(run.metrics["epochs_trained"] for run in past)
            saved = sum(run.metrics["epochs_saved_by_pruning"] for run in past)
            share = trained / (trained + saved)
        else:
            past, basis, rough = self._alike(self._trainings, wanted.variant)
            if not past:
                return None
            epoch = median(run.metrics["median_epoch_seconds"] * run.scale for run in past)
            share = 1.0
        expected = share * wanted.n_trials * wanted.search_epochs * epoch
        most = (wanted.n_trials + wanted.extra_trials) * wanted.search_epochs * epoch
        return Estimate(expected, most, basis, rough)

    def _alike(
        self, runs: Sequence[tracking.Run], variant: Variant
    ) -> tuple[list[_Past], str, bool]:
        """The runs that are most like one to come, what they are, and whether they differ."""
        now = {
            "variant": variant.name,
            "batch_size": str(variant.batch_size),
            "dataset": self._dataset,
        }
        for names, basis in (
            (("variant", "batch_size", "dataset"), f"of {variant.name}"),
            (("batch_size", "dataset"), "of other variants"),
            (("dataset",), "at other batch sizes"),
            ((), "on other data"),
        ):
            past = [
                _Past((run.info.end_time - run.info.start_time) / 1000, run.data.metrics, scale)
                for run in runs
                if (scale := self._scale(run, variant))
                and all(run.data.params[name] == now[name] for name in names)
            ]
            if past:
                return past, f"{len(past)} run{'s'[: len(past) > 1]} {basis}", len(names) < 3
        return [], "", True

    def _scale(self, run: tracking.Run, variant: Variant) -> float:
        """By how much more mini-batches an epoch has now than in a run; 0 if that is unknown."""
        images = self._images.get(run.data.tags.get("prepare_run", ""))
        ratio = (self._images_now or 0) / images if images else 0.0
        if run.data.params["dataset"] == self._dataset:
            ratio = 1.0
        return ratio * int(run.data.params["batch_size"]) / variant.batch_size


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


# --- Text ------------------------------------------------------------------------------------


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
    where = f"{wanted.jobs} workers" if wanted.jobs > 1 else "1 worker"
    jobs = wanted.jobs
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
