"""The work of `train`: one architecture variant, trained, judged and logged."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from pipeline.base import progress
from pipeline.comparisons import Variant
from pipeline.data.splits import Splits
from pipeline.parameters import Training
from pipeline.report.first_losses import smoothed
from pipeline.steps.resuming import checkpoints_of
from pipeline.tracking import client
from pipeline.tracking.outages import patiently
from pipeline.tracking.runs import StepRun
from pipeline.training.runtime import import_tensorflow
from pipeline.uncertainty.calibration import in_half_precision, negative_log_likelihood
from pipeline.work.inference import inference_microseconds
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
    search: SearchStep | None  # None: the learning rate is given, or nothing is trained

    @property
    def name(self) -> str:
        return f"{super().name} seed {self.seed}"

    def parameters(self) -> dict[str, Any]:
        return {**super().parameters(), "seed": self.seed}

    def after(self) -> Sequence[VariantStep]:
        return (*super().after(), *filter(None, [self.search]))

    def upstream(self) -> Mapping[str, str]:
        searched = {"search": self.search.key} if self.search else {}
        return {**super().upstream(), **searched}

    def tags(self) -> Mapping[str, Any]:
        return {**super().tags(), "replicates_key": self.replicates_key}

    def work(self, run: StepRun, after: Sequence[client.Run]) -> None:
        rate = self.variant.learning_rate or 0.0
        if self.search:
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

    fit = trainer.fit_as_declared(
        learning_rate=rate,
        seed=step.seed,
        on_epoch=on_epoch,
        checkpoints=checkpoints_of(run.run_id),
        source=source_model(step, run, after),
    )
    run.flush()
    metrics = _log_results(run, step, trainer, fit)
    run.set_tags({"diverged": fit.diverged} if fit.diverged else {})
    opened = client.get_run(run.run_id)
    run.set_note(training_note(step, opened, metrics, seed=step.seed, rate=rate))
    text = f"test accuracy {metrics['test_accuracy']:.1%} (epoch {fit.best_epoch})"
    if fit.history:
        text += f", {metrics['median_epoch_seconds']:.2f} s/epoch"
    progress.update(step=step.name, state="finished", text=text)


def _log_results(run: StepRun, step: TrainStep, trainer: "Trainer", fit: "Fit") -> dict[str, float]:
    """Log what the fit came to, on the test set too; returns the metrics."""
    from pipeline.training.pruning import sparsity

    splits = trainer.splits
    probabilities, of_val = map(trainer.predict, (splits.x_test, splits.x_val))
    metrics = _fit_metrics(fit, trainer) | _best_metrics(fit, step.variant, splits, of_val)
    metrics |= sparsity(trainer.model)
    metrics |= log_test(run, step.variant, splits, probabilities)
    metrics["best_train_accuracy"] = trainer.training_accuracy(step.seed)
    gap = metrics["best_train_accuracy"] - metrics["test_accuracy"]
    metrics["generalization_gap"] = gap
    metrics |= _log_layers(run, step, trainer)
    model = trainer.trained_model()
    metrics["inference_microseconds"] = inference_microseconds(model, splits.x_test)
    run.log_metrics(metrics)
    for name, of in {"test": probabilities, "validation": of_val}.items():
        run.log_array(in_half_precision(of), f"predictions/{name}.npy")
    _log_curves(run, step, fit)
    _log_model(run, trainer, model)
    if step.variant.dropout_rate > 0:
        metrics |= log_mc_dropout(
            run,
            model,
            splits,
            name=step.name,
            deterministic=probabilities,
            samples=step.asked.mc_samples,
            seed=step.seed,
            color=step.variant.color,
        )
    return metrics


def _fit_metrics(fit: "Fit", trainer: "Trainer") -> dict[str, float]:
    times = ("epoch_seconds", "epoch_cpu_seconds") if fit.history else ()
    first = np.array(fit.first_losses)
    metrics = {"highest_first_loss": smoothed(first).max()} if first.size else {}
    metrics |= {
        f"median_{name}": float(np.median([row[name] for row in fit.history])) for name in times
    }
    return metrics | {
        "best_epoch": fit.best_epoch,
        "epochs_run": len(fit.history),
        "train_seconds": fit.history[-1]["elapsed_seconds"] if fit.history else 0.0,
        "compile_seconds": trainer.compile_seconds,
        "parameter_count": trainer.model.count_params(),
        "stopped_early": float(fit.stopped_early),
        "diverged": float(bool(fit.diverged)),
    }


def _best_metrics(
    fit: "Fit", variant: Variant, splits: Splits, probabilities: np.ndarray
) -> dict[str, float]:
    """What the weights that were kept come to on the validation images, which it predicted."""
    if fit.best_epoch and variant.validated_on == "validation":
        best = fit.history[fit.best_epoch - 1]
        return {f"best_{name}": best[name] for name in ("val_accuracy", "val_loss")}
    labels = np.asarray(splits.y_val)
    return {
        "best_val_accuracy": float((probabilities.argmax(axis=1) == labels).mean()),
        "best_val_loss": negative_log_likelihood(probabilities, labels),
    }


def _log_curves(run: StepRun, step: TrainStep, fit: "Fit") -> None:
    """Log the losses of the first epoch, if one was begun, and a figure of all epochs, if any."""
    from pipeline.report import run_figures

    if fit.first_losses:
        losses = np.array(fit.first_losses, np.float32)
        run.log_array(losses, "first_epoch_losses.npy")
        figure = run_figures.first_losses(losses, step.name, step.variant.color)
        run.log_figure(figure, "first_epoch_losses.png")
    if fit.history:
        columns = {"train_loss": "loss", "train_accuracy": "accuracy"}
        curve = pd.DataFrame(fit.history).rename(columns=columns)
        curve.insert(0, "epoch", range(1, len(curve) + 1))
        figure = run_figures.learning_curve(curve, fit.best_epoch, step.name, step.variant.color)
        run.log_figure(figure, "learning_curve.png")


def _log_layers(run: StepRun, step: TrainStep, trainer: "Trainer") -> dict[str, float]:
    """Log statistics of the layers, before training and after; returns the network's metrics."""
    from pipeline.report import run_figures
    from pipeline.training.layer_statistics import of_network

    layers = {
        "at initialisation": trainer.layer_statistics(seed=step.seed),
        "after training": trainer.layer_statistics(),
    }
    run.log_dict({moment: for_json(of) for moment, of in layers.items()}, "layers.json")
    title = f"{step.variant.name}: activations by layer"
    figure = run_figures.layer_statistics(layers, title, step.variant.color)
    run.log_figure(figure, "activations.png")
    return {
        **of_network(layers["after training"]),
        "distance_from_initial_weights": trainer.distance_from_initial_weights(step.seed),
    }


def for_json(layers: Mapping[str, Sequence[float]]) -> dict[str, list[float | None]]:
    """Statistics of layers for JSON, which has no number that is not finite: null."""
    return {
        name: [one if math.isfinite(one) else None for one in of] for name, of in layers.items()
    }


def _log_model(run: StepRun, trainer: "Trainer", model: "keras.Model") -> None:
    from pipeline.training.models import summary
    from pipeline.uncertainty import logged_models

    run.log_text(summary(model), "model_summary.txt")
    example = np.asarray(trainer.splits.x_test[:2])
    patiently(logged_models.log, model, example=example, run_id=run.run_id)
    run.set_tags({WEIGHTS: weights_fingerprint(model)})
