"""Artifacts that a comparison shows, from the bytes that runs have logged.

Anybody may have changed these since. What does not have the shape that is drawn raises, whatever it
may be: nothing is decided by it.
"""

import io
import json
from typing import Any

import numpy as np
import pandas as pd

_BINS = ("confidence", "accuracy", "count")


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
