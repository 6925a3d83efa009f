"""Entry point `train`: one architecture variant, trained, judged and logged."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pipeline import cli, options
from pipeline.base import DivergenceError, environment, progress
from pipeline.comparisons.variants import Variant
from pipeline.mc_dropout import log_mc_dropout
from pipeline.prepare import Prepared, prepared
from pipeline.search import SearchSettings, best_learning_rate, searched
from pipeline.steps import running
from pipeline.steps.code import modules_of
from pipeline.steps.keys import Step
from pipeline.steps.reuse import checkpoint_directory, cut_off, once, reusable
from pipeline.tracking import client, step_runs, views
from pipeline.training.checkpoints import Checkpoints
from pipeline.uncertainty.calibration import negative_log_likelihood
from pipeline.work import best_trial
from pipeline.work.studies import check_storage

if TYPE_CHECKING:
    import keras

    from pipeline.training.trainer import Fit, Trainer

PACKAGES = ("tensorflow", "keras", "numpy")


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What one training run is asked for.

    Args:
        variant: the architecture, with its batch size, epochs, patience and dropout.
        learning_rate: the rate, or None for the best one of the search.
        seed: decides weights, shuffling and dropout masks.
        mc_samples: predictions averaged by MC Dropout.
        search: the search that finds the rate where none is given.
    """

    variant: Variant
    learning_rate: float | None
    seed: int
    mc_samples: int
    search: SearchSettings

    def step(self, data: Prepared) -> Step:
        """What decides the training's result on a data set."""
        upstream = {"fingerprint of the data": data.fingerprint}
        if self.learning_rate is None:
            upstream["search"] = self.search.step(data).key
        return Step(
            entry_point="train",
            parameters={
                "variant": self.variant.name,
                "seed": self.seed,
                "learning_rate": self.learning_rate or "auto",
                "epochs": self.variant.epochs,
                "patience": self.variant.patience or "none",
                "batch_size": self.variant.batch_size,
                "dropout_rate": self.variant.dropout_rate,
                "dropout_layers": self.variant.dropout_layers,
                "mc_samples": self.mc_samples,
            },
            sources=modules_of(__name__.replace("__main__", "pipeline.train")),
            packages=PACKAGES,
            upstream=upstream,
        )

    @property
    def begins_as_a_trial(self) -> bool:
        """Whether its first epochs are those of the search's best trial.

        A schedule is as long as the training; with less patience it may end before the trial does.
        """
        variant, search = self.variant, self.search
        return (
            self.learning_rate is None
            and self.seed == search.seed
            and variant.schedule == "constant"
            and variant.patience is not None
            and min(variant.patience, variant.epochs) >= search.search_epochs
        )

    @property
    def name(self) -> str:
        """What the run is called."""
        return f"train {self.variant.name} seed {self.seed}"


def settings(
    *,
    variant: str,
    learning_rate: str,
    epochs: str,
    patience: str,
    batch_size: str,
    seed: int,
    dropout_rate: str,
    dropout_layers: str,
    mc_samples: int,
    n_trials: int,
    search_epochs: str,
    learning_rate_min: float,
    learning_rate_max: float,
    search_seed: int,
) -> TrainSettings:
    """The settings behind an entry point's parameters.

    Raises:
        InputError: if one is unknown or out of range.
    """
    configured = options.configured_variant(
        variant,
        batch_size=batch_size,
        dropout_rate=dropout_rate,
        dropout_layers=dropout_layers,
        epochs=epochs,
        patience=patience,
    )
    return TrainSettings(
        variant=configured,
        learning_rate=options.auto_or(
            "learning_rate", learning_rate, auto=None, minimum=1e-12, kind=float
        ),
        seed=seed,
        mc_samples=mc_samples,
        search=SearchSettings(
            variant=configured,
            n_trials=n_trials,
            search_epochs=options.search_epochs(search_epochs, configured),
            learning_rate_min=learning_rate_min,
            learning_rate_max=learning_rate_max,
            seed=search_seed,
        ),
    )


def train(
    *,
    variant: options.VariantName,
    learning_rate: options.LearningRate = "auto",
    epochs: options.Epochs = "auto",
    patience: options.Patience = "auto",
    batch_size: options.BatchSize = "auto",
    seed: options.Seed = 1,
    dropout_rate: options.DropoutRate = "auto",
    dropout_layers: options.DropoutLayers = "auto",
    mc_samples: options.McSamples = 100,
    n_trials: options.NTrials = 12,
    search_epochs: options.SearchEpochs = "auto",
    learning_rate_min: options.LearningRateMin = 0.00001,
    learning_rate_max: options.LearningRateMax = 0.1,
    search_seed: options.SearchSeed = 1,
    storage: options.Storage = "sqlite:///optuna.db",
    dataset: options.Dataset = "auto",
    val_size: options.ValSize = 5000,
    split_seed: options.SplitSeed = 1,
    reuse: options.Reuse = "auto",
) -> str:
    """Train one architecture variant and log everything worth knowing about it.

    The data set is prepared and the learning rate searched first, where no finished run has done
    so. reuse=never trains again; the data and the study are reused all the same.
    """
    options.check_reuse(reuse)
    wanted = settings(
        variant=variant,
        learning_rate=learning_rate,
        epochs=epochs,
        patience=patience,
        batch_size=batch_size,
        seed=seed,
        dropout_rate=dropout_rate,
        dropout_layers=dropout_layers,
        mc_samples=mc_samples,
        n_trials=n_trials,
        search_epochs=search_epochs,
        learning_rate_min=learning_rate_min,
        learning_rate_max=learning_rate_max,
        search_seed=search_seed,
    )
    check_storage(storage)
    data = prepared(dataset=dataset, val_size=val_size, seed=split_seed, reuse="auto")
    run_id = trained(wanted, data, storage=storage, reuse=reuse)
    views.announce(views.write_views(client.experiment_id()))
    return run_id


def trained(
    wanted: TrainSettings, data: Prepared, *, storage: str, reuse: str, announce: bool = True
) -> str:
    """The training run for these settings: the finished one, or one trained now."""
    step, rate = wanted.step(data), wanted.learning_rate
    tags = data.tags
    if rate is None and not reusable(step, name=wanted.name, reuse=reuse, announce=False):
        # Before `once`: to other hosts, a step runs from the moment on that it has a run.
        search_run = searched(wanted.search, data, storage=storage, reuse="auto", announce=announce)
        rate, tags = best_learning_rate(search_run), {**tags, "search_run": search_run}

    def run() -> str:
        assert rate is not None
        return _run(step, wanted, data, rate, tags, anew=reuse == "never")

    return once(step, name=wanted.name, reuse=reuse, run=run, announce=announce)


def _run(
    step: Step,
    wanted: TrainSettings,
    data: Prepared,
    rate: float,
    tags: Mapping[str, str],
    *,
    anew: bool,
) -> str:
    """Train, in the run that was cut off if there is one; anew: all epochs."""
    tags = {"variant": wanted.variant.name, "mlflow.runColor": wanted.variant.color, **tags}
    parameters = {
        **step.parameters,
        "dataset": data.dataset,
        "chosen_learning_rate": repr(rate),
        "chosen_batch_size": wanted.variant.batch_size,
    }
    try:
        with running.step_run(
            "train", parameters, name=wanted.name, step=step, tags=tags, reopened=cut_off(step)
        ) as run:
            checkpoints = Checkpoints(checkpoint_directory(run.run_id))
            if wanted.begins_as_a_trial and not anew:
                best_trial.begin_with(tags["search_run"], run, checkpoints, name=wanted.name)
            _train(run, wanted, data, rate, checkpoints)
    except DivergenceError:
        checkpoints.delete()  # it would only diverge again
        raise
    checkpoints.delete()
    return run.run_id


def _train(
    run: step_runs.StepRun,
    wanted: TrainSettings,
    data: Prepared,
    rate: float,
    checkpoints: Checkpoints,
) -> None:
    environment.import_tensorflow()
    from pipeline.training.trainer import shared_trainer

    progress.update(step=wanted.name, text="preparing the model")
    trainer = shared_trainer(wanted.variant, data.directory)
    run.log_datasets(trainer.prepared, location=data.location)

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        run.log_epoch(epoch, metrics)
        progress.update(
            step=wanted.name,
            done=epoch,
            total=wanted.variant.epochs,
            text=f"val_accuracy {metrics['val_accuracy']:.3f} "
            f"{metrics['epoch_seconds']:.1f} s/epoch",
        )

    fit = trainer.fit(
        learning_rate=rate,
        epochs=wanted.variant.epochs,
        patience=wanted.variant.patience,
        seed=wanted.seed,
        on_epoch=on_epoch,
        checkpoints=checkpoints,
    )
    run.flush()
    metrics = _fit_metrics(fit, trainer)
    probabilities = trainer.predict(trainer.prepared.x_test)
    metrics |= _log_test(run, trainer, probabilities)
    run.log_metrics(metrics)
    _log_learning_curve(run, wanted, fit)
    model = trainer.trained_model()
    _log_model(run, trainer, wanted, model)
    if wanted.variant.dropout_rate > 0:
        metrics |= log_mc_dropout(
            run,
            model,
            trainer.prepared,
            name=wanted.name,
            deterministic=probabilities,
            samples=wanted.mc_samples,
            seed=wanted.seed,
        )
    _set_note(run, wanted, data, rate, metrics)
    progress.update(
        step=wanted.name,
        state="finished",
        text=f"best epoch {fit.best_epoch}, val_accuracy {metrics['judged_val_accuracy']:.4f}, "
        f"test_accuracy {metrics['test_accuracy']:.4f}, "
        f"{metrics['median_epoch_seconds']:.2f} s/epoch",
    )


def _fit_metrics(fit: "Fit", trainer: "Trainer") -> dict[str, float]:
    best, last = fit.history[fit.best_epoch - 1], fit.history[-1]
    judged = fit.history[fit.judged_epoch - 1]
    return {
        "best_epoch": fit.best_epoch,
        "best_val_loss": best["val_loss"],
        "best_val_accuracy": best["val_accuracy"],
        "final_val_loss": last["val_loss"],
        "final_val_accuracy": last["val_accuracy"],
        "judged_epoch": fit.judged_epoch,
        "judged_val_loss": judged["val_loss"],
        "judged_val_accuracy": judged["val_accuracy"],
        "epochs_run": len(fit.history),
        "median_epoch_seconds": float(np.median([row["epoch_seconds"] for row in fit.history])),
        "train_seconds": last["elapsed_seconds"],
        "compile_seconds": trainer.compile_seconds,
        "parameter_count": trainer.model.count_params(),
        "stopped_early": float(fit.stopped_early),
    }


def _log_test(
    run: step_runs.StepRun, trainer: "Trainer", probabilities: np.ndarray
) -> dict[str, float]:
    """Log how the finished model does on the test set, which nothing else has looked at."""
    import tensorflow as tf

    from pipeline.report import image_figures

    prepared_data = trainer.prepared
    labels, names = np.asarray(prepared_data.y_test), prepared_data.class_names
    recognized = probabilities.argmax(axis=1)
    # scikit-learn's comes to the same, and takes a second to import.
    matrix = tf.math.confusion_matrix(labels, recognized, prepared_data.n_classes).numpy()
    class_accuracy = _class_accuracy(matrix)
    accuracy = float(matrix.trace() / matrix.sum())
    title = f"{trainer.variant.name}: test accuracy {accuracy:.1%}"
    run.log_figure(image_figures.confusion_matrix(matrix, names, title), "confusion_matrix.png")
    run.log_figure(image_figures.class_accuracy(class_accuracy, names), "class_accuracy.png")
    of_class = {
        name: None if math.isnan(value) else value  # JSON has no NaN
        for name, value in zip(names, class_accuracy.tolist(), strict=True)
    }
    run.log_dict(of_class, "class_accuracy.json")
    return {
        "test_loss": negative_log_likelihood(probabilities, labels),
        "test_accuracy": accuracy,
    }


def _class_accuracy(matrix: np.ndarray) -> np.ndarray:
    """The share of each class that is recognized, by rows; NaN for a class without images."""
    images = matrix.sum(axis=1)
    return np.where(images > 0, matrix.diagonal() / np.maximum(images, 1), np.nan)


def _log_learning_curve(run: step_runs.StepRun, wanted: TrainSettings, fit: "Fit") -> None:
    from pipeline.report import run_figures

    curve = pd.DataFrame(fit.history)
    curve.insert(0, "epoch", range(1, len(curve) + 1))
    run.log_figure(
        run_figures.learning_curve(curve, fit.best_epoch, wanted.name), "learning_curve.png"
    )


def _log_model(
    run: step_runs.StepRun, trainer: "Trainer", wanted: TrainSettings, model: "keras.Model"
) -> None:
    from pipeline.report import run_figures

    statistics = {
        "at initialisation": trainer.activation_statistics(seed=wanted.seed),
        "after training": trainer.activation_statistics(),
    }
    run.log_dict(
        {
            when: {"mean": means.tolist(), "standard_deviation": deviations.tolist()}
            for when, (means, deviations) in statistics.items()
        },
        "activations.json",
    )
    run.log_figure(
        run_figures.activation_statistics(
            statistics, f"{wanted.variant.name}: activations by layer"
        ),
        "activations.png",
    )
    lines: list[str] = []
    model.summary(print_fn=lines.append, line_length=100)
    run.log_text("\n".join(lines), "model_summary.txt")
    run.log_model(model, example=np.asarray(trainer.prepared.x_test[:2]))


def _set_note(
    run: step_runs.StepRun,
    wanted: TrainSettings,
    data: Prepared,
    rate: float,
    metrics: Mapping[str, float],
) -> None:
    variant = wanted.variant
    mc = metrics.get("mc_accuracy", math.nan)
    run.set_note(
        f"**{variant.name}** on {data.dataset}, seed {wanted.seed}: {variant.description}.\n\n"
        f"| | |\n|---|---|\n"
        f"| validation accuracy | {metrics['judged_val_accuracy']:.2%} "
        f"(epoch {metrics['judged_epoch']:.0f} of {metrics['epochs_run']:.0f}) |\n"
        f"| test accuracy | {metrics['test_accuracy']:.2%} |\n"
        + (f"| MC-Dropout test accuracy | {mc:.2%} |\n" if math.isfinite(mc) else "")
        + f"| seconds per epoch | {metrics['median_epoch_seconds']:.2f} |\n"
        f"| learning rate | {rate:.3g} |\n{best_trial.note_row(run)}\n"
        f"Run again: `{options.mlflow_run('train', _to_run_again(wanted, data, rate))}`"
    )


def _to_run_again(wanted: TrainSettings, data: Prepared, rate: float) -> dict[str, object]:
    """The parameters that give exactly this run, without a search."""
    variant = wanted.variant
    dropout = {"dropout_rate": variant.dropout_rate, "dropout_layers": variant.dropout_layers}
    return {
        "variant": variant.name,
        "learning_rate": repr(rate),
        "epochs": variant.epochs,
        "patience": variant.patience or "none",
        "batch_size": variant.batch_size,
        "seed": wanted.seed,
        **(dropout if variant.dropout else {}),
        "mc_samples": wanted.mc_samples,
        **data.parameters,
        "reuse": "never",
    }


if __name__ == "__main__":
    cli.run(train)
