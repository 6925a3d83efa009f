"""An MLflow flavour: a Keras model with dropout whose `python_function` can do MC Dropout.

The logged model keeps MLflow's `tensorflow` flavour. Its `python_function` takes two parameters
more: with `mc_samples` above 0 it answers with mean probabilities and how uncertain they are.
No pickle is written: the weights are a `.keras` file, the code is source. That source is logged
with the model, under a package name of its own, so that the model loads without this project and
goes on working as it did when it was logged.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.calibration import mutual_information, predictive_entropy
from pipeline.errors import InputError
from pipeline.uncertainty import mc_probabilities

if TYPE_CHECKING:
    import keras
    from mlflow.models import Model

# What `predict` takes besides images, with the defaults.
PARAMS: Mapping[str, int] = {"mc_samples": 0, "seed": 1}
# A served model answers anyone who reaches it: what one request can cost has a bound.
MAX_MC_SAMPLES = 1000
_LOGGED_MODULES = ("errors", "calibration", "uncertainty", "uncertainty_model")


class UncertaintyModel:
    """What `mlflow.pyfunc.load_model` wraps.

    Args:
        model: a Keras model with dropout, from uint8 images to probabilities.
    """

    def __init__(self, model: "keras.Model"):
        self._model = model

    def predict(
        self, images: npt.NDArray[np.uint8], params: Mapping[str, Any] | None = None
    ) -> npt.NDArray[np.float32] | dict[str, npt.NDArray[Any]]:
        """Class probabilities; with MC Dropout, their mean and its uncertainty.

        Args:
            images: raw, of shape (n, height, width, channels).
            params: `mc_samples`, how many random predictions are averaged per image, by default 0,
                for one prediction without dropout; `seed`, which decides the dropout masks.

        Returns:
            Float32 of shape (n, classes), as from Keras's `predict`, where `mc_samples` is 0. Else
            a dictionary: `probability`, the mean over the samples, of shape (n, classes);
            `entropy` of that mean, in nats, of shape (n,); and `mutual_information`, the part of
            it that the masks cause (epistemic), in nats, of shape (n,).

        Raises:
            InputError: `mc_samples` or `seed` is out of range.

        Source: Gal and Ghahramani (2016), "Dropout as a Bayesian Approximation"; Houlsby et al.
        (2011), "Bayesian Active Learning for Classification and Preference Learning".
        """
        given = {**PARAMS, **(params or {})}
        samples = int(given["mc_samples"])
        if not 0 <= samples <= MAX_MC_SAMPLES:
            raise InputError(
                "mc_samples",
                expected=f"an integer from 0 to {MAX_MC_SAMPLES}",
                received=repr(samples),
                action="100 is usual; 0 predicts without MC Dropout.",
            )
        if samples == 0:
            return self._model.predict(images, verbose=0)
        sampled = mc_probabilities(self._model, images, samples=samples, seed=int(given["seed"]))
        mean = sampled.mean(axis=0, dtype=np.float64)
        return {
            "probability": mean.astype(np.float32),
            "entropy": predictive_entropy(mean),
            "mutual_information": mutual_information(sampled),
        }


def pip_requirements() -> list[str]:
    """What the logged model needs, pinned to the versions in force."""
    return [f"{name}=={version(name)}" for name in ("tensorflow", "keras", "numpy", "scipy")]


def save_model(
    path: str,
    mlflow_model: "Model",
    model: "keras.Model",
    validate_serving_input: bool = True,
    **arguments: Any,
) -> None:
    """Save a Keras model with this flavour; called by `mlflow.models.Model.log`.

    Args:
        path: directory to write.
        mlflow_model: metadata to complete.
        model: the model.
        validate_serving_input: read by `Model.log` alone, which hands on all it is given.
        arguments: for `mlflow.tensorflow.save_model`.
    """
    import mlflow.tensorflow

    del validate_serving_input
    with tempfile.TemporaryDirectory() as directory:
        package = _logged_package(Path(directory))
        mlflow.tensorflow.save_model(
            model, path, mlflow_model=mlflow_model, code_paths=[str(package)], **arguments
        )
    served = mlflow_model.flavors["python_function"]
    served["loader_module"] = f"{package.name}.{Path(__file__).stem}"
    mlflow_model.flavors["tensorflow"]["code"] = None  # The Keras model needs none.
    mlflow_model.save(str(Path(path, "MLmodel")))


def _logged_package(directory: Path) -> Path:
    """Write a package with the modules that serving needs; it is named after their content.

    Under the name of this package, a model's code and the code that loads it would stand in for
    one another; with one name for all, two models' code would.
    """
    sources = {
        name: Path(__file__).with_name(f"{name}.py").read_text("utf-8") for name in _LOGGED_MODULES
    }
    digest = hashlib.sha256("".join(sources.values()).encode()).hexdigest()[:12]
    package = directory / f"uncertainty_{digest}"
    package.mkdir()
    (package / "__init__.py").touch()
    for name, source in sources.items():
        renamed = source.replace(f"from {__package__}.", f"from {package.name}.")
        (package / f"{name}.py").write_text(renamed, encoding="utf-8")
    return package


def _load_pyfunc(path: str) -> UncertaintyModel:
    """The entry point that MLflow calls to load the `python_function` flavour."""
    import keras

    # Safe mode is Keras's default: said here since a model may come from anywhere.
    file = Path(path, "model.keras")
    return UncertaintyModel(keras.models.load_model(file, compile=False, safe_mode=True))
