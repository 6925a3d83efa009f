"""The work of `train`: one architecture variant, trained, judged and logged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from pipeline.base import progress
from pipeline.parameters import Training
from pipeline.steps.resuming import checkpoints_of
from pipeline.tracking import client
from pipeline.tracking.outages import patiently
from pipeline.tracking.runs import StepRun
from pipeline.training.runtime import import_tensorflow
from pipeline.uncertainty.calibration import in_half_precision
from pipeline.work.mc_dropout import log_mc_dropout
from pipeline.work.search import SearchStep
from pipeline.work.source import source_model
from pipeline.work.tested import log_test
from pipeline.work.trained_model import WEIGHTS, WEIGHTS_FILE, weights_fingerprint
from pipeline.work.training_note import training_note
from pipeline.work.variant_step import VariantStep

if TYPE_CHECKING:
    import keras

    from pipeline.training.trainer import Fit, Trainer


@dataclass(frozen=True, kw_only=True)
class TrainStep(VariantStep):
    """A training of a variant."""

    entry_point: ClassVar[str] = "train"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "keras", "numpy")
    group: ClassVar[type[Training]] = Training
    kept: ClassVar[tuple[str, ...]] = (WEIGHTS_FILE,)

    asked: Training
    seed: int  # decides weights, shuffling and dropout masks
    search: SearchStep  # finds the learning rate where none is given

    @property
    def name(self) -> str:
        return f"{super().name} seed {self.seed}"

    def parameters(self) -> dict[str, Any]:
        return {**super().parameters(), "seed": self.seed}

    def after(self) -> Sequence[VariantStep]:
        return (*super().after(), *(() if self.asked.learning_rate else (self.search,)))

    def upstream(self) -> Mapping[str, str]:
        searched = {} if self.asked.learning_rate else {"search": self.search.key}
        return {**super().upstream(), **searched}

    def tags(self) -> Mapping[str, Any]:
        return {**super().tags(), "replicates_key": self.replicates_key}

    def work(self, run: StepRun, after: Sequence[client.Run]) -> None:
        rate = self.asked.learning_rate
        if rate is None:
            search = after[-1]
            rate = float(search.data.params["best_learning_rate"])
            run.set_tags({"search_run": search.info.run_id})
        chosen = {"learning_rate": repr(rate), "batch_size": self.variant.batch_size}
        run.log_parameters({f"chosen_{name}": value for name, value in chosen.items()})
        _train(run, self, rate, after)


def _train(run: StepRun, step: TrainStep, rate: float, after: Sequence[client.Run]) -> None:
    import_tensorflow()
    from pipeline.training.trainer import shared_trainer

    variant = step.variant
    progress.update(step=step.name, text="preparing the model")
    trainer = shared_trainer(variant, step.splits)
    run.log_datasets(trainer.splits, location=step.data.location)

    def on_epoch(epoch: int, metrics: Mapping[str, float]) -> None:
        run.log_epoch(epoch, metrics)
        text = f"val_accuracy {metrics['val_accuracy']:.3f}"
        progress.update(step=step.name, done=epoch, total=variant.epochs, text=text)

    fit = trainer.fit(
        learning_rate=rate,
        epochs=variant.epochs,
        patience=variant.patience,
        seed=step.seed,
        on_epoch=on_epoch,
        checkpoints=checkpoints_of(run.run_id),
        source=source_model(step, run, after),
    )
    run.flush()
    metrics = _log_results(run, step, trainer, fit)
    opened = client.get_run(run.run_id)
    run.set_note(training_note(step, opened, metrics, seed=step.seed, rate=rate))
    text = f"test accuracy {metrics['test_accuracy']:.1%} (epoch {fit.best_epoch}), "
    text += f"{metrics['median_epoch_seconds']:.2f} s/epoch"
    progress.update(step=step.name, state="finished", text=text)


def _log_results(run: StepRun, step: TrainStep, trainer: "Trainer", fit: "Fit") -> dict[str, float]:
    """Log what the fit came to, on the test set too; returns the metrics."""
    from pipeline.report import run_figures

    probabilities = trainer.predict(trainer.splits.x_test)
    metrics = _fit_metrics(fit, trainer)
    metrics |= log_test(run, step.variant, trainer.splits, probabilities)
    metrics["best_train_accuracy"] = trainer.training_accuracy(step.seed)
    gap = metrics["best_train_accuracy"] - metrics["test_accuracy"]
    metrics["generalization_gap"] = gap
    metrics |= _log_layers(run, step, trainer)
    run.log_metrics(metrics)
    of_splits = {"test": probabilities, "validation": trainer.predict(trainer.splits.x_val)}
    for name, of in of_splits.items():
        run.log_array(in_half_precision(of), f"predictions/{name}.npy")
    columns = {"train_loss": "loss", "train_accuracy": "accuracy"}
    curve = pd.DataFrame(fit.history).rename(columns=columns)
    curve.insert(0, "epoch", range(1, len(curve) + 1))
    figure = run_figures.learning_curve(curve, fit.best_epoch, step.name, step.variant.color)
    run.log_figure(figure, "learning_curve.png")
    _log_model(run, trainer, model := trainer.trained_model())
    if step.variant.dropout_rate > 0:
        metrics |= log_mc_dropout(
            run,
            model,
            trainer.splits,
            name=step.name,
            deterministic=probabilities,
            samples=step.asked.mc_samples,
            seed=step.seed,
            color=step.variant.color,
        )
    return metrics


def _fit_metrics(fit: "Fit", trainer: "Trainer") -> dict[str, float]:
    best = fit.history[fit.best_epoch - 1]
    return {
        **{f"best_{name}": best[name] for name in ("val_accuracy", "val_loss")},
        "best_epoch": fit.best_epoch,
        "epochs_run": len(fit.history),
        **{
            f"median_{name}": float(np.median([row[name] for row in fit.history]))
            for name in ("epoch_seconds", "epoch_cpu_seconds")
        },
        "train_seconds": fit.history[-1]["elapsed_seconds"],
        "compile_seconds": trainer.compile_seconds,
        "parameter_count": trainer.model.count_params(),
        "stopped_early": float(fit.stopped_early),
    }


def _log_layers(run: StepRun, step: TrainStep, trainer: "Trainer") -> dict[str, float]:
    """Log statistics of the layers, before training and after; returns the network's metrics."""
    from pipeline.report import run_figures
    from pipeline.training.layer_statistics import of_network

    layers = {
        "at initialisation": trainer.layer_statistics(seed=step.seed),
        "after training": trainer.layer_statistics(),
    }
    run.log_dict(layers, "layers.json")
    title = f"{step.variant.name}: activations by layer"
    figure = run_figures.layer_statistics(layers, title, step.variant.color)
    run.log_figure(figure, "activations.png")
    return {
        **of_network(layers["after training"]),
        "distance_from_initial_weights": trainer.distance_from_initial_weights(step.seed),
    }


def _log_model(run: StepRun, trainer: "Trainer", model: "keras.Model") -> None:
    from pipeline.training.models import summary
    from pipeline.uncertainty import logged_models

    run.log_text(summary(model), "model_summary.txt")
    example = np.asarray(trainer.splits.x_test[:2])
    patiently(logged_models.log, model, example=example, run_id=run.run_id)
    run.set_tags({WEIGHTS: weights_fingerprint(model)})
