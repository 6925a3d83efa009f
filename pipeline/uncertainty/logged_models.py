"""Trained models as MLflow models that take raw images.

No pickle is written: the weights are a `.keras` file. A model with dropout has, besides MLflow's
`tensorflow` flavour, a `python_function` that can do MC Dropout (`served_model`), whose source is
logged with the model, so that this loads without this project and works on as when it was logged.
"""

import ast
import hashlib
import sys
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

_PROJECT = Path(__file__).parents[1]
_LOADER = Path(served_model.__file__).relative_to(_PROJECT)  # the module that MLflow loads


def log(model: "keras.Model", *, example: npt.NDArray[np.uint8], run_id: str) -> None:
    """Log a model from raw images, as (n, height, width, channels) in an example, in a run.

    Its name is that of the network, a variant's.
    """
    params = dict(served_model.PARAMS) if sampling.dropout_layers(model) else None
    probabilities = np.asarray(model(example, training=False))
    needs = ("tensorflow", "keras", *(("numpy", "scipy") if params else ()))
    Model.log(
        artifact_path=None,
        name=model.name.replace(".", "-"),  # which MLflow allows in no name of a model
        run_id=run_id,
        flavor=sys.modules[__name__],
        model=model,
        input_example=example,
        signature=infer_signature(example, probabilities, params=params),
        # Named here, since finding them out loads the model in another process (10 s).
        pip_requirements=[f"{name}=={version(name)}" for name in needs],
        # It would load what has just been saved, and leave a temporary directory in sys.path.
        validate_serving_input=False,
    )


def save_model(path: str, mlflow_model: Model, model: "keras.Model", **arguments: Any) -> None:
    """Save a Keras model; `Model.log` calls it, as it does the one of every MLflow flavour."""
    arguments.pop("validate_serving_input", None)  # for `Model.log`, which hands on all it is given
    mlflow.tensorflow.save_model(model, path, mlflow_model=mlflow_model, **arguments)
    if sampling.dropout_layers(model):
        package = _served_package(Path(path, "code"))
        loader = ".".join((package.name, *_LOADER.with_suffix("").parts))
        mlflow_model.flavors["python_function"] |= {"loader_module": loader, "code": "code"}
        code = sum(file.stat().st_size for file in package.rglob("*.py"))
        mlflow_model.model_size_bytes = code + (mlflow_model.model_size_bytes or 0)
        mlflow_model.save(str(Path(path, "MLmodel")))


def _served_package(directory: Path) -> Path:
    """Copy the modules that serving needs into a package that is named after their content.

    Under the name of this package, a model's code and the code that loads it would stand in for
    one another; with one name for all, two models' code would.
    """
    sources = {name: (_PROJECT / name).read_bytes() for name in sorted(_served_files(_LOADER))}
    digest = hashlib.sha256(b"".join(sources.values())).hexdigest()[:12]
    package = directory / f"uncertainty_{digest}"
    for name, source in sources.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_bytes(source)
        (package / name).with_name("__init__.py").touch()
    (package / "__init__.py").touch()
    return package


def _served_files(name: Path) -> set[Path]:
    """A module and those that it imports relatively, directly or not; in this project's package."""
    imported = [
        name.parents[node.level - 1].joinpath(*node.module.split(".")).with_suffix(".py")
        for node in ast.walk(ast.parse((_PROJECT / name).read_bytes()))
        if isinstance(node, ast.ImportFrom) and node.level and node.module
    ]
    return {name}.union(*map(_served_files, imported))
