"""The `python_function` of a logged model with dropout, logged with it: it can do MC Dropout."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..base.errors import InputError
from .sampling import mc_probabilities, mutual_information, predictive_entropy

if TYPE_CHECKING:
    import keras

PARAMS: Mapping[str, int] = {"mc_samples": 0, "seed": 1}  # taken besides images, with the defaults
MAX_MC_SAMPLES = 1000  # a served model answers anyone: what one request can cost has a bound


class UncertaintyModel:
    """What `mlflow.pyfunc.load_model` wraps: a model with dropout, from images to probabilities."""

    def __init__(self, model: "keras.Model"):
        self._model = model

    def predict(
        self, images: npt.NDArray[np.uint8], params: Mapping[str, Any] | None = None
    ) -> npt.NDArray[np.float32] | dict[str, npt.NDArray[Any]]:
        """Class probabilities, (n, classes), of raw images, (n, height, width, channels).

        As from Keras's `predict` where `mc_samples` is 0. Else, of as many predictions under masks
        that `seed` decides, the mean `probability`, its `entropy`, (n,), in nats, and the part of
        it that the masks cause, `mutual_information`, (n,).

        Raises:
            InputError: `mc_samples` or `seed` is out of range.
        """
        given = {**PARAMS, **(params or {})}
        samples = int(given["mc_samples"])
        if not 0 <= samples <= MAX_MC_SAMPLES:
            expected = f"an integer from 0 to {MAX_MC_SAMPLES}"
            action = "100 is usual; 0 predicts without MC Dropout."
            raise InputError("mc_samples", expected=expected, received=repr(samples), action=action)
        if samples == 0:
            return self._model.predict(images, verbose=0)
        sampled = mc_probabilities(self._model, images, samples=samples, seed=int(given["seed"]))
        mean = sampled.mean(axis=0, dtype=np.float64)
        return {
            "probability": mean.astype(np.float32),
            "entropy": predictive_entropy(mean),
            "mutual_information": mutual_information(sampled),
        }


def _load_pyfunc(path: str) -> UncertaintyModel:
    """The entry point that MLflow calls to load the `python_function` flavour."""
    import keras

    file = Path(path, "model.keras")
    # Safe mode is Keras's default: said here since a model may come from anywhere.
    return UncertaintyModel(keras.models.load_model(file, compile=False, safe_mode=True))
