"""Entry point `search`: a variant's learning rate, by an Optuna study on one compiled model."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna

from pipeline import cli, environment, progress, step_runs, tracking
from pipeline.checkpoints import Checkpoints
from pipeline.errors import DivergenceError, InputError
from pipeline.passwords import hide_passwords
from pipeline.prepare import Prepared, prepared
from pipeline.reuse import checkpoint_directory, cut_off, once
from pipeline.steps import TRAINING_SOURCES, Step
from pipeline.studies import (
    N_SPREAD,
    check_storage,
    create_study,
    cut_off_trial,
    widened,
)
from pipeline.variants import Variant

if TYPE_CHECKING:
    from pipeline.training import Trainer

SOURCES = (*TRAINING_SOURCES, "studies", "search")
PACKAGES = ("tensorflow", "keras", "numpy", "optuna")
LOWEST_RATE, HIGHEST_RATE = 1e-12, 1e6  # of which the weights' float32 can make something


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """What a learning-rate search is asked for.

    Args:
        variant: the architecture, with its batch size and dropout.
        n_trials: trials of the study.
        search_epochs: most epochs of a trial.
        learning_rate_min: lower end of the range.
        learning_rate_max: upper end of the range.
        seed: decides the sampler and the trials' weights.

    Raises:
        InputError: if the range is empty or goes beyond what can be computed with.
    """

    variant: Variant
    n_trials: int
    search_epochs: int
    learning_rate_min: float
    learning_rate_max: float
    seed: int

    def __post_init__(self) -> None:
        low, high = self.learning_rate_min, self.learning_rate_max
        # Optuna's sampler comes to nan in a range that is hardly one.
        if not (low >= LOWEST_RATE and 1.1 * low <= high <= HIGHEST_RATE):
            raise InputError(
                "learning_rate_min and learning_rate_max",
                expected=f"two numbers from {LOWEST_RATE:g} to {HIGHEST_RATE:g}, "
                "the second at least a tenth above the first",
                received=f"{self.learning_rate_min} and {self.learning_rate_max}",
                action="The default range is 0.00001 to 0.1.",
            )

    @property
    def extra_trials(self) -> int:
        """Trials added where the range is widened."""
        return max(2, self.n_trials // 3)

    @property
    def first_judged(self) -> int:
        """The first epoch after which a trial that is not far behind may be pruned.

        Good rates differ by less than the noise of the first epochs, and a schedule's validation
        loss says little before its rate comes down.
        """
        one_cycle = self.variant.schedule == "one_cycle"
        return math.ceil(0.9 * self.search_epochs) if one_cycle else 3

    @property
    def name(self) -> str:
        """What the run is called."""
        return f"search {self.variant.name}"

    def step(self, data: Prepared) -> Step:
        """What decides the study's result on a data set."""
        return Step(
            entry_point="search",
            parameters={
                "variant": self.variant.name,
                "batch_size": self.variant.batch_size,
                "dropout_rate": self.variant.dropout_rate,
                "dropout_layers": self.variant.dropout_layers,
                "n_trials": self.n_trials,
                "search_epochs": self.search_epochs,
                "learning_rate_min": self.learning_rate_min,
                "learning_rate_max": self.learning_rate_max,
                "seed": self.seed,
            },
            sources=SOURCES,
            packages=PACKAGES,
            upstream={"fingerprint of the data": data.fingerprint},
        )


def search(
    *,
    variant: cli.VariantName,
    n_trials: cli.NTrials = 12,
    search_epochs: cli.SearchEpochs = 10,
    learning_rate_min: cli.LearningRateMin = 0.00001,
    learning_rate_max: cli.LearningRateMax = 0.1,
    batch_size: cli.BatchSize = "auto",
    dropout_rate: cli.DropoutRate = "auto",
    dropout_layers: cli.DropoutLayers = "auto",
    seed: cli.SearchSeed = 1,
    storage: cli.Storage = "sqlite:///optuna.db",
    dataset: cli.Dataset = "auto",
    val_size: cli.ValSize = 5000,
    split_seed: cli.SplitSeed = 1,
    reuse: cli.Reuse = "auto",
) -> str:
    """Search the learning rate of a variant: the one with the lowest validation loss.

    One Optuna study per variant, data set and settings; an interrupted one goes on where it was.
    Trials are drawn by a seeded TPE sampler on a log scale; bad ones are stopped by the validation
    loss of their first epochs, hopeless ones after one epoch. For one_cycle the rate is the
    maximum of the cycle.
    """
    cli.check_reuse(reuse)
    settings = SearchSettings(
        variant=cli.configured_variant(
            variant,
            batch_size=batch_size,
            dropout_rate=dropout_rate,
            dropout_layers=dropout_layers,
        ),
        n_trials=n_trials,
        search_epochs=search_epochs,
        learning_rate_min=learning_rate_min,
        learning_rate_max=learning_rate_max,
        seed=seed,
    )
    check_storage(storage)
    data = prepared(dataset=dataset, val_size=val_size, seed=split_seed, reuse="auto")
    return searched(settings, data, storage=storage, reuse=reuse)


def searched(
    settings: SearchSettings, data: Prepared, *, storage: str, reuse: str, announce: bool = True
) -> str:
    """The run of the study for these settings: the finished one, or one searched now."""
    step = settings.step(data)

    def run() -> str:
        return _run(step, settings, data, storage=storage, reuse=reuse)

    return once(step, name=settings.name, reuse=reuse, run=run, announce=announce)


def _run(step: Step, settings: SearchSettings, data: Prepared, *, storage: str, reuse: str) -> str:
    """Search, in the run that was cut off if there is one."""
    parameters = {
        **step.parameters,
        "dataset": data.dataset,
        "storage": hide_passwords(storage),
    }
    tags = {"variant": settings.variant.name, "mlflow.runColor": settings.variant.color}
    with step_runs.step_run(
        "search",
        parameters,
        name=settings.name,
        step=step,
        tags={**tags, **data.tags},
        reopened=cut_off(step),
    ) as run:
        study_name = f"{settings.variant.name}-{data.dataset}-{step.key[:12]}"
        if reuse == "never":
            study_name += f"-{run.run_id[:8]}"
        study = create_study(
            study_name,
            storage=storage,
            bounds=(settings.learning_rate_min, settings.learning_rate_max),
            n_trials=settings.n_trials,
            first_judged=settings.first_judged,
        )
        run.set_tags({"study": study_name})
        _link(study, run, {"variant": settings.variant.name, "dataset": data.dataset})
        _optimize(study, settings, data, run)
        again = cli.mlflow_run("search", _to_run_again(settings, data))
        _log_study(study, settings, run, again=again)
    return run.run_id


def best_learning_rate(run_id: str) -> float:
    """The best rate that a finished search found."""
    return float(tracking.get_run(run_id).data.params["best_learning_rate"])


def _link(
    record: optuna.Study | optuna.Trial, run: step_runs.StepRun, names: Mapping[str, str]
) -> None:
    """Tell whoever looks at a study or a trial what it is of, and where its MLflow run is."""
    attributes = {**names, "mlflow_run_id": run.run_id}
    if tracking.tracking_uri().startswith("http"):
        server = hide_passwords(tracking.tracking_uri()).rstrip("/")
        attributes["mlflow_url"] = f"{server}/#/experiments/{run.experiment}/runs/{run.run_id}"
    for name, value in attributes.items():
        record.set_user_attr(name, value)


def _optimize(
    study: optuna.Study, settings: SearchSettings, data: Prepared, run: step_runs.StepRun
) -> None:
    """Run the trials that are left; where the best rate lies at an edge, widen the range once."""
    environment.import_tensorflow()
    from pipeline.training import shared_trainer

    progress.update(step=settings.name, text="compiling")
    trainer = shared_trainer(settings.variant, data.directory)
    bounds = (settings.learning_rate_min, settings.learning_rate_max)
    objective = _Objective(trainer, settings, run, data)
    objective.run_trials(study, bounds, settings.n_trials)
    wider = widened(study, bounds, n_trials=settings.n_trials)
    if wider != bounds:
        extra = settings.extra_trials
        message = (
            f"The best learning rate {study.best_params['learning_rate']:.3g} lies at an edge of "
            f"{bounds[0]:g} to {bounds[1]:g}: {extra} more trials in {wider[0]:g} to {wider[1]:g}."
        )
        progress.update(message=f"{settings.name}: {message}")
        run.set_tags({"widened_range": message})
        objective.run_trials(study, wider, settings.n_trials + extra)


class _Objective:
    """Trains one trial after another on one compiled model, each as a nested MLflow run."""

    def __init__(
        self, trainer: "Trainer", settings: SearchSettings, run: step_runs.StepRun, data: Prepared
    ):
        self.trainer = trainer
        self.settings = settings
        self.run = run
        self.data = data
        self.bounds = (settings.learning_rate_min, settings.learning_rate_max)

    def run_trials(self, study: optuna.Study, bounds: tuple[float, float], total: int) -> None:
        """Run trials until so many have ended; one that was cut off goes on first."""
        self.bounds = bounds
        states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
        while (ended := len(study.get_trials(deepcopy=False, states=states))) < total:
            trial = cut_off_trial(study)
            if trial is None:
                # A seed for every trial: a search that goes on draws what it would have drawn.
                seed = np.random.SeedSequence([self.settings.seed, ended]).generate_state(1)
                study.sampler = optuna.samplers.TPESampler(
                    seed=int(seed[0]), n_startup_trials=N_SPREAD
                )
                trial = study.ask()
            # Any other end, such as a signal, leaves the trial running, to be gone on with.
            try:
                study.tell(trial, self(trial))
            except optuna.TrialPruned:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)

    def __call__(self, trial: optuna.Trial) -> float:
        low, high = self.bounds
        rate = trial.suggest_float("learning_rate", low, high, log=True)
        variant = self.settings.variant.name
        name = f"trial {trial.number} {variant} on {self.data.dataset}"
        study = {"optuna_study": trial.study.study_name, "optuna_trial": trial.number}
        earlier = trial.user_attrs.get("mlflow_run_id")
        try:
            with step_runs.step_run(
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
                reopened=tracking.get_run(earlier) if earlier else None,
            ) as trial_run:
                _link(trial, trial_run, {"name": name})
                if not earlier:  # the scatter chart of the MLflow UI has no logarithmic axis
                    trial_run.log_metrics({"log10_learning_rate": math.log10(rate)})
                value = _TrialRun(trial, trial_run, self.settings).train(self.trainer, rate)
        except DivergenceError as error:
            trial.set_user_attr("diverged", str(error))
            # Pruned rather than failed: the sampler then learns that the rate is bad.
            raise optuna.TrialPruned(str(error)) from error
        if value is None:
            raise optuna.TrialPruned
        return value


class _TrialRun:
    """One trial: reports every epoch to Optuna, MLflow and the person watching."""

    def __init__(self, trial: optuna.Trial, run: step_runs.StepRun, settings: SearchSettings):
        self.trial = trial
        self.run = run
        self.settings = settings
        frozen = trial.storage.get_trial(trial._trial_id)
        self.lowest = math.inf
        self.reported = max(frozen.intermediate_values, default=0)

    def train(self, trainer: "Trainer", learning_rate: float) -> float | None:
        """The lowest validation loss, or None if the trial was pruned."""
        checkpoints = Checkpoints(checkpoint_directory(self.run.run_id))
        try:
            fit = trainer.fit(
                learning_rate=learning_rate,
                epochs=self.settings.search_epochs,
                patience=None,
                seed=self.settings.seed,
                on_epoch=self.on_epoch,
                checkpoints=checkpoints,
            )
        except optuna.TrialPruned:
            checkpoints.delete()
            self.run.set_tags({"trial_state": "PRUNED"})
            self.run.log_metrics({"best_val_loss": self.lowest})
            return None
        except DivergenceError:
            checkpoints.delete()
            raise
        checkpoints.delete()
        best = fit.history[fit.best_epoch - 1]["val_loss"]
        self.run.set_tags({"trial_state": "COMPLETE"})
        self.run.log_metrics({"best_epoch": fit.best_epoch, "best_val_loss": best})
        return best

    def on_epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        settings, number = self.settings, self.trial.number
        self.run.log_epoch(epoch, metrics)
        self.lowest = min(self.lowest, metrics["val_loss"])
        progress.update(
            step=settings.name,
            done=number * settings.search_epochs + epoch,
            total=max(settings.n_trials, number + 1) * settings.search_epochs,
            text=f"trial {number} epoch {epoch} val_loss {metrics['val_loss']:.3f}",
        )
        # A trial that goes on is told its epochs again.
        if epoch > self.reported:
            self.trial.report(metrics["val_loss"], epoch)
        if self.reported <= epoch < settings.search_epochs and self.trial.should_prune():
            raise optuna.TrialPruned


def _to_run_again(settings: SearchSettings, data: Prepared) -> dict[str, object]:
    """The parameters that make the same search anew."""
    variant = settings.variant
    dropout = {"dropout_rate": variant.dropout_rate, "dropout_layers": variant.dropout_layers}
    return {
        "variant": variant.name,
        "n_trials": settings.n_trials,
        "search_epochs": settings.search_epochs,
        "learning_rate_min": settings.learning_rate_min,
        "learning_rate_max": settings.learning_rate_max,
        "batch_size": variant.batch_size,
        **(dropout if variant.dropout else {}),
        "seed": settings.seed,
        **data.parameters,
        "reuse": "never",
    }


def _log_study(
    study: optuna.Study, settings: SearchSettings, run: step_runs.StepRun, *, again: str
) -> None:
    best = study.best_trial
    rate = best.params["learning_rate"]
    trained = sum(len(trial.intermediate_values) for trial in study.trials)
    possible = len(study.trials) * settings.search_epochs
    states = [_state(trial) for trial in study.trials]
    run.log_parameters({"best_learning_rate": repr(rate)})
    run.log_metrics(
        {
            "best_learning_rate": rate,
            "best_val_loss": study.best_value,
            "trials": len(states),
            "trials_pruned": states.count("PRUNED"),
            "trials_diverged": states.count("DIVERGED"),
            "epochs_trained": trained,
            "epochs_saved_by_pruning": possible - trained,
        }
    )
    _log_trials(study, run)
    run.set_note(
        f"Learning-rate search of **{settings.variant.name}**: {len(states)} trials of up to "
        f"{settings.search_epochs} epochs, {states.count('PRUNED')} pruned, "
        f"{states.count('DIVERGED')} diverged; pruning saved {possible - trained} of {possible} "
        f"epochs.\n\nBest: learning rate **{rate:.3g}** with val_loss {study.best_value:.4f} "
        f"(trial {best.number}).\n\nRun again: `{again}`"
    )
    progress.update(
        step=settings.name,
        state="finished",
        text=f"learning rate {rate:.3g}, val_loss {study.best_value:.4f}, "
        f"{possible - trained} of {possible} epochs saved by pruning",
    )


def _state(trial: optuna.trial.FrozenTrial) -> str:
    return "DIVERGED" if "diverged" in trial.user_attrs else trial.state.name


def _log_trials(study: optuna.Study, run: step_runs.StepRun) -> None:
    import matplotlib
    from optuna.visualization import matplotlib as plots

    attributes = ("number", "value", "params", "user_attrs", "state", "duration")
    run.log_text(study.trials_dataframe(attrs=attributes).to_csv(index=False), "trials.csv")
    # Optuna sets a style for all figures of the process, which is to end with its own.
    with matplotlib.rc_context(), warnings.catch_warnings():
        # Optuna marks its matplotlib plots experimental; they are pinned with Optuna.
        warnings.simplefilter("ignore")
        figures: Mapping[str, Callable[..., Any]] = {
            "optimization_history": plots.plot_optimization_history,
            "intermediate_values": plots.plot_intermediate_values,
            "learning_rate": plots.plot_slice,
        }
        for name, plot in figures.items():
            figure = plot(study).figure
            figure.set_layout_engine("tight")
            run.log_figure(figure, f"{name}.png")
            figure.clear()


if __name__ == "__main__":
    cli.run(search)
