"""Trained models as MLflow models that take raw images.

No pickle is written: the weights are a `.keras` file. A model with dropout has, besides MLflow's
`tensorflow` flavour, a `python_function` that can do MC Dropout (`uncertainty_model`). The source
of that is logged with the model, under a package name of its own, so that the model loads without
this project and goes on working as it did when it was logged.
"""

import hashlib
import re
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow.tensorflow
import numpy as np
import numpy.typing as npt
from mlflow.models import Model, infer_signature

from pipeline.uncertainty import sampling, served_model

if TYPE_CHECKING:
    import keras

_LOADER = "served_model"  # the module that MLflow loads, and those that it imports
_LOGGED_MODULES = (
    "base/errors",
    "uncertainty/calibration",
    "uncertainty/sampling",
    "uncertainty/served_model",
)


def log(model: "keras.Model", *, example: npt.NDArray[np.uint8], run_id: str) -> None:
    """Log a Keras model in a run, with its signature, an example and pinned requirements.

    Args:
        model: from raw images to probabilities.
        example: images of shape (n, height, width, channels).
        run_id: the run.
    """
    probabilities = np.asarray(model(example, training=False))
    has_dropout = bool(sampling.dropout_layers(model))
    needs = ("tensorflow", "keras", *(("numpy", "scipy") if has_dropout else ()))
    Model.log(
        artifact_path=None,
        name="model",
        run_id=run_id,
        flavor=sys.modules[__name__],
        model=model,
        input_example=example,
        signature=infer_signature(
            example, probabilities, params=dict(served_model.PARAMS) if has_dropout else None
        ),
        # Named here, since finding them out loads the model in another process (10 s).
        pip_requirements=[f"{name}=={version(name)}" for name in needs],
        # It would load in every run what has just been saved, and leave the path of a temporary
        # directory in sys.path.
        validate_serving_input=False,
    )


def save_model(
    path: str,
    mlflow_model: Model,
    model: "keras.Model",
    validate_serving_input: bool = True,
    **arguments: Any,
) -> None:
    """Save a Keras model; `Model.log` calls it, as it does the one of every MLflow flavour.

    Args:
        path: directory to write.
        mlflow_model: metadata to complete.
        model: the model.
        validate_serving_input: read by `Model.log` alone, which hands on all it is given;
            MLflow's `tensorflow` flavour does not take it.
        arguments: for `mlflow.tensorflow.save_model`.
    """
    del validate_serving_input
    if not sampling.dropout_layers(model):
        mlflow.tensorflow.save_model(model, path, mlflow_model=mlflow_model, **arguments)
        return
    with tempfile.TemporaryDirectory() as directory:
        package = _logged_package(Path(directory))
        mlflow.tensorflow.save_model(
            model, path, mlflow_model=mlflow_model, code_paths=[str(package)], **arguments
        )
    served = mlflow_model.flavors["python_function"]
    served["loader_module"] = f"{package.name}.{_LOADER}"
    mlflow_model.flavors["tensorflow"]["code"] = None  # The Keras model needs none.
    mlflow_model.save(str(Path(path, "MLmodel")))


def _logged_package(directory: Path) -> Path:
    """Write a package with the modules that serving needs; it is named after their content.

    Under the name of this package, a model's code and the code that loads it would stand in for
    one another; with one name for all, two models' code would.
    """
    sources = {
        name.rpartition("/")[2]: (Path(__file__).parents[1] / f"{name}.py").read_text("utf-8")
        for name in _LOGGED_MODULES
    }
    digest = hashlib.sha256("".join(sources.values()).encode()).hexdigest()[:12]
    package = directory / f"uncertainty_{digest}"
    package.mkdir()
    (package / "__init__.py").touch()
    for name, source in sources.items():
        renamed = re.sub(r"from pipeline\.\w+\.", f"from {package.name}.", source)
        (package / f"{name}.py").write_text(renamed, encoding="utf-8")
    return package
