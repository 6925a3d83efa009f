"""Artifacts that a comparison shows, from the bytes that runs have logged.

Anybody may have changed these since. What does not have the shape that is drawn raises, whatever it
may be: it is left out.
"""

import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

from pipeline.base import progress
from pipeline.tracking import client
from pipeline.tracking.refusals import reason

LEFT_OUT = "{} of {} is left out, as it is not what was logged: {}."
SPREAD = "standard_deviation"
BY_NUMBER = ("samples", "microseconds", "accuracy", "ece")
_BINS = ("confidence", "accuracy", "count")
_Parsed = TypeVar("_Parsed")


def read(run_id: str, path: str, parse: Callable[[bytes], _Parsed], *, of: str) -> _Parsed | None:
    """What an artifact of a run, called that of something, has; None if damaged, which is said.

    None also without it, or where its store cannot be reached.
    """
    with suppress(OSError, MlflowException):
        if content := client.local_artifact(run_id, path).read_bytes():
            try:
                return parse(content)
            except Exception as error:  # whatever a damaged file raises
                said = f"{type(error).__name__}, {reason(error)}"
                progress.update(message=LEFT_OUT.format(path, of, said))
    return None


def trials(content: bytes) -> pd.DataFrame:
    """The trials of a search, as `search_figures.search_panels` takes them."""
    table = pd.read_csv(io.BytesIO(content))
    if "user_attrs_diverged" in table:
        table.loc[table["user_attrs_diverged"].notna(), "state"] = "DIVERGED"
    table = table.rename(columns={"params_learning_rate": "learning_rate"})
    # Of a pruned one not where it stopped, which is above all that were trained longer.
    table["value"] = table.get("expected_val_loss", table["value"])
    table = table.astype({"learning_rate": float, "value": float, "state": str})
    if table.loc[table["state"] == "COMPLETE", ["learning_rate", "value"]].isna().any(axis=None):
        raise ValueError("a completed trial without a learning rate or a value")
    return table


def rate_curve(content: bytes) -> pd.DataFrame:
    """The curve through the trials of a search, as `search_figures.search_panels` takes it."""
    table = pd.read_csv(io.BytesIO(content)).astype(float)
    table = table[["learning_rate", "val_loss"]]
    if not len(table) or not np.isfinite(table).all(axis=None):
        raise ValueError("a curve without points")
    return table


def layers(content: bytes) -> dict[str, dict[str, list[float]]]:
    """Statistics by hidden layer, at some moments of a training: mean, standard deviation, more."""
    found = {
        moment: {str(name): [*map(_number, values)] for name, values in of.items()}
        for moment, of in json.loads(content).items()
    }
    for of in found.values():
        numbers = {len(values) for values in of.values()}
        if len(numbers) != 1 or 0 in numbers or not {"mean", SPREAD} <= of.keys():
            raise ValueError("not the same statistics of every layer")
    return found


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)  # as JSON has no number that is not finite


def losses(content: bytes) -> np.ndarray:
    """Those of mini-batches, in their order."""
    found = np.load(io.BytesIO(content), allow_pickle=False)
    if found.ndim != 1 or not np.issubdtype(found.dtype, np.floating):
        raise ValueError(f"{found.dtype} of shape {found.shape}")
    return found


def uncertainty(content: bytes) -> dict[str, Any]:
    """What `mc_dropout.log_mc_dropout` recorded."""
    record = json.loads(content)
    if not record["accuracy_by_samples"]:
        raise ValueError("no accuracies")
    return {
        "deterministic_accuracy": float(record["deterministic_accuracy"]),
        "accuracy_by_samples": [float(one) for one in record["accuracy_by_samples"]],
        "calibration": {
            model: dict(zip(_BINS, np.array([of[name] for name in _BINS], float), strict=True))
            for model, of in record["calibration"].items()
        },
        "most_uncertain": [_image(one) for one in record["most_uncertain"]],
        # Records of earlier versions have none.
        "by_number": [
            {name: float(one[name]) for name in BY_NUMBER} for one in record.get("by_number", ())
        ],
    }


def mean_uncertainty(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What several records from `uncertainty` come to: mean accuracies, and bins put together.

    As far as all have samples, and as many bins.
    """
    samples = min(len(one["accuracy_by_samples"]) for one in records)
    accuracies = [one["accuracy_by_samples"][:samples] for one in records]
    calibrations = [one["calibration"] for one in records]
    models = [
        model
        for model, of in calibrations[0].items()
        if all(
            len(of["count"]) == len(one.get(model, {"count": ()})["count"]) for one in calibrations
        )
    ]
    return {
        "seeds": len(records),
        "deterministic_accuracy": float(
            np.mean([one["deterministic_accuracy"] for one in records])
        ),
        "accuracy_by_samples": np.mean(accuracies, axis=0).tolist(),
        "calibration": {model: _pooled([one[model] for one in calibrations]) for model in models},
        "by_number": _means([one["by_number"] for one in records]),
    }


def _means(records: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, float]]:
    """The means of what some records have by the number of samples; of numbers that all have."""
    rows = pd.DataFrame([row for of in records for row in of], columns=BY_NUMBER)
    by_number = rows.groupby("samples")
    means = by_number.mean()[by_number.size() == len(records)]
    return means.reset_index().to_dict("records")  # type: ignore[return-value]


def _pooled(bins: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The bins of a reliability diagram over the predictions of all models."""
    counts = np.stack([one["count"] for one in bins])
    total = counts.sum(axis=0)
    shares = {
        name: (np.nan_to_num([one[name] for one in bins]) * counts).sum(axis=0)
        for name in _BINS
        if name != "count"
    }
    filled = np.where(total > 0, total, np.nan)
    return {**{name: of / filled for name, of in shares.items()}, "count": total}


def _image(described: dict[str, Any]) -> dict[str, Any]:
    if not described["image"].startswith("data:image/png;base64,"):
        raise ValueError("an image that is not in the record itself")
    first, *others = ([str(name), float(share)] for name, share in described["guesses"])
    return {
        "true": str(described["true"]),
        "guesses": [first, *others],
        "entropy": float(described["entropy"]),
        "image": described["image"],
    }
