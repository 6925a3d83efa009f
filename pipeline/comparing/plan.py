"""What `main` would do with every step, and how long that takes by the times of finished ones."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from typing import Any, NamedTuple

import pandas as pd

from pipeline.answers import rounds
from pipeline.answers.intervals import FEWEST
from pipeline.base import InputError, layout, progress
from pipeline.base.phrases import counted
from pipeline.comparing import compare
from pipeline.comparing.comparison import DecidedSteps, Wanted, decided
from pipeline.comparisons import Comparison, Data, Variant
from pipeline.data import sources
from pipeline.steps.plan_text import Estimate, Planned, about, as_text
from pipeline.steps.running import Decision, decide
from pipeline.steps.step import recorded_inputs, recorded_settings, resolved_parameters
from pipeline.tracking import client, names
from pipeline.tracking.experiments import find_experiment
from pipeline.tracking.runs import adopted_run
from pipeline.work import prepare
from pipeline.work.graph import comparisons_of
from pipeline.work.search import SearchStep
from pipeline.work.variant_step import LoggedData, VariantStep

NO_QUERY = r"['\\]"  # characters


def say_plan(of: Wanted) -> None:
    """Print what `main` would do, and run nothing."""
    steps, outlook = plan(of)
    text = as_text(steps, of.workers(), of.asked.scheduler)
    text += f"\n{layout.filled(outlook, layout.width())}" if outlook else ""
    progress.update(message=text)
    if opened := adopted_run("main"):
        opened.set_tags(names.named(opened.run_id, "plan"))
        opened.set_note(f"Nothing was run.\n\n```\n{text}\n```")


class Plan(NamedTuple):
    """What is to run now, and what is expected to follow."""

    steps: Sequence[Planned]  # in order
    outlook: str  # with seeds=auto; else empty


def plan(of: Wanted) -> Plan:
    """What `run` would do with every step; starts, fetches and writes nothing.

    Raises:
        InputError: if the data set is unknown or cannot be used.
    """
    experiment = find_experiment()
    preparations, data = _plan_data(of, experiment)
    steps = decided(of, data, experiment)
    timed = planned(steps, Measured(experiment))
    comparing = Decision(name="compare", reason="after the trainings")
    if not steps.missing:
        runs = [run for of_variant in steps.finished.values() for run in of_variant.values()]
        step = compare.step_of(of.comparison, runs, baseline=of.baseline)
        comparing = decide(step, of.asked.reuse, experiment=experiment)
    outlook = "" if of.asked.seeds else _outlook(of, steps, timed) + "."
    prepared = [Planned(decision=one) for one in preparations]
    return Plan([*prepared, *timed, Planned(decision=comparing)], outlook)


def planned(steps: DecidedSteps, measured: "Measured") -> list[Planned]:
    """The searches and trainings, with the time that those to run take."""

    def one_planned(step: VariantStep) -> Planned:
        decision = steps.decisions[step]
        estimate = None if decision.reused else measured.estimate(step)
        after = tuple(one.name for one in step.after() if one in steps.decisions)
        return Planned(decision=decision, timed=True, estimate=estimate, after=after)

    return [*map(one_planned, steps.decisions)]


def most_seeds(of: Wanted) -> str:
    """Of what there is no more where something is undecided."""
    return f"max_seeds={of.asked.max_seeds} is reached"


def _outlook(of: Wanted, steps: DecidedSteps, timed: Sequence[Planned]) -> str:
    """How many trainings are to come with seeds=auto, those of the next round among them."""
    if not steps.missing:
        return f"No more seeds: {rounds.ending(steps.answers, (), most_seeds(of))}"
    seeds, most = {name: len(runs) for name, runs in steps.finished.items()}, of.asked.max_seeds
    at_most = rounds.at_most(of.comparison.asked, seeds, most)
    if not steps.answers:
        why = f"Round 1: no verdict is given on fewer than {FEWEST} seeds"
        trainings = counted(at_most, "more training")
        return f"{why}. As many rounds follow as the primary questions need: at most {trainings}"
    number, seconds = forecast(of, steps, timed)
    time = "" if seconds is None else f", {about(seconds)}"
    trainings = counted(number, "more training")
    undecided = rounds.still_undecided(steps.answers)
    return f"{undecided}. About {trainings} are expected{time}, at most {at_most}"


def forecast(of: Wanted, steps: DecidedSteps, timed: Sequence[Planned]) -> tuple[int, float | None]:
    """How many trainings are expected, those of this round among them, and in how many seconds.

    There are none before there are answers; the time is None where that of one is unknown.
    """
    seeds = {name: len(runs) for name, runs in steps.finished.items()}
    expected = rounds.expected(steps.answers, seeds, of.asked.max_seeds)
    times = dict(zip(steps.decisions, (one.estimate for one in timed), strict=True))
    more: dict[Variant, int] = {}  # seeds, also of what they start from where that is to run, too
    estimates: dict[Variant, Estimate | None] = {}
    for one in steps.missing:
        number = expected.get(one.variant.name, 0)
        step: VariantStep | None = one
        while step and not steps.decisions[step].reused:
            more[step.variant] = max(number, more.get(step.variant, 0))
            estimates[step.variant], step = times[step], step.source
    known = {variant: one.expected for variant, one in estimates.items() if one}
    seconds = sum(more[variant] * one for variant, one in known.items()) / of.workers()
    return sum(expected.values()), seconds if len(known) == len(estimates) else None


def _plan_data(of: Wanted, experiment: str | None) -> tuple[list[Decision], dict[Data, LoggedData]]:
    """What becomes of the preparations, and the data sets as far as they can be told."""
    decisions, data = [], {}
    for one in comparisons_of(of.comparison, of.variants):
        declared = of.asked.data_of(one)
        if declared not in data:
            decision, data[declared] = _plan_one(of, one, experiment)
            decisions.append(decision)
    return decisions, data


def _plan_one(
    of: Wanted, comparison: Comparison, experiment: str | None
) -> tuple[Decision, LoggedData]:
    asked = of.asked.data_of(comparison).source
    try:
        step = prepare.step_of(of.asked, comparison, fetch=False)
    except InputError:
        if asked not in sources.KERAS_FILES:
            raise
        reason = "not cached: it is fetched first"
        return Decision(name=f"prepare {asked}", reason=reason), LoggedData(dataset=asked)
    if step.source.warning:
        progress.say(
            "CIFAR-10 is not cached, so this is the plan for mnist_5k. If CIFAR-10 can be "
            "fetched, it is, and everything runs on that instead."
        )
    decision = decide(step, of.asked.reuse, experiment=experiment)
    if found := decision.reused:
        return decision, step.result(found)
    # The newest preparation of the same data with the same parameters, by whatever code.
    of_content = f"tags.`{names.HIDDEN}step_inputs` LIKE '%{step.source.identity}%'"
    for run in client.finished_runs("prepare", experiment, of_content) if experiment else ():
        if _but_of_code(recorded_inputs(run.data.tags)) == _but_of_code(step.inputs):
            reason = f"{decision.reason} (taken to give the same data)"
            return replace(decision, reason=reason), step.result(run)
    return decision, LoggedData(dataset=step.source.name)


def _but_of_code(inputs: Mapping[str, str]) -> dict[str, str]:
    of_code = ("code of ", "version of ")
    return {name: one for name, one in inputs.items() if not name.startswith(of_code)}


class Measured:
    """Times of the newest finished runs, by which those to come are estimated."""

    def __init__(self, experiment: str | None):
        self._experiment = experiment
        self._newest = cache(self._read)  # seeds and variants have them in common

    def estimate(self, step: VariantStep) -> Estimate | None:
        """The time of a step; None where nothing like it was measured."""
        if isinstance(step, SearchStep):
            return self._search(step)
        past, basis, rough = self._alike("train", step)
        if past.empty:
            return None
        epochs = step.variant.epochs
        epoch = (past["median_epoch_seconds"] * past["scale"]).median() if epochs else 0.0
        # Compiling, testing, logging. The least, as a run that was cut off counts the pause too.
        beside = (past["seconds"] - past["train_seconds"]).min()
        usual = past["epochs_run"].where(past["stopped_early"] > 0, math.inf).median()
        expected = beside + min(usual, epochs) * epoch
        return Estimate(expected, beside + epochs * epoch, basis, rough)

    def _search(self, step: SearchStep) -> Estimate | None:
        past, basis, rough = self._alike("search", step)
        if past.empty:
            past, basis, rough = self._alike("train", step)
            if past.empty:
                return None
            epoch, share = (past["median_epoch_seconds"] * past["scale"]).median(), 1.0
        else:
            epoch = (past["seconds"] / past["epochs_trained"] * past["scale"]).min()
            trained, saved = past["epochs_trained"].sum(), past["epochs_saved_by_pruning"].sum()
            share = trained / (trained + saved)
        trials, epochs = step.asked.n_trials, step.variant.search_epochs
        most = (trials + step.settings.extra_trials) * epochs * epoch
        return Estimate(share * trials * epochs * epoch, most, basis, rough)

    def _alike(self, of: str, step: VariantStep) -> tuple[pd.DataFrame, str, bool]:
        """The runs that are most like one to come, what they are, and whether they differ.

        Their `scale` is by how much more mini-batches an epoch has now.
        """
        variant = step.variant
        # A name may hold what would end the text of a query; there, any character will do.
        on_data = f"tags.dataset LIKE '{re.sub(NO_QUERY, '_', step.data.dataset)}'"
        of_variant, size = f"params.variant = '{variant.name}'", variant.batch_size
        for basis, same_size, *conditions in (
            (f"of {variant.name}", True, on_data, of_variant),
            ("of other variants", True, on_data),
            ("at other batch sizes", False, on_data),
            ("on other data", False),
        ):
            past = [
                one | {"scale": one["more_images"] * one["batch_size"] / size}
                for one in self._newest(of, step.data, variant.images_per_class, *conditions)
                if not same_size or one["batch_size"] == size
                if of == "search" or one["epochs_run"] or not variant.epochs
            ]
            if past:
                runs = f"{len(past)} run{'s'[: len(past) > 1]} {basis}"
                return pd.DataFrame(past), runs, of_variant not in conditions
        return pd.DataFrame(), "", True

    def _read(
        self, of: str, data: LoggedData, per_class: int | None, *conditions: str
    ) -> list[dict[str, Any]]:
        """What the newest runs of a step came to, where it is known how large their data was."""
        if self._experiment is None:
            return []
        found = client.finished_runs(of, self._experiment, *conditions)
        rows = [_row(run, data, per_class) for run in islice(found, client.FEW)]
        return [row for row in rows if not math.isnan(row["more_images"])]


def _row(run: client.Run, data: LoggedData, per_class: int | None) -> dict[str, Any]:
    """What a run came to, and by how much more images an epoch has now."""
    tags, parameters = run.data.tags, resolved_parameters(run)
    was = recorded_settings(tags)[0].get("images_per_class")
    before = _images(tags.get("prepare_run", ""), was)
    more = math.nan if math.isnan(before) else _images(data.run_id, per_class) / before
    if math.isnan(more) and (tags["dataset"], was) == (data.dataset, per_class):
        more = 1.0
    return {
        **run.data.metrics,
        "batch_size": int(parameters["batch_size"]),
        "more_images": more,
        "seconds": (run.info.end_time - run.info.start_time) / 1000,
    }


@cache
def _images(prepare_run: str, per_class: int | None) -> float:
    """The training images of a prepared data set, or so many of each class; NaN where unknown."""
    if not prepare_run:
        return math.nan
    try:
        run = client.get_run(prepare_run)
    except InputError:
        return math.nan
    if per_class is None:
        return run.data.metrics.get("train_images", math.nan)
    classes = recorded_inputs(run.data.tags, "parameter ").get("classes", "")
    return per_class * (classes.count(",") + 1) if classes else math.nan
