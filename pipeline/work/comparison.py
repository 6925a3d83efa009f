"""A whole comparison: its steps, what becomes of each, and running those that are not done."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pipeline.base import InputError, StepsFailedError, progress, unknown_name
from pipeline.comparisons import Comparison, Variant
from pipeline.parameters import Main, comparison_of, mlflow_run
from pipeline.steps.plan_text import listed
from pipeline.steps.running import Decision, decide, once, pipeline_run_id, step_run
from pipeline.steps.step import Step
from pipeline.tracking import client, views
from pipeline.tracking.runs import StepRun, kill_running_steps
from pipeline.work import compare, prepare
from pipeline.work.search import SearchStep
from pipeline.work.study import create_storage
from pipeline.work.train import TrainStep
from pipeline.work.variant_step import LoggedData

if TYPE_CHECKING:
    from pipeline.steps import workers


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What `main` was asked for."""

    asked: Main
    comparison: Comparison
    variants: Sequence[Variant]  # those of it that are trained, with the settings that were given
    baseline: str  # the variant that the others are timed against

    def trainings(self, prepared: LoggedData | None) -> list[TrainStep]:
        """One per variant and seed, on a data set that may not be prepared yet."""
        trainings = []
        for variant in self.variants:
            about: dict[str, Any] = {"variant": variant, "prepared": prepared, "asked": self.asked}
            search = SearchStep(**about)
            trainings += [TrainStep(**about, seed=seed, search=search) for seed in self.asked.seeds]
        return trainings

    def workers(self) -> int:
        """Worker processes on this machine; a container may have fewer cores than its machine."""
        _import_dask()
        from dask.system import CPU_COUNT

        return self.asked.jobs or CPU_COUNT


def wanted(asked: Main) -> Wanted:
    """What the parameters of `main` ask for.

    Raises:
        InputError: if one is unknown or does not go with the others.
    """
    comparison = comparison_of(asked)
    declared = {variant.name: variant for variant in comparison.variants}
    names = asked.variants or tuple(declared)
    for name in names:
        if name not in declared:
            raise unknown_name("variants", name, declared)
    baseline = asked.baseline or names[0]
    if baseline not in names:
        raise InputError(
            "baseline",
            expected=f"one of the variants compared: {', '.join(names)}",
            received=repr(baseline),
            action="Add it to variants, or choose another baseline.",
        )
    # Variants without dropout are compared as they are.
    variants = [asked.configured(declared[name], strict=False) for name in names]
    return Wanted(asked=asked, comparison=comparison, variants=variants, baseline=baseline)


@dataclass(frozen=True, kw_only=True)
class DecidedSteps:
    """The searches and trainings of a comparison, each with what becomes of it, by its name."""

    trainings: Sequence[TrainStep]
    searches: Sequence[SearchStep]  # of the trainings that are to run
    decisions: Mapping[str, Decision]

    @property
    def missing(self) -> list[TrainStep]:
        """The trainings that are to run."""
        return [one for one in self.trainings if not self.decisions[one.name].reused]


def decided(of: Wanted, prepared: LoggedData | None, experiment: str | None) -> DecidedSteps:
    """What becomes of every search and training: the one list, for the plan and for the run."""

    def decisions(steps: Sequence[Step]) -> dict[str, Decision]:
        reuse = of.asked.reuse
        return {one.name: decide(one, reuse, experiment=experiment) for one in steps}

    trainings = of.trainings(prepared)
    found = decisions(trainings)
    missing = [one for one in trainings if not found[one.name].reused]
    searches = list({one.search.name: one.search for one in missing if one.after()}.values())
    return DecidedSteps(
        trainings=trainings, searches=searches, decisions=found | decisions(searches)
    )


def run(of: Wanted) -> None:
    """Prepare, search, train and compare what is not done yet.

    Raises:
        StepsFailedError: if a step failed; the others are compared.
    """
    asked = of.asked
    if asked.scheduler != "none":
        with _workers(of, 1):  # to be refused before a run is opened
            pass
    data = prepare.prepared(asked, of.comparison, asked.reuse)
    parameters = {
        "variants": ",".join(variant.name for variant in of.variants),
        "seeds": ",".join(map(str, asked.seeds)),
        "dataset": of.comparison.data.source if asked.dataset == "auto" else asked.dataset,
        "reuse": asked.reuse,
    }
    name = f"comparison {of.comparison.name} on {data.dataset}"
    with step_run("main", parameters, name=name, tags=data.tags) as main_run:
        token = pipeline_run_id.set(main_run.run_id)
        try:
            _run_steps(main_run, of, data)
        finally:
            pipeline_run_id.reset(token)


def _run_steps(main_run: StepRun, of: Wanted, data: LoggedData) -> None:
    """Train what is not finished, compare what is, and fail if a step did."""
    steps = decided(of, data, client.experiment_id())
    progress.update(message=listed(list(steps.decisions.values())))
    made, failures = _train(main_run, of, steps) if steps.missing else ({}, {})
    runs = [steps.decisions[one.name].reused or made.get(one.name) for one in steps.trainings]
    if finished := [run for run in runs if run]:
        command = mlflow_run("main", of.asked)
        comparing = compare.step_of(of.comparison, finished, baseline=of.baseline, command=command)
        compare_run = compare.compared(comparing, of.asked.reuse)
        main_run.set_tags({"compare_run": compare_run})
        main_run.set_note(client.get_run(compare_run).data.tags["mlflow.note.content"])
        views.announce(views.view_urls(main_run.experiment, finished[0]))
    if failures:
        raise StepsFailedError(failures)


def _train(
    main_run: StepRun, of: Wanted, steps: DecidedSteps
) -> tuple[dict[str, client.Run], dict[str, str]]:
    """Search and train on Dask workers: runs of the trainings, and why others failed."""
    create_storage(of.asked.storage)
    jobs = min(of.workers(), len(steps.missing) + len(steps.searches))
    from pipeline.steps import workers

    try:
        with _workers(of, jobs) as submitting, progress.display() as sink:
            queue = submitting(main_run)
            queue.show_progress(sink)
            futures = submit(queue, steps, of.asked.reuse)
            import pipeline.report.page  # noqa: F401  for the comparison, while workers are busy

            return workers.gather(futures)
    finally:
        # The workers on this machine have ended by now; those of another scheduler go on.
        if of.asked.scheduler == "none":
            kill_running_steps(main_run.run_id, main_run.experiment)


def _import_dask() -> None:
    """Import Dask, which takes a sixth of a second, and reads its files in the home directory."""
    try:
        import dask  # noqa: F401
    except ValueError as error:
        raise InputError(
            "the configuration of Dask",
            expected="YAML files that it can read",
            received=" ".join(str(error).split()),
            action="Correct or delete that file.",
        ) from error


@contextmanager
def _workers(of: Wanted, jobs: int) -> Iterator[Callable[[StepRun], "workers.Submitter"]]:
    """Dask workers that can do the steps; yields what submits those of a run of `main`."""
    _import_dask()
    from pipeline.steps import remote, workers

    with workers.connect(jobs, of.asked.scheduler) as dask:
        if of.asked.scheduler == "none":
            yield partial(workers.Submitter, dask)
            return
        artifacts = client.connect().get_experiment(client.experiment_id()).artifact_location
        stores = (client.tracking_uri(), artifacts, of.asked.storage)
        packages = dict.fromkeys((*TrainStep.packages, *SearchStep.packages, "mlflow"))
        with remote.joined(dask, stores, [*packages]) as brought:
            yield partial(workers.Submitter, dask, brought=brought)


def submit(
    queue: "workers.Submitter", steps: DecidedSteps, reuse: str
) -> dict[str, "workers.Future"]:
    """Submit the searches and the trainings after them; by name, the trainings' futures."""
    announced = {"reuse": reuse, "announce": False}  # `main` has said what becomes of a step
    searches = {
        search.name: queue.submit(once, {"step": search, **announced}, priority=-place)
        for place, search in enumerate(steps.searches)
    }
    # Seed by seed: variants are compared in pairs of a seed, and what slows the machine down for a
    # while is to meet both of a pair. Of a seed the longest first: at the end, no worker is to
    # train for long while the others have nothing left to do.
    seeds = list(dict.fromkeys(one.seed for one in steps.missing))
    ordered = sorted(steps.missing, key=lambda one: (seeds.index(one.seed), -_cost(one.variant)))
    # A worker compiles a variant once: the trainings follow its search, or else one another.
    variants = list(dict.fromkeys(one.variant.name for one in steps.missing))

    def submitted(one: TrainStep) -> "workers.Future":
        search = searches.get(one.search.name)
        return queue.submit(
            once,
            {"step": one, **announced},
            after=[search] if search else [],
            priority=-len(searches) - ordered.index(one),
            group=None if search else variants.index(one.variant.name),
        )

    return {one.name: submitted(one) for one in steps.missing}


def _cost(variant: Variant) -> float:
    """How much there is to compute in a training, roughly: layers times mini-batches per image."""
    layers = variant.hidden_layers * (2 if variant.batch_normalization else 1)
    return layers * variant.epochs / variant.batch_size
