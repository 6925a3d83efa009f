"""Entry point `search`: a variant's learning rate, by an Optuna study on one compiled model."""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna

from pipeline import cli, options
from pipeline.base import InputError, environment, hide_passwords, progress
from pipeline.comparisons.variants import Variant
from pipeline.prepare import Prepared, prepared
from pipeline.steps import running
from pipeline.steps.code import modules_of
from pipeline.steps.keys import Step
from pipeline.steps.reuse import cut_off, once
from pipeline.tracking import client, step_runs
from pipeline.work import best_trial
from pipeline.work.studies import DIVERGED, check_storage, create_study, widened
from pipeline.work.trials import TrialRunner, link

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

        Good rates differ by less than the noise of the first epoch, and a schedule's validation
        loss says little before its rate comes down.
        """
        return math.ceil(0.9 * self.search_epochs) if self._has_schedule else 2

    @property
    def early_tolerance(self) -> float:
        """How far behind the best one a trial may be before that, as a fraction of its loss.

        On CIFAR-10, rates of elu, bn and selu that end within 2% of the best begin within 5%.
        """
        return 0.1 if self._has_schedule else 0.05

    @property
    def _has_schedule(self) -> bool:
        return self.variant.schedule == "one_cycle"

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
                "judged_by": "last val_loss"
                if self.variant.patience is None
                else "lowest val_loss",
            },
            sources=modules_of(__name__.replace("__main__", "pipeline.search")),
            packages=PACKAGES,
            upstream={"fingerprint of the data": data.fingerprint},
        )


def search(
    *,
    variant: options.VariantName,
    n_trials: options.NTrials = 12,
    search_epochs: options.SearchEpochs = "auto",
    learning_rate_min: options.LearningRateMin = 0.00001,
    learning_rate_max: options.LearningRateMax = 0.1,
    batch_size: options.BatchSize = "auto",
    dropout_rate: options.DropoutRate = "auto",
    dropout_layers: options.DropoutLayers = "auto",
    seed: options.SearchSeed = 1,
    storage: options.Storage = "sqlite:///optuna.db",
    dataset: options.Dataset = "auto",
    val_size: options.ValSize = 5000,
    split_seed: options.SplitSeed = 1,
    reuse: options.Reuse = "auto",
) -> str:
    """Search the learning rate of a variant: the one with the lowest validation loss kept.

    One Optuna study per variant, data set and settings; an interrupted one goes on where it was.
    The first five rates are spread over the range and get an epoch each before the best of them
    goes on; a seeded TPE sampler then draws on a log scale. Bad trials are stopped by the
    validation loss of their first epochs, hopeless ones after one. For one_cycle the rate is the
    maximum of the cycle.
    """
    options.check_reuse(reuse)
    configured = options.configured_variant(
        variant, batch_size=batch_size, dropout_rate=dropout_rate, dropout_layers=dropout_layers
    )
    settings = SearchSettings(
        variant=configured,
        n_trials=n_trials,
        search_epochs=options.search_epochs(search_epochs, configured),
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
    with running.step_run(
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
            early_tolerance=settings.early_tolerance,
        )
        run.set_tags({"study": study_name})
        link(study, run, {"variant": settings.variant.name, "dataset": data.dataset})
        _optimize(study, settings, data, run)
        again = options.mlflow_run("search", _to_run_again(settings, data))
        _log_study(study, settings, run, again=again)
        best_trial.log_checkpoint(study, run)
    return run.run_id


def best_learning_rate(run_id: str) -> float:
    """The best rate that a finished search found."""
    return float(client.get_run(run_id).data.params["best_learning_rate"])


def _optimize(
    study: optuna.Study, settings: SearchSettings, data: Prepared, run: step_runs.StepRun
) -> None:
    """Run the trials that are left; where the best rate lies at an edge, widen the range once."""
    environment.import_tensorflow()
    from pipeline.training.trainer import shared_trainer

    progress.update(step=settings.name, text="compiling")
    trainer = shared_trainer(settings.variant, data.directory)
    bounds = (settings.learning_rate_min, settings.learning_rate_max)
    trials = TrialRunner(trainer, settings, run, data)
    trials.run_trials(study, bounds, settings.n_trials)
    wider = widened(study, bounds, n_trials=settings.n_trials)
    if wider != bounds:
        extra = settings.extra_trials
        message = (
            f"The best learning rate {study.best_params['learning_rate']:.3g} lies at an edge of "
            f"{bounds[0]:g} to {bounds[1]:g}: {extra} more trials in {wider[0]:g} to {wider[1]:g}."
        )
        progress.update(message=f"{settings.name}: {message}")
        run.set_tags({"widened_range": message})
        trials.run_trials(study, wider, settings.n_trials + extra)


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
    return "DIVERGED" if DIVERGED in trial.user_attrs else trial.state.name


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
