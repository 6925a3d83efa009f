"""The work of `search`: a variant's learning rate, by an Optuna study on one compiled model."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import optuna

from pipeline.base import hide_passwords, progress
from pipeline.parameters import recorded
from pipeline.parameters.groups import Searching
from pipeline.tracking import client
from pipeline.tracking.client import StepRun
from pipeline.training.runtime import import_tensorflow
from pipeline.work import trials
from pipeline.work.study import DIVERGED, StudySettings, create_study, widened
from pipeline.work.trials import TrialRunner, link
from pipeline.work.variant_step import LoggedData, VariantStep


@dataclass(frozen=True, kw_only=True)
class Search(VariantStep):
    """The search of a variant's learning rate.

    Args:
        asked: the parameters of the search.
    """

    entry_point: ClassVar[str] = "search"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "keras", "numpy", "optuna")
    resumes: ClassVar[bool] = True

    asked: Searching

    @property
    def name(self) -> str:
        return f"search {self.variant.name}"

    @property
    def settings(self) -> StudySettings:
        """What its study is asked for."""
        return StudySettings(variant=self.variant, asked=self.asked)

    def parameters(self) -> Mapping[str, Any]:
        judged_by = "last" if self.variant.patience is None else "lowest"
        return {
            "variant": self.variant.name,
            **recorded(self.asked, Searching, "search", self.variant),
            "judged_by": f"{judged_by} val_loss",
        }

    def logged(self) -> Mapping[str, Any]:
        return {**super().logged(), "storage": hide_passwords(self.asked.storage)}

    def tags(self) -> Mapping[str, Any]:
        return self._tags(self.asked)

    def work(self, run: StepRun, after: Sequence[client.Run], *, anew: bool) -> None:
        name = f"{self.variant.name}-{self.data.dataset}-{self.key[:12]}"
        study = create_study(f"{name}-{run.run_id[:8]}" if anew else name, self.settings)
        run.set_tags({"study": study.study_name})
        link(study, run, {"variant": self.variant.name, "dataset": self.data.dataset})
        _optimize(study, self.settings, self.data, run)
        _log_study(study, self.settings, run, again=self._again(self.asked, Searching))
        trials.log_checkpoint(study, run)


def best_learning_rate(run: client.Run) -> float:
    """The best rate that a finished search found."""
    return float(run.data.params["best_learning_rate"])


def _optimize(study: optuna.Study, settings: StudySettings, data: LoggedData, run: StepRun) -> None:
    """Run the trials that are left; where the best rate lies at an edge, widen the range once."""
    import_tensorflow()
    from pipeline.training.trainer import shared_trainer

    name, n_trials = f"search {settings.variant.name}", settings.asked.n_trials
    progress.update(step=name, text="compiling")
    trials = TrialRunner(shared_trainer(settings.variant, data.directory), settings, run, data)
    bounds = settings.bounds
    trials.run_trials(study, bounds, n_trials)
    wider = widened(study, bounds, n_trials=n_trials)
    if wider != bounds:
        extra = settings.extra_trials
        message = (
            f"The best learning rate {study.best_params['learning_rate']:.3g} lies at an edge of "
            f"{bounds[0]:g} to {bounds[1]:g}: {extra} more trials in {wider[0]:g} to {wider[1]:g}."
        )
        progress.update(message=f"{name}: {message}")
        run.set_tags({"widened_range": message})
        trials.run_trials(study, wider, n_trials + extra)


def _log_study(study: optuna.Study, settings: StudySettings, run: StepRun, *, again: str) -> None:
    best = study.best_trial
    rate = best.params["learning_rate"]
    trained = sum(len(trial.intermediate_values) for trial in study.trials)
    possible = len(study.trials) * settings.variant.search_epochs
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
        f"{settings.variant.search_epochs} epochs, {states.count('PRUNED')} pruned, "
        f"{states.count('DIVERGED')} diverged; pruning saved {possible - trained} of {possible} "
        f"epochs.\n\nBest: learning rate **{rate:.3g}** with val_loss {study.best_value:.4f} "
        f"(trial {best.number}).\n\nRun again: `{again}`"
    )
    progress.update(
        step=f"search {settings.variant.name}",
        state="finished",
        text=f"learning rate {rate:.3g}, val_loss {study.best_value:.4f}, "
        f"{possible - trained} of {possible} epochs saved by pruning",
    )


def _state(trial: optuna.trial.FrozenTrial) -> str:
    return "DIVERGED" if DIVERGED in trial.user_attrs else trial.state.name


def _log_trials(study: optuna.Study, run: StepRun) -> None:
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
