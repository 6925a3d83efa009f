"""The work of `search`: a variant's learning rate, by an Optuna study on one compiled model."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

import optuna
import pandas as pd
from optuna.trial import TrialState

from pipeline.base import hide_passwords, markdown, progress
from pipeline.comparisons import Variant
from pipeline.parameters import Searching
from pipeline.tracking import addresses, client
from pipeline.tracking.runs import StepRun
from pipeline.training.runtime import import_tensorflow
from pipeline.work.rate_curve import RateCurve
from pipeline.work.source import source_link, source_model
from pipeline.work.storage import create_storage
from pipeline.work.study import (
    DIVERGED,
    StudySettings,
    create_study,
    ended_trials,
    next_trial,
    rate_curve,
    rates_beyond,
    set_note,
    widened,
)
from pipeline.work.trials import Trial, link
from pipeline.work.variant_step import VariantStep

FIGURE = "learning_rate_search.png"
MOST_WIDENED = 4  # times, tenfold: as far as 1 / (1 - momentum) goes from 0.9 to 0.99999
RATE = "learning_rate"


@dataclass(frozen=True, kw_only=True)
class SearchStep(VariantStep):
    """The search of a variant's learning rate."""

    entry_point: ClassVar[str] = "search"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "keras", "numpy", "scipy", "optuna")
    group: ClassVar[type[Searching]] = Searching

    asked: Searching

    @property
    def settings(self) -> StudySettings:
        """What its study is asked for."""
        return StudySettings(variant=self.variant, asked=self.asked)

    def parameters(self) -> dict[str, Any]:
        parameters = super().parameters()
        del parameters["storage"]  # where trials are kept changes none
        judged_by = "last" if self.variant.patience is None else "lowest"
        return {**parameters, "judged_by": f"{judged_by} val_loss"}

    def logged(self) -> Mapping[str, Any]:
        return {**super().logged(), "storage": hide_passwords(self.asked.storage)}

    def work(self, run: StepRun, after: Sequence[client.Run]) -> None:
        opened = client.get_run(run.run_id)
        name, begun = _study_name(self, opened), "study" in opened.data.tags
        storage = create_storage(self.asked.storage)
        if begun and name not in optuna.get_all_study_names(storage):
            lost = f"its study {name} is gone from {hide_passwords(self.asked.storage)}"
            progress.update(message=f"{self.name}: {lost}: its trials are made again.")
        run.set_tags({"study": name})
        study = create_study(name, self.settings, storage)
        link(study, run, {"variant": self.variant.name, "dataset": self.data.dataset})
        set_note(study, _study_note(self, run, "It is under way, or was cut off."))
        _optimize(study, self, run, after)
        curve = rate_curve(study, self.settings)
        _log_trials(study, curve, self.variant, run)
        _log_study(study, curve, self, run)


def _study_name(step: SearchStep, run: client.Run) -> str:
    """The name of a search's study: what it is of, when it began, and its run.

    Of that run alone: another experiment or tracking server may use the same storage.
    """
    began = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    of = f"{step.variant.name} on {step.data.dataset}"
    return f"{of}, {began:%Y-%m-%d %H:%M} UTC, run {run.info.run_id[:8]}"


def _study_note(step: SearchStep, run: StepRun, outcome: str) -> str:
    """What a study is, for whoever opens it beside MLflow."""
    address = addresses.server_address() + addresses.run_page(run.experiment, run.run_id)
    where = "" if client.tracking_uri().startswith("http") else " (after `make ui`)"
    return (
        f"The search of the learning rate of **{step.variant.name}** on "
        f"{markdown.code(step.data.dataset)}.\n\n{outcome}\n\n"
        f"[Its run in MLflow, with the figure and the command]({address}){where}."
    )


def _optimize(
    study: optuna.Study, step: SearchStep, run: StepRun, after: Sequence[client.Run]
) -> None:
    """Run the trials that are left; widen the range while the chosen rate lies at its edge."""
    import_tensorflow()
    from pipeline.training.trainer import shared_trainer

    progress.update(step=step.name, text="compiling")
    trainer, settings = shared_trainer(step.variant, step.splits), step.settings
    source = source_model(step, run, after)

    def run_trials(bounds: tuple[float, float], total: int) -> None:
        while len(ended_trials(study)) < total:
            trial = next_trial(study, step.asked.search_seed)
            rate = trial.suggest_float(RATE, *bounds, log=True)
            # Any other end, such as a signal, leaves the trial running, to be gone on with.
            state, value = Trial(trial, settings, source).run(trainer, rate, run, step.data)
            if state.is_finished():
                study.tell(trial, value, state)

    total, extra, bounds = step.asked.n_trials, settings.extra_trials, settings.bounds
    run_trials(bounds, total)
    for _ in range(MOST_WIDENED):
        rate = rate_curve(study, settings, total).chosen
        wider = widened(bounds, rate)
        if wider == bounds:
            break
        message = (
            f"The chosen learning rate {rate:.3g} lies at an edge of "
            f"{bounds[0]:g} to {bounds[1]:g}: {extra} more trials in {wider[0]:g} to {wider[1]:g}."
        )
        progress.update(message=f"{step.name}: {message}")
        run.set_tags({"widened_range": message})
        for beyond in rates_beyond(bounds, wider, extra):
            study.enqueue_trial({RATE: beyond}, skip_if_exists=True)
        bounds, total = wider, total + extra
        run_trials(bounds, total)


def _log_study(study: optuna.Study, curve: RateCurve, step: SearchStep, run: StepRun) -> None:
    most, rate, trials = step.variant.search_epochs, curve.chosen, study.trials
    completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    best = study.best_trial if completed else None
    diverged = sum(DIVERGED in trial.user_attrs for trial in trials)  # which are pruned, to Optuna
    pruned = sum(trial.state == TrialState.PRUNED for trial in trials) - diverged
    trained = sum(len(trial.intermediate_values) for trial in trials)
    saved = len(trials) * most - trained
    of_all = f"{saved} of {len(trials) * most} epochs"
    run.log_parameters({"best_learning_rate": repr(rate)})
    metrics = {"best_learning_rate": rate, "trials": len(trials)}
    if best:
        metrics |= {
            "best_val_loss": study.best_value,
            "best_trial_learning_rate": best.params[RATE],
        }
    metrics |= {"trials_pruned": pruned, "trials_diverged": diverged}
    metrics |= {"epochs_trained": trained, "epochs_saved_by_pruning": saved}
    run.log_metrics(metrics)
    how = "where a smooth curve through all trials is lowest"
    if len(curve.points) == 1:
        how = "that of the best trial, as so few say no more"
    if not best:
        how = "the lowest that was tried, as no trial came to its end: every rate diverges"
    outcome = f"Chosen: learning rate **{rate:.3g}**, {how}."
    if best:
        outcome += (
            f" Best trial: {best.number}, with learning rate {best.params[RATE]:.3g} and "
            f"validation loss {best.value:.4f} nats per image."
        )
    set_note(study, _study_note(step, run, outcome))
    opened = client.get_run(run.run_id)
    figure = f"Figure: [{FIGURE}]({addresses.artifact_page(opened, FIGURE)[1:]})" if best else ""
    links = " · ".join(filter(None, [figure, source_link(opened)]))
    run.set_note(
        f"Learning-rate search of **{step.variant.name}**: {len(trials)} trials of up to {most} "
        f"epochs, {pruned} pruned, {diverged} diverged; pruning saved {of_all}.\n\n"
        f"{outcome}\n\n{links}\n\nRun again: {markdown.code(step.again())}"
    )
    text = f"learning rate {rate:.3g}"
    text += f", val_loss {best.value:.3f} at best" if best else ", though all trials diverged"
    progress.update(step=step.name, state="finished", text=text)


def _log_trials(study: optuna.Study, curve: RateCurve, variant: Variant, run: StepRun) -> None:
    from pipeline.report import drawing, search_figures

    rows = [
        {
            "number": trial.number,
            "learning_rate": trial.params["learning_rate"],
            "state": "DIVERGED" if DIVERGED in trial.user_attrs else trial.state.name,
            "epochs": len(trial.intermediate_values),
            "value": trial.value,
            "expected_val_loss": expected,
            "seconds": trial.duration.total_seconds() if trial.duration else math.nan,
            "run_id": trial.user_attrs.get("mlflow_run_id", ""),
        }
        for trial, expected in zip(ended_trials(study), curve.expected, strict=True)
    ]
    trials = pd.DataFrame(rows)
    run.log_text(trials.to_csv(index=False, float_format="%.7g"), "trials.csv")
    if curve.points.empty:  # nothing converged that could be drawn
        return
    points = curve.points.to_csv(index=False, float_format="%.7g")
    run.log_text(points, "learning_rate_curve.csv")
    name = variant.name
    shown = trials.assign(value=trials["expected_val_loss"])
    panels = search_figures.search_panels(
        {name: shown}, {name: variant.color}, {name: curve.points}
    )
    run.log_figure(drawing.sheet(panels), FIGURE)
