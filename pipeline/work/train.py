"""The work of `train`: one architecture variant, trained, judged and logged."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd

from pipeline.base import markdown, progress
from pipeline.parameters import Searching, Training, declared
from pipeline.steps.resuming import checkpoint_directory
from pipeline.steps.step import Step
from pipeline.tracking import client
from pipeline.tracking.outages import patiently
from pipeline.tracking.runs import StepRun
from pipeline.training.checkpoints import Checkpoints
from pipeline.training.runtime import import_tensorflow
from pipeline.uncertainty.calibration import in_half_precision, negative_log_likelihood
from pipeline.work.mc_dropout import log_mc_dropout
from pipeline.work.search import SearchStep
from pipeline.work.trained_model import WEIGHTS, WEIGHTS_FILE, weights_fingerprint
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

    def after(self) -> Sequence[Step]:
        return () if self.asked.learning_rate else (self.search,)

    def upstream(self) -> Mapping[str, str]:
        return {**super().upstream(), **{one.entry_point: one.key for one in self.after()}}

    def tags(self) -> Mapping[str, Any]:
        return {**super().tags(), "replicates_key": self.replicates_key}

    def work(self, run: StepRun, after: Sequence[client.Run]) -> None:
        checkpoints = Checkpoints(checkpoint_directory(run.run_id))
        rate = self.asked.learning_rate
        if rate is None:
            (search,) = after
            rate = float(search.data.params["best_learning_rate"])
            run.set_tags({"search_run": search.info.run_id})
        chosen = {"learning_rate": repr(rate), "batch_size": self.variant.batch_size}
        run.log_parameters({f"chosen_{name}": value for name, value in chosen.items()})
        _train(run, self, rate, checkpoints)


def _train(run: StepRun, step: TrainStep, rate: float, checkpoints: Checkpoints) -> None:
    import_tensorflow()
    from pipeline.training.trainer import shared_trainer

    variant = step.variant
    progress.update(step=step.name, text="preparing the model")
    trainer = shared_trainer(variant, step.data.splits)
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
        checkpoints=checkpoints,
    )
    run.flush()
    metrics = _log_results(run, step, trainer, fit)
    _set_note(run, step, rate, metrics)
    text = f"test accuracy {metrics['test_accuracy']:.1%} (epoch {fit.best_epoch}), "
    text += f"{metrics['median_epoch_seconds']:.2f} s/epoch"
    progress.update(step=step.name, state="finished", text=text)


def _log_results(run: StepRun, step: TrainStep, trainer: "Trainer", fit: "Fit") -> dict[str, float]:
    """Log what the fit came to, on the test set too; returns the metrics."""
    from pipeline.report import run_figures

    probabilities = trainer.predict(trainer.splits.x_test)
    metrics = _fit_metrics(fit, trainer) | _log_test(run, trainer, probabilities)
    run.log_metrics(metrics)
    of_splits = {"test": probabilities, "validation": trainer.predict(trainer.splits.x_val)}
    for name, of in of_splits.items():
        run.log_array(in_half_precision(of), f"predictions/{name}.npy")
    curve = pd.DataFrame(fit.history)
    curve.insert(0, "epoch", range(1, len(curve) + 1))
    figure = run_figures.learning_curve(curve, fit.best_epoch, step.name)
    run.log_figure(figure, "learning_curve.png")
    _log_model(run, trainer, step, model := trainer.trained_model())
    if step.variant.dropout_rate > 0:
        metrics |= log_mc_dropout(
            run,
            model,
            trainer.splits,
            name=step.name,
            deterministic=probabilities,
            samples=step.asked.mc_samples,
            seed=step.seed,
        )
    return metrics


def _fit_metrics(fit: "Fit", trainer: "Trainer") -> dict[str, float]:
    epochs = {"best": fit.best_epoch, "judged": fit.judged_epoch, "final": len(fit.history)}
    metrics = {
        f"{which}_{name}": fit.history[epoch - 1][name]
        for which, epoch in epochs.items()
        for name in ("val_loss", "val_accuracy")
    }
    return metrics | {
        "best_epoch": fit.best_epoch,
        "judged_epoch": fit.judged_epoch,
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


def _log_test(run: StepRun, trainer: "Trainer", probabilities: np.ndarray) -> dict[str, float]:
    """Log how the finished model does on the test set, which nothing else has looked at."""
    import tensorflow as tf

    from pipeline.report import run_figures

    splits = trainer.splits
    labels, names = np.asarray(splits.y_test), splits.class_names
    recognized = probabilities.argmax(axis=1)
    # scikit-learn's comes to the same, and takes a second to import.
    matrix = tf.math.confusion_matrix(labels, recognized, splits.n_classes).numpy()
    accuracy, of_class = float(matrix.trace() / matrix.sum()), class_accuracy(matrix)
    title = f"{trainer.variant.name}: test accuracy {accuracy:.1%}"
    run.log_figure(run_figures.confusion_matrix(matrix, names, title), "confusion_matrix.png")
    run.log_figure(run_figures.class_accuracy(of_class, names), "class_accuracy.png")
    known = (None if math.isnan(one) else one for one in of_class.tolist())  # JSON has no NaN
    run.log_dict(dict(zip(names, known, strict=True)), "class_accuracy.json")
    loss = negative_log_likelihood(probabilities, labels)
    return {"test_loss": loss, "test_accuracy": accuracy}


def class_accuracy(matrix: np.ndarray) -> np.ndarray:
    """The share of each class that is recognized, by rows; NaN for a class without images."""
    images = matrix.sum(axis=1)
    return np.where(images > 0, matrix.diagonal() / np.maximum(images, 1), np.nan)


def _log_model(run: StepRun, trainer: "Trainer", step: TrainStep, model: "keras.Model") -> None:
    from pipeline.report import run_figures
    from pipeline.uncertainty import logged_models

    statistics = {
        "at initialisation": trainer.activation_statistics(seed=step.seed),
        "after training": trainer.activation_statistics(),
    }
    listed = {
        when: {"mean": means.tolist(), "standard_deviation": deviations.tolist()}
        for when, (means, deviations) in statistics.items()
    }
    run.log_dict(listed, "activations.json")
    title = f"{step.variant.name}: activations by layer"
    run.log_figure(run_figures.activation_statistics(statistics, title), "activations.png")
    lines: list[str] = []
    model.summary(print_fn=lines.append, line_length=100)
    run.log_text("\n".join(lines), "model_summary.txt")
    example = np.asarray(trainer.splits.x_test[:2])
    patiently(logged_models.log, model, example=example, run_id=run.run_id)
    run.set_tags({WEIGHTS: weights_fingerprint(model)})


def _set_note(run: StepRun, step: TrainStep, rate: float, metrics: Mapping[str, float]) -> None:
    epoch = f"(epoch {metrics['judged_epoch']:.0f} of {metrics['epochs_run']:.0f})"
    rows = {"validation accuracy": f"{metrics['judged_val_accuracy']:.2%} {epoch}"}
    rows["test accuracy"] = f"{metrics['test_accuracy']:.2%}"
    if math.isfinite(mc := metrics.get("mc_accuracy", math.nan)):
        rows["MC-Dropout test accuracy"] = f"{mc:.2%}"
    rows["seconds per epoch"] = f"{metrics['median_epoch_seconds']:.2f}"
    rows["learning rate"] = f"{rate:.3g}"
    table = "".join(f"| {name} | {value} |\n" for name, value in rows.items())
    # What gives exactly this run, without a search and its parameters.
    ours = declared(Training)
    unused = {one.name: one.default for one in fields(Searching) if one.name not in ours}
    again = step.again(**unused, seed=step.seed, learning_rate=rate)
    dataset = markdown.escaped(step.data.dataset)
    note = f"**{step.variant.name}** on {dataset}, seed {step.seed}: "
    note += f"{step.variant.description}.\n\n| | |\n|---|---|\n{table}\n"
    note += f"Run again: {markdown.code(again)}"
    run.set_note(note)
