"""The trials of a learning-rate search: each trained, reported and pruned, as an MLflow run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import optuna
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from optuna.trial import TrialState

from pipeline.base import DivergenceError, progress
from pipeline.steps.resuming import checkpoints_of
from pipeline.steps.running import step_run
from pipeline.tracking import addresses, client
from pipeline.tracking.runs import StepRun
from pipeline.work.study import DIVERGED, ENDED, N_SPREAD, StudySettings
from pipeline.work.variant_step import LoggedData

if TYPE_CHECKING:
    import keras

    from pipeline.training.trainer import Trainer

Outcome = tuple[TrialState, float | None]  # RUNNING where it waits; the value of a COMPLETE one


class _Waiting(Exception):
    """The trial is to wait for others."""


@dataclass
class Trial:
    """One trial: reports every epoch to Optuna, MLflow and the person watching."""

    trial: optuna.Trial
    settings: StudySettings
    source: "keras.Model | None" = None  # the model that it starts from
    losses: list[float] = field(default_factory=list)  # of its epochs, on the validation images

    def __post_init__(self) -> None:
        self.epochs = self.settings.variant.search_epochs
        trials = self.trial.study.get_trials(deepcopy=False)
        self.reported = max(trials[self.trial.number].intermediate_values, default=0)
        self.epochs_of_others = sum(
            self.epochs if one.state in ENDED else len(one.intermediate_values)
            for one in trials
            if one.number != self.trial.number
        )

    def run(self, trainer: "Trainer", rate: float, search: StepRun, data: LoggedData) -> Outcome:
        """Train it, as a run of its own, until it completes, is pruned or diverges, or waits."""
        trial, variant = self.trial, self.settings.variant
        name = f"trial {trial.number} {variant.name} on {data.dataset}"
        tags = {"variant": variant.name, "mlflow.runColor": variant.color, **data.tags}
        tags |= {"optuna_study": trial.study.study_name, "optuna_trial": str(trial.number)}
        tags |= {MLFLOW_PARENT_RUN_ID: search.run_id}
        given = {"variant": variant.name, "learning_rate": rate}
        earlier = trial.user_attrs.get("mlflow_run_id")
        reopened = client.find_run(earlier)
        try:
            with step_run(
                "trial", given, name=name, tags=tags, reopened=reopened, claim=search.claim
            ) as run:
                link(trial, run, {"name": name})
                if not reopened:  # the scatter chart of the MLflow UI has no logarithmic axis
                    run.log_metrics({"log10_learning_rate": math.log10(rate)})
                return self._train(trainer, rate, run)
        except DivergenceError as error:
            trial.set_user_attr(DIVERGED, str(error))
            # Pruned rather than failed: the sampler then learns that the rate is bad.
            return TrialState.PRUNED, None

    def _train(self, trainer: "Trainer", learning_rate: float, run: StepRun) -> Outcome:
        def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
            run.log_epoch(epoch, metrics)
            self.report(epoch, metrics["val_loss"])

        checkpoints = checkpoints_of(run.run_id)
        if self.reported and not checkpoints.newest():
            why = f"there is nothing in {checkpoints}"
            progress.update(message=f"trial {self.trial.number}: begins again, since {why}.")
        state = TrialState.COMPLETE
        try:
            trainer.fit(
                learning_rate=learning_rate,
                epochs=self.epochs,
                patience=None,  # what a trial is judged by are its losses
                seed=self.settings.asked.search_seed,
                on_epoch=on_epoch,
                checkpoints=checkpoints,
                source=self.source,
            )
        except _Waiting:
            run.set_tags({"trial_state": "WAITING"})
            return TrialState.RUNNING, None
        except optuna.TrialPruned:
            state = TrialState.PRUNED
        checkpoints.delete()
        epoch, loss = self.judged
        run.set_tags({"trial_state": state.name})
        run.log_metrics({"best_epoch": epoch, "best_val_loss": loss})
        return state, loss if state == TrialState.COMPLETE else None

    def report(self, epoch: int, loss: float) -> None:
        """Tell of an epoch; raises where the trial is to wait, or is pruned."""
        number, asked = self.trial.number, self.settings.asked
        self.losses.append(loss)
        progress.update(
            step=f"search {self.settings.variant.name}",
            done=self.epochs_of_others + epoch,
            total=max(asked.n_trials, number + 1) * self.epochs,
            text=f"trial {number} epoch {epoch} val_loss {loss:.3f}",
        )
        enqueued = min(N_SPREAD, asked.n_trials)
        # A trial that goes on is told its epochs again.
        if epoch > self.reported:
            self.trial.report(loss, epoch)
            if epoch == 1 and number < enqueued and min(enqueued, self.epochs) > 1:
                raise _Waiting
        if self.reported <= epoch < self.epochs and self.trial.should_prune():
            raise optuna.TrialPruned

    @property
    def judged(self) -> tuple[int, float]:
        """The epoch and the loss that it is judged by."""
        epoch = self.settings.judged_epoch(self.losses)
        return epoch, self.losses[epoch - 1]


def link(record: optuna.Study | optuna.Trial, run: StepRun, names: Mapping[str, str]) -> None:
    """Tell whoever looks at a study or a trial what it is of, and where its MLflow run is."""
    address = addresses.server_address() + addresses.run_page(run.experiment, run.run_id)
    attributes = {**names, "mlflow_run_id": run.run_id, "mlflow_url": address}
    for name, value in attributes.items():
        record.set_user_attr(name, value)
