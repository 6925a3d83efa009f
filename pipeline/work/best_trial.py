"""The best trial of a search, with whose epochs a training begins where they are its own.

A training of the search's seed has the best trial's weights, mini-batches and rate: it would train
the same epochs again, to the last digit.
"""

import tempfile
from pathlib import Path

import optuna
from mlflow.exceptions import MlflowException

from pipeline.base import InputError, progress
from pipeline.steps import ownership
from pipeline.steps.hold import checkpoint_directory
from pipeline.tracking import client
from pipeline.tracking.step_runs import StepRun
from pipeline.training.checkpoints import Checkpoints

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
