"""What `main` would do with every step, and how long that takes by the times of finished ones."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

from pipeline.base import InputError, progress
from pipeline.comparisons import Variant
from pipeline.data import sources
from pipeline.steps.plan import Estimate, Planned, as_text
from pipeline.steps.running import Decision, decide
from pipeline.steps.step import recorded_inputs, resolved_parameters
from pipeline.tracking import client
from pipeline.tracking.client import adopted_run
from pipeline.work import compare, prepare
from pipeline.work.comparison import Steps, Wanted, decided
from pipeline.work.search import Search
from pipeline.work.train import Train
from pipeline.work.variant_step import LoggedData, VariantStep


def say_plan(of: Wanted) -> None:
    """Print what `main` would do, and run nothing."""
    text = as_text(plan(of), jobs=of.workers(), scheduler=of.asked.scheduler)
    progress.update(message=text)
    if opened := adopted_run("main"):
        opened.set_tags({"mlflow.runName": "plan"})
        opened.set_note(f"Nothing was run.\n\n```\n{text}\n```")


def plan(of: Wanted) -> list[Planned]:
    """What `run` would do with every step, in order; starts, fetches and writes nothing.

    Raises:
        InputError: if the data set is unknown or cannot be used.
    """
    experiment = _experiment()
    preparation, dataset, data = _plan_data(of, experiment)
    steps = decided(of, data, experiment)
    measured = Measured(experiment, dataset=dataset, data=data)
    names = {search.name for search in steps.searches}

    def planned(step: VariantStep) -> Planned:
        decision = steps.decisions[step.name]
        anew = of.asked.reuse == "never"
        estimate = None if decision.reused else measured.estimate(step, anew=anew)
        after = tuple(one.name for one in step.after() if one.name in names)
        return Planned(decision=decision, timed=True, estimate=estimate, after=after)

    return [
        Planned(decision=preparation),
        *(planned(one) for one in (*steps.searches, *steps.trainings)),
        Planned(decision=_plan_compare(of, steps, experiment)),
    ]


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


def _plan_data(of: Wanted, experiment: str | None) -> tuple[Decision, str, LoggedData | None]:
    """The preparation, the data set's name, and the data set where it can be told."""
    asked = of.asked.data_of(of.comparison).source
    try:
        step = prepare.step_of(of.asked, of.comparison, fetch=False)
    except InputError:
        if asked not in sources.KERAS_FILES:
            raise
        reason = "not cached: it is fetched first"
        return Decision(name=f"prepare {asked}", reason=reason), asked, None
    if step.source.warning:
        progress.update(
            message="CIFAR-10 is not cached, so this is the plan for mnist_5k. If CIFAR-10 can be "
            "fetched, it is, and everything runs on that instead."
        )
    decision = decide(step, reuse=of.asked.reuse, experiment=experiment)
    run = decision.reused or _of_same_data(step, experiment)
    if run is None:
        return decision, step.source.name, None
    if decision.reused is None:
        decision = replace(decision, reason=f"{decision.reason} (taken to give the same data)")
    return decision, step.source.name, step.result(run)


def _of_same_data(step: prepare.Prepare, experiment: str | None) -> client.Run | None:
    """The newest preparation of the same data with the same parameters, by whatever code."""
    same = {
        name: value
        for name, value in step.inputs.items()
        if not name.startswith(("code of ", "version of "))
    }
    found = client.finished_runs("prepare", experiment) if experiment else []
    return next(
        (one for one in found if same.items() <= recorded_inputs(one.data.tags).items()), None
    )


def _plan_compare(of: Wanted, steps: Steps, experiment: str | None) -> Decision:
    runs = [steps.decisions[one.name].reused for one in steps.trainings]
    finished = [one for one in runs if one]
    if len(finished) < len(runs):
        return Decision(name="compare", reason="after the trainings")
    step = compare.step_of(of.comparison, finished, baseline=of.baseline)
    return decide(step, reuse=of.asked.reuse, experiment=experiment)


class _Past(NamedTuple):
    """A finished run: its seconds, its metrics, and how many times as long an epoch takes now."""

    seconds: float
    metrics: Mapping[str, float]
    scale: float


class Measured:
    """Times of finished runs, by which those to come are estimated."""

    def __init__(self, experiment: str | None, *, dataset: str, data: LoggedData | None):
        self._trainings = _finished("train", experiment)
        self._searches = _finished("search", experiment)
        self._images = {
            run.info.run_id: run.data.metrics["train_images"]
            for run in _finished("prepare", experiment)
        }
        self._dataset = dataset
        self._images_now = self._images.get(data.run_id) if data else None

    def estimate(self, step: VariantStep, *, anew: bool = False) -> Estimate | None:
        """The time of a step, anew: with all epochs; None where nothing like it was measured."""
        if isinstance(step, Search):
            return self._search(step)
        assert isinstance(step, Train)
        past, basis, rough = self._alike(self._trainings, step.variant)
        if not past:
            return None
        epoch = median(run.metrics["median_epoch_seconds"] * run.scale for run in past)
        # Compiling, testing, logging. The least, as a run that was cut off counts the pause too.
        beside = min(
            run.seconds - run.metrics["train_seconds"] + run.metrics.get("trial_seconds", 0.0)
            for run in past
        )
        usual = median(
            run.metrics["epochs_run"] if run.metrics["stopped_early"] else math.inf for run in past
        )
        epochs = step.variant.epochs
        of_trial = step.variant.search_epochs if step.begins_as_a_trial and not anew else 0
        expected = beside + max(0, min(usual, epochs) - of_trial) * epoch
        return Estimate(expected, beside + epochs * epoch, basis, rough)

    def _search(self, step: Search) -> Estimate | None:
        past, basis, rough = self._alike(self._searches, step.variant)
        if past:
            epoch = min(run.seconds / run.metrics["epochs_trained"] * run.scale for run in past)
            trained = sum(run.metrics["epochs_trained"] for run in past)
            saved = sum(run.metrics["epochs_saved_by_pruning"] for run in past)
            share = trained / (trained + saved)
        else:
            past, basis, rough = self._alike(self._trainings, step.variant)
            if not past:
                return None
            epoch = median(run.metrics["median_epoch_seconds"] * run.scale for run in past)
            share = 1.0
        trials, epochs = step.asked.n_trials, step.variant.search_epochs
        expected = share * trials * epochs * epoch
        most = (trials + step.settings.extra_trials) * epochs * epoch
        return Estimate(expected, most, basis, rough)

    def _alike(self, runs: Sequence[client.Run], variant: Variant) -> tuple[list[_Past], str, bool]:
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
                and all(_resolved(run)[name] == now[name] for name in names)
            ]
            if past:
                return past, f"{len(past)} run{'s'[: len(past) > 1]} {basis}", len(names) < 3
        return [], "", True

    def _scale(self, run: client.Run, variant: Variant) -> float:
        """By how much more mini-batches an epoch has now than in a run; 0 if that is unknown."""
        images = self._images.get(run.data.tags.get("prepare_run", ""))
        ratio = (self._images_now or 0) / images if images else 0.0
        past = _resolved(run)
        if past["dataset"] == self._dataset:
            ratio = 1.0
        return ratio * int(past["batch_size"]) / variant.batch_size


def _resolved(run: client.Run) -> dict[str, str]:
    return {**resolved_parameters(run), "dataset": run.data.tags["dataset"]}


def _finished(entry_point: str, experiment: str | None) -> list[client.Run]:
    return client.finished_runs(entry_point, experiment) if experiment else []
