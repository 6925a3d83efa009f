"""The work of `mc_dropout`: MC Dropout on a trained model, logged onto its run."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.base import InputError, markdown, progress
from pipeline.comparisons.colors import GREY
from pipeline.data.splits import Splits
from pipeline.steps import running
from pipeline.steps.step import recorded_settings, resolved_parameters
from pipeline.tracking import addresses, client
from pipeline.tracking.runs import StepRun
from pipeline.training.runtime import import_tensorflow
from pipeline.uncertainty import calibration, sampling
from pipeline.work.inference import microseconds
from pipeline.work.trained_model import trained_model
from pipeline.work.variant_step import splits_of

if TYPE_CHECKING:
    import keras

MOST_UNCERTAIN = 12  # images
FEW = (1, 10)  # samples that are enough where predictions must be fast


def add_mc_dropout(run_id: str, samples: int) -> None:
    """MC Dropout on the test set by a run's model, `samples` predictions per image, logged onto it.

    Raises:
        InputError: if there is no such finished training run, or its variant has no dropout.
    """
    trained = client.get_run(run_id)
    _check_trained_with_dropout(trained)
    name, tags = trained.info.run_name, trained.data.tags
    parameters = {"run_id": run_id, "mc_samples": samples}
    with running.step_run("mc_dropout", parameters, name=f"mc_dropout {name}") as run:
        address = addresses.run_page(trained.info.experiment_id, run_id)[1:]
        run.set_note(f"MC Dropout, logged onto the run [{markdown.escaped(name)}]({address}).")
        splits = splits_of(trained)
        import_tensorflow()
        model = trained_model(trained, splits)
        log_mc_dropout(
            StepRun(run_id, trained.info.experiment_id),
            model,
            splits,
            name=name,
            deterministic=model.predict(splits.x_test, batch_size=1000, verbose=0),
            samples=samples,
            seed=int(resolved_parameters(trained)["seed"]),
            color=recorded_settings(tags)[0].get("color") or GREY,
        )


def _check_trained_with_dropout(run: client.Run) -> None:
    run_id, status, tags = run.info.run_id, run.info.status, run.data.tags
    if tags.get("step") != "train" or status != "FINISHED":
        expected = "a finished training run"
        received = f"{run_id}, a {tags.get('step', 'foreign')} run that is {status}"
        action = "Its runs are named 'train <variant> seed <seed>' in `mlflow ui`."
        raise InputError("run_id", expected=expected, received=received, action=action)
    if float(resolved_parameters(run).get("dropout_rate", 0)) == 0:
        expected = "a run of a variant with dropout"
        received = f"{run_id}, a run of variant '{tags.get('variant')}' without dropout"
        action = "Train alpha_dropout or one_cycle first."
        raise InputError("run_id", expected=expected, received=received, action=action)


def log_mc_dropout(
    run: StepRun,
    model: "keras.Model",
    splits: Splits,
    *,
    name: str,
    deterministic: np.ndarray,
    samples: int,
    seed: int,
    color: str,
) -> dict[str, float]:
    """Log MC Dropout on the test set, also as a record to draw figures by; returns the metrics.

    Args:
        run, model, splits, name: of the training.
        deterministic: float32 of shape (n, classes), its probabilities on the test set.
        samples: predictions averaged per image.
        seed: decides the dropout masks.
        color: of its variant.
    """
    labels = np.asarray(splits.y_test)
    drawn = sampling.mc_probabilities(model, splits.x_test, samples=samples, seed=seed)
    mean = drawn.mean(axis=0, dtype=np.float64)
    metrics = calibration.mc_summary(drawn, deterministic, labels)
    run.log_metrics({**metrics, "mc_samples": samples})
    run.log_array(calibration.in_half_precision(mean), "predictions/mc_test.npy")
    bins = {
        model_name: dataclasses.astuple(calibration.calibration_bins(predicted, labels))
        for model_name, predicted in {"deterministic": deterministic, "MC Dropout": mean}.items()
    }
    by_samples = calibration.accuracy_by_samples(drawn, labels)
    plain_accuracy = metrics["mc_accuracy"] - metrics["mc_gain"]
    _log_figures(run, bins, by_samples, plain_accuracy, color)
    record = {
        "deterministic_accuracy": plain_accuracy,
        "accuracy_by_samples": by_samples.tolist(),
        "calibration": {model_name: _lists(*arrays) for model_name, arrays in bins.items()},
        "most_uncertain": _log_most_uncertain(run, splits, mean),
        "by_number": _log_by_number(run, model, splits.x_test, drawn, labels, seed),
    }
    run.log_dict(record, "mc_dropout/record.json")
    right, mc_right = (found.argmax(axis=1) == labels for found in (deterministic, mean))
    p_value = _log_mcnemar(run, metrics, right, mc_right)
    of_mc = (
        f"{metrics['mc_accuracy']:.1%} ({100 * metrics['mc_gain']:+.1f} points, p = {p_value:.2g})"
    )
    progress.update(message=f"{name}: MC Dropout {of_mc}")
    return metrics


def _log_by_number(
    run: StepRun,
    model: "keras.Model",
    images: np.ndarray,
    drawn: np.ndarray,
    labels: np.ndarray,
    seed: int,
) -> list[dict[str, float]]:
    """Log what the first few samples, and all, come to and take; returns it, the fewest first."""
    sampler = sampling.sampler(model, seed=seed)
    found = []
    for number in sorted({one for one in (*FEW, len(drawn)) if one <= len(drawn)}):
        mean = drawn[:number].mean(axis=0, dtype=np.float64)
        of_number = {
            "microseconds": microseconds(partial(sampler, samples=number), images),
            "accuracy": float((mean.argmax(axis=1) == labels).mean()),
            "nll": calibration.negative_log_likelihood(mean, labels),
            "ece": calibration.expected_calibration_error(mean, labels),
        }
        run.log_metrics({f"mc_{name}_{number}": value for name, value in of_number.items()})
        found.append({"samples": number, **of_number})
    return found


def _log_figures(
    run: StepRun,
    bins: Mapping[str, Any],
    by_samples: np.ndarray,
    plain_accuracy: float,
    color: str,
) -> None:
    from pipeline.report import run_figures

    figure = run_figures.accuracy_by_samples(by_samples, plain_accuracy, color)
    run.log_figure(run_figures.reliability_diagram(bins, color), "mc_dropout/reliability.png")
    run.log_figure(figure, "mc_dropout/accuracy_by_samples.png")


def _log_mcnemar(
    run: StepRun, metrics: Mapping[str, float], right: np.ndarray, mc_right: np.ndarray
) -> float:
    """Log whether MC Dropout and the deterministic model differ beyond chance; the p-value."""
    test = calibration.mcnemar_exact(right, mc_right)
    verdict = "a real difference" if test.p_value < 0.05 else "no more than chance may do"
    sentence = (
        f"MC Dropout: test accuracy {metrics['mc_accuracy']:.4f} ({metrics['mc_gain']:+.4f}, "
        f"McNemar p = {test.p_value:.3g}: {verdict})"
    )
    only = f"Only the deterministic model right: {test.only_a} images; only MC Dropout"
    run.log_text(f"{sentence}\n{only}: {test.only_b}.\n", "mc_dropout/mcnemar.txt")
    return test.p_value


def _lists(confidence: np.ndarray, accuracy: np.ndarray, count: np.ndarray) -> dict[str, list]:
    """The bins of a reliability diagram for JSON, which has no NaN: an empty bin is null."""
    shares = {"confidence": confidence, "accuracy": accuracy}
    known = {
        name: np.where(count > 0, share, np.array(None)).tolist() for name, share in shares.items()
    }
    return {**known, "count": count.tolist()}


def _log_most_uncertain(run: StepRun, splits: Splits, mean: np.ndarray) -> list[dict[str, Any]]:
    """Log the figure of the most uncertain images; returns them, the most uncertain first."""
    from pipeline.report import run_figures, thumbnails

    entropy = sampling.predictive_entropy(mean)
    shown = np.sort(np.argsort(entropy)[::-1][:MOST_UNCERTAIN])  # in order, to read them fast
    images, labels = np.asarray(splits.x_test[shown]), np.asarray(splits.y_test[shown])
    names, mean, entropy = splits.class_names, mean[shown], entropy[shown]
    figure = run_figures.uncertain_images(images, labels, mean, entropy, names)
    run.log_figure(figure, "mc_dropout/most_uncertain_images.png")
    guesses = np.argsort(-mean, axis=1, kind="stable")[:, :2]
    return [
        {
            "true": names[labels[place]],
            "guesses": [[names[guess], float(mean[place, guess])] for guess in guesses[place]],
            "entropy": float(entropy[place]),
            "image": thumbnails.data_uri(images[place]),
        }
        for place in np.argsort(-entropy, kind="stable")
    ]
