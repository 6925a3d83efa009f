"""Artifacts that a comparison shows, from the bytes that runs have logged.

Anybody may have changed these since. What does not have the shape that is drawn raises, whatever it
may be: it is left out.
"""

import io
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

from pipeline.base import progress
from pipeline.tracking import client
from pipeline.tracking.refusals import reason

LEFT_OUT = "{} of {} is left out, as it is not what was logged: {}."
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
    """The trials of a search, as `comparison_figures.search_panels` takes them."""
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
    """The curve through the trials of a search, as `comparison_figures.search_panels` takes it."""
    table = pd.read_csv(io.BytesIO(content)).astype(float)
    table = table[["learning_rate", "val_loss"]]
    if not len(table) or not np.isfinite(table).all(axis=None):
        raise ValueError("a curve without points")
    return table


def activations(content: bytes) -> dict[str, dict[str, list[float]]]:
    """Mean and standard deviation by hidden layer, at some moments of a training."""
    return {
        moment: {name: [float(one) for one in of[name]] for name in ("mean", "standard_deviation")}
        for moment, of in json.loads(content).items()
    }


def uncertainty(content: bytes) -> dict[str, Any]:
    """What `mc_dropout.log_mc_dropout` recorded."""
    record = json.loads(content)
    return {
        "deterministic_accuracy": float(record["deterministic_accuracy"]),
        "accuracy_by_samples": [float(one) for one in record["accuracy_by_samples"]],
        "calibration": {
            model: dict(zip(_BINS, np.array([of[name] for name in _BINS], float), strict=True))
            for model, of in record["calibration"].items()
        },
        "most_uncertain": [_image(one) for one in record["most_uncertain"]],
    }


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
