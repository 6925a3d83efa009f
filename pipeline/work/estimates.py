"""How long a step takes, by the times of finished ones."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from pipeline.comparisons import Variant
from pipeline.steps.plan import Estimate
from pipeline.steps.step import resolved_parameters
from pipeline.tracking import client
from pipeline.work.logged_data import LoggedData
from pipeline.work.search import Search
from pipeline.work.train import Train
from pipeline.work.variant_step import VariantStep


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
