"""What runs predicted, as they logged it: class probabilities on the test and validation images.

Anybody may have changed these files since. One that does not come to the accuracy that its run
logged is left out, and that is said; with it the labels are checked, which are read alone.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.base import InputError, progress
from pipeline.comparing import artifacts
from pipeline.data.splits import Labels
from pipeline.tracking import client, metrics
from pipeline.uncertainty import calibration
from pipeline.work.variant_step import logged_labels

COLUMNS = ["variant", "model", "seeds", "accuracy", "nll", "ece"]
# What a run logs as `predictions/<name>.npy`: on which split, and the accuracy that it comes to.
LOGGED = {
    "test": ("test", "test_accuracy"),
    "validation": ("val", "best_val_accuracy"),
    "mc_test": ("test", "mc_accuracy"),
}
LEAST = 2.0**-25  # a probability that is less is 0 in half precision

Probabilities = npt.NDArray[np.float16]  # of shape (n, classes)


@dataclass(frozen=True, eq=False)
class Predictions:
    """What runs on the same data predicted for the same images; those that logged it, by id."""

    labels: Labels
    probabilities: Mapping[str, Probabilities]

    @property
    def correct(self) -> dict[str, npt.NDArray[np.bool_]]:
        """Which of the images each run has right, of shape (n,)."""
        return {
            run_id: of.argmax(axis=1) == self.labels for run_id, of in self.probabilities.items()
        }


def read(runs: Sequence[client.Run], name: str) -> Predictions:
    """What some runs on the same data logged under a name of `LOGGED`."""
    path, (split, metric) = f"predictions/{name}.npy", LOGGED[name]
    nothing = Predictions(np.zeros(0, np.int32), {})
    found = []
    for run in runs:
        of = artifacts.read(run.info.run_id, path, _probabilities, of=run.info.run_name)
        found += [] if of is None else [(run, of)]
    if not found:
        return nothing
    tags = found[0][0].data.tags
    try:
        labels, n_classes = logged_labels(tags["prepare_run"], tags["data_fingerprint"], split)
    except InputError as error:
        progress.update(message=f"{path} of all runs is left out, for want of labels: {error}")
        return nothing
    kept = {}
    for run, of in found:
        wrong = _mismatch(of, labels, n_classes, metrics.of_run(run).get(metric, np.nan))
        if wrong:
            progress.update(message=artifacts.LEFT_OUT.format(path, run.info.run_name, wrong))
        else:
            kept[run.info.run_id] = of
    return Predictions(labels, kept)


def _probabilities(content: bytes) -> Probabilities:
    found = np.load(io.BytesIO(content), allow_pickle=False)
    if found.dtype != np.float16 or found.ndim != 2:
        raise ValueError(f"{found.dtype} of shape {found.shape}")
    exact = found.astype(np.float32)
    # Rounding changes each by a thousandth of it at most; a NaN is not close to anything.
    if (exact < 0).any() or not np.allclose(exact.sum(axis=1), 1, rtol=0, atol=2e-3):
        raise ValueError("no probabilities")
    return found


def _mismatch(of: Probabilities, labels: Labels, n_classes: int, accuracy: float) -> str:
    """What speaks against these being the run's, and the labels those of its data."""
    if of.shape != (expected := (len(labels), n_classes)):
        return f"it is of shape {of.shape}, not {expected}"
    right, logged = int((of.argmax(axis=1) == labels).sum()), accuracy * len(labels)
    # One image: that on validation images is from another program, whose last digit may differ.
    if abs(right - logged) < 1.5:
        return ""
    return f"it has {right:,} of {len(labels):,} images right, and its run logged {logged:,.0f}"


def ensembles(runs: pd.DataFrame, test: Predictions, mc_test: Predictions) -> pd.DataFrame:
    """The mean of the probabilities of a variant's seeds, beside its seeds one by one.

    Args:
        runs: with the columns run_id and variant.
        test, mc_test: what they predicted; without and, where there is dropout, with MC Dropout.

    Returns:
        The columns `COLUMNS`: of one seed's model the mean over the seeds, then, of several, of
        their ensemble; the same with MC Dropout.
    """
    rows = []
    for variant, of_variant in runs.groupby("variant", sort=False):
        for suffix, found in {"": test, " with MC Dropout": mc_test}.items():
            known = found.probabilities
            of = [known[one].astype(np.float32) for one in of_variant["run_id"] if one in known]
            for model, figures in _single_and_ensemble(of, found.labels):
                rows.append([variant, model + suffix, len(of), *figures])
    return pd.DataFrame(rows, columns=COLUMNS)


def _single_and_ensemble(
    of: Sequence[npt.NDArray[np.float32]], labels: Labels
) -> Iterator[tuple[str, Sequence[float]]]:
    if of:
        yield "one seed", np.mean([_figures(one, labels) for one in of], axis=0).tolist()
    if len(of) > 1:
        yield "ensemble", _figures(np.mean(of, axis=0), labels)


def _figures(of: npt.NDArray[np.float32], labels: Labels) -> tuple[float, float, float]:
    """Accuracy, negative log-likelihood and expected calibration error."""
    return (
        float((of.argmax(axis=1) == labels).mean()),
        calibration.negative_log_likelihood(np.maximum(of, LEAST), labels),
        calibration.expected_calibration_error(of, labels),
    )
