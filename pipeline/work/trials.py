"""The trials of a learning-rate search: each trained, reported and pruned, as an MLflow run."""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import optuna
from mlflow.exceptions import MlflowException
from optuna.trial import TrialState

from pipeline.base import DivergenceError, InputError, hide_passwords, progress
from pipeline.steps import ownership, running
from pipeline.steps.ownership import checkpoint_directory
from pipeline.tracking import client
from pipeline.tracking.client import StepRun
from pipeline.training.checkpoints import Checkpoints
from pipeline.work.study import DIVERGED, N_SPREAD, StudySettings, open_trial
from pipeline.work.variant_step import LoggedData

if TYPE_CHECKING:
    from pipeline.training.trainer import Trainer

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


class TrialRunner:
    """Trains the trials of a study on one compiled model, each as a nested MLflow run.

    Args:
        trainer: the compiled model, on the data set.
        settings: what the search is asked for.
        run: the search's run, under which the trials' are nested.
        data: the data set.
    """

    def __init__(self, trainer: "Trainer", settings: StudySettings, run: StepRun, data: LoggedData):
        self.trainer = trainer
        self.settings = settings
        self.run = run
        self.data = data

    def run_trials(self, study: optuna.Study, bounds: tuple[float, float], total: int) -> None:
        """Run trials in a range of learning rates until so many have ended; open ones go on."""
        while (ended := len(study.get_trials(deepcopy=False, states=ENDED))) < total:
            trial = open_trial(study) or self._ask(study, ended)
            # Any other end, such as a signal, leaves the trial running, to be gone on with.
            state, value = self._run_trial(trial, bounds)
            if state.is_finished():
                study.tell(trial, value, state)

    def _ask(self, study: optuna.Study, ended: int) -> optuna.Trial:
        # A seed for every trial: a search that goes on draws what it would have drawn.
        seed = np.random.SeedSequence([self.settings.asked.search_seed, ended]).generate_state(1)
        study.sampler = optuna.samplers.TPESampler(seed=int(seed[0]), n_startup_trials=N_SPREAD)
        return study.ask()

    def _run_trial(
        self, trial: optuna.Trial, bounds: tuple[float, float]
    ) -> tuple[TrialState, float | None]:
        """Train a trial until it completes, is pruned or diverges, or is to wait for others.

        Returns:
            Its state, which is RUNNING where it waits, and its value where it is COMPLETE.
        """
        rate = trial.suggest_float("learning_rate", *bounds, log=True)
        variant = self.settings.variant.name
        name = f"trial {trial.number} {variant} on {self.data.dataset}"
        study = {"optuna_study": trial.study.study_name, "optuna_trial": trial.number}
        earlier = trial.user_attrs.get("mlflow_run_id")
        try:
            with running.step_run(
                "trial",
                {"variant": variant, "learning_rate": rate},
                name=name,
                tags={
                    "variant": variant,
                    "mlflow.runColor": self.settings.variant.color,
                    **self.data.tags,
                    **study,
                },
                parent_run_id=self.run.run_id,
                reopened=client.get_run(earlier) if earlier else None,
            ) as trial_run:
                link(trial, trial_run, {"name": name})
                if not earlier:  # the scatter chart of the MLflow UI has no logarithmic axis
                    trial_run.log_metrics({"log10_learning_rate": math.log10(rate)})
                return _TrialRun(trial, trial_run, self.settings).train(self.trainer, rate)
        except DivergenceError as error:
            Checkpoints(checkpoint_directory(trial_run.run_id)).delete()
            trial.set_user_attr(DIVERGED, str(error))
            # Pruned rather than failed: the sampler then learns that the rate is bad.
            return TrialState.PRUNED, None


class _Waiting(Exception):
    """The trial is to wait for others."""


class _TrialRun:
    """One trial: reports every epoch to Optuna, MLflow and the person watching."""

    def __init__(self, trial: optuna.Trial, run: StepRun, settings: StudySettings):
        self.trial = trial
        self.run = run
        self.settings = settings
        self.stops_early = settings.variant.patience is not None
        enqueued = min(N_SPREAD, settings.asked.n_trials)
        self.waits = trial.number < enqueued and min(enqueued, settings.variant.search_epochs) > 1
        self.judged_epoch, self.judged_val_loss = 0, math.inf
        trials = trial.study.get_trials(deepcopy=False)
        self.reported = max(trials[trial.number].intermediate_values, default=0)
        self.epochs_of_others = sum(
            settings.variant.search_epochs if one.state in ENDED else len(one.intermediate_values)
            for one in trials
            if one.number != trial.number
        )

    def train(self, trainer: "Trainer", learning_rate: float) -> tuple[TrialState, float | None]:
        """The trial's state, and where it is COMPLETE what a training is judged by.

        That is the lowest validation loss, whose weights early stopping keeps; where the variant
        never stops early, the last.
        """
        checkpoints = Checkpoints(checkpoint_directory(self.run.run_id))
        try:
            trainer.fit(
                learning_rate=learning_rate,
                epochs=self.settings.variant.search_epochs,
                # It can't run out, but with it the best weights are kept, for `best_trial`.
                patience=self.settings.variant.search_epochs if self.stops_early else None,
                seed=self.settings.asked.search_seed,
                on_epoch=self.on_epoch,
                checkpoints=checkpoints,
            )
        except _Waiting:
            self.run.set_tags({"trial_state": "WAITING"})
            return TrialState.RUNNING, None
        except optuna.TrialPruned:
            checkpoints.delete()
            self._log("PRUNED")
            return TrialState.PRUNED, None
        if not self.stops_early:  # else `best_trial` deletes it
            checkpoints.delete()
        self._log("COMPLETE")
        return TrialState.COMPLETE, self.judged_val_loss

    def _log(self, state: str) -> None:
        self.run.set_tags({"trial_state": state})
        self.run.log_metrics(
            {"judged_epoch": self.judged_epoch, "judged_val_loss": self.judged_val_loss}
        )

    def on_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        settings, number = self.settings, self.trial.number
        self.run.log_epoch(epoch, metrics)
        if metrics["val_loss"] < self.judged_val_loss or not self.stops_early:
            self.judged_epoch, self.judged_val_loss = epoch, metrics["val_loss"]
        progress.update(
            step=f"search {settings.variant.name}",
            done=self.epochs_of_others + epoch,
            total=max(settings.asked.n_trials, number + 1) * settings.variant.search_epochs,
            text=f"trial {number} epoch {epoch} val_loss {metrics['val_loss']:.3f}",
        )
        # A trial that goes on is told its epochs again.
        if epoch > self.reported:
            self.trial.report(metrics["val_loss"], epoch)
            if self.waits and epoch == 1:
                raise _Waiting
        if self.reported <= epoch < settings.variant.search_epochs and self.trial.should_prune():
            raise optuna.TrialPruned


def link(record: optuna.Study | optuna.Trial, run: StepRun, names: Mapping[str, str]) -> None:
    """Tell whoever looks at a study or a trial what it is of, and where its MLflow run is."""
    attributes = {**names, "mlflow_run_id": run.run_id}
    if client.tracking_uri().startswith("http"):
        server = hide_passwords(client.tracking_uri()).rstrip("/")
        attributes["mlflow_url"] = f"{server}/#/experiments/{run.experiment}/runs/{run.run_id}"
    for name, value in attributes.items():
        record.set_user_attr(name, value)


FOLDER = "best_trial"  # among the artifacts of the search


def log_checkpoint(study: optuna.Study, run: StepRun) -> None:
    """Log the checkpoint that the best trial ended with, and delete those of all trials.

    Args:
        study: a finished study, whose trials have kept their checkpoints where it is of use.
        run: the search's run.
    """
    best = study.best_trial.user_attrs["mlflow_run_id"]
    if checkpoint := Checkpoints(checkpoint_directory(best)).newest():
        with tempfile.TemporaryDirectory() as folder:
            Checkpoints(Path(folder)).save(checkpoint)
            run.log_directory(Path(folder), FOLDER)
        run.set_tags({"best_trial_run": best})
    for trial in study.get_trials(deepcopy=False):
        if run_id := trial.user_attrs.get("mlflow_run_id"):
            Checkpoints(checkpoint_directory(run_id)).delete()


def begin_with(search: client.Run, run: StepRun, checkpoints: Checkpoints, *, name: str) -> None:
    """Let a training go on from the best trial's checkpoint, unless it has one of its own.

    Only where the trial was trained on this host and its processor: others come to other digits,
    and to seconds that cannot be added to these.

    Args:
        search: the search's run.
        run: the training's run.
        checkpoints: of the training.
        name: of the training, for the message.
    """
    trial_run = search.data.tags.get("best_trial_run")
    if trial_run is None or checkpoints.newest():
        return
    here = {"host": ownership.owner_tags()["host"], "processor": ownership.processor()}
    try:
        there = client.get_run(trial_run).data.tags
        checkpoint = Checkpoints(client.local_artifact(search.info.run_id, FOLDER)).newest()
    except (InputError, OSError, MlflowException):  # a person has deleted one of them
        return
    if checkpoint and here.items() <= there.items():
        # First what tells of it: a run that is cut off here begins with the trial again.
        run.set_tags({"trial_run": trial_run})
        elapsed = checkpoint.state["history"][-1]["elapsed_seconds"]
        run.log_metrics({"trial_epochs": checkpoint.epoch, "trial_seconds": elapsed})
        checkpoints.save(checkpoint)
        progress.update(
            message=f"{name}: the first {checkpoint.epoch} epochs are those of its search's best "
            "trial, and are not trained again."
        )


def note_row(run: StepRun) -> str:
    """The row of a training's note that says with which epochs it began; empty if with none."""
    data = client.get_run(run.run_id).data
    if "trial_run" not in data.tags:
        return ""
    address = f"#/experiments/{run.experiment}/runs/{data.tags['trial_run']}"
    epochs = f"{data.metrics['trial_epochs']:.0f}"
    return f"| not trained again | {epochs} epochs of [the search's best trial]({address}) |\n"
