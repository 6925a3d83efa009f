"""What is logged with a trained model, and that it can be loaded and served."""

import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pytest
from mlflow.models import Model, validate_serving_input
from networks import IMAGES, build, log, with_dropout

from pipeline.comparisons.pairs import PAIRS_TWO
from pipeline.training.models import build_model
from pipeline.uncertainty import logged_models

PIPELINE = Path(logged_models.__file__).parents[1]


def test_logged_files_hold_no_pickle_and_no_import_of_this_project(dropout_uri: str) -> None:
    directory = Path(mlflow.artifacts.download_artifacts(dropout_uri))
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {"", ".py", ".keras", ".txt", ".json", ".yaml"}
    (package,) = (directory / "code").iterdir()
    code = {str(path.relative_to(package)): path.read_bytes() for path in package.rglob("*.py")}
    empty = {name for name in code if name.endswith("__init__.py")}
    assert empty == {"__init__.py", "base/__init__.py", "uncertainty/__init__.py"}
    assert not any(code[name] for name in empty)
    served = set(code) - empty
    assert served == {"base/errors.py", "uncertainty/sampling.py", "uncertainty/served_model.py"}
    for name in served:  # as they are here, and with no import of anything here
        assert code[name] == (PIPELINE / name).read_bytes()
        assert not re.search(rb"(from|import) pipeline", code[name])


def test_a_model_is_named_as_its_network_also_where_mlflow_allows_no_such_name(
    store: Path,
) -> None:
    import keras

    network = build()
    named = keras.Model(network.input, network.output, name="bn_0.5")
    log(named)
    (found,) = mlflow.MlflowClient().search_logged_models(["0"])
    assert found.name == "bn_0-5"


def test_served_code_is_named_after_its_content(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def name() -> str:
        with TemporaryDirectory() as directory:
            return logged_models._served_package(Path(directory)).name

    here = name()
    shutil.copytree(PIPELINE, tmp_path / "pipeline")
    monkeypatch.setattr(logged_models, "_PROJECT", tmp_path / "pipeline")
    assert name() == here
    with (tmp_path / "pipeline" / "base" / "errors.py").open("a") as errors:
        errors.write("# changed\n")
    assert name() != here


def test_model_loads_where_pickles_are_refused(
    dropout_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    assert mlflow.pyfunc.load_model(dropout_uri).predict(IMAGES).shape == (5, 3)


def test_served_code_is_the_logged_one_not_this_project_s(dropout_uri: str) -> None:
    loader = Model.load(dropout_uri).flavors["python_function"]["loader_module"]
    mlflow.pyfunc.load_model(dropout_uri)
    assert not loader.startswith("pipeline")
    assert "/code/uncertainty_" in str(sys.modules[loader].__file__)


def test_keras_model_is_there_too(dropout_model: Any, dropout_uri: str) -> None:
    path = list(sys.path)
    loaded = mlflow.tensorflow.load_model(dropout_uri)
    np.testing.assert_array_equal(
        loaded.predict(IMAGES, verbose=0), dropout_model.predict(IMAGES, verbose=0)
    )
    assert sys.path == path  # Keras alone needs no code of ours


def test_logging_leaves_the_import_path_alone(dropout_model: Any) -> None:
    path = list(sys.path)
    log(dropout_model)
    assert sys.path == path


def test_signature_names_the_parameters_and_requirements_are_pinned(dropout_uri: str) -> None:
    info = Model.load(dropout_uri)
    assert {spec.name: spec.default for spec in info.signature.params.params} == {
        "mc_samples": 0,
        "seed": 1,
    }
    requirements = Path(
        mlflow.artifacts.download_artifacts(f"{dropout_uri}/requirements.txt")
    ).read_text()
    assert {line.split("==")[0] for line in requirements.split() if "==" in line} == {
        "mlflow",
        "tensorflow",
        "keras",
        "numpy",
        "scipy",
    }


@pytest.mark.parametrize("dropout", [None, "standard"])
def test_networks_for_pairs_are_given_raw_pairs(store: Path, dropout: Any) -> None:
    statistics = np.ones(24, np.float32)
    splits: Any = SimpleNamespace(
        image_shape=(2, *IMAGES.shape[1:]), n_classes=2, mean=statistics, variance=statistics
    )
    variant = PAIRS_TWO.derive(
        name="pairs", hidden_layers=1, units=4, dropout=dropout, dropout_rate=0.2
    )
    network, pairs = build_model(variant, splits, seed=1), np.stack([IMAGES, IMAGES[::-1]], axis=1)
    with mlflow.start_run() as run:
        logged_models.log(network, example=pairs[:2], run_id=run.info.run_id)
    loaded = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/pairs")
    assert loaded.metadata.get_input_schema().inputs[0].shape == (-1, *pairs.shape[1:])
    np.testing.assert_allclose(loaded.predict(pairs), network(pairs), rtol=1e-5)
    if dropout:
        sampled = loaded.predict(pairs, params={"mc_samples": 3})
        assert sampled["probability"].shape == (5, 2)


def test_model_without_dropout_is_logged_plain(store: Path) -> None:
    uri = log(build())
    info = Model.load(uri)
    assert info.flavors["python_function"]["loader_module"] == "mlflow.tensorflow"
    assert info.signature.params is None
    assert mlflow.pyfunc.load_model(uri).predict(IMAGES).shape == (5, 3)


@pytest.mark.parametrize("dropout", [False, True])
def test_model_with_a_layer_that_brings_code_along_is_not_loaded(
    store: Path, dropout: bool
) -> None:
    import keras

    layers: list[Any] = [keras.layers.Lambda(lambda x: x + 1)]
    layers += [keras.layers.Dropout(0.5)] if dropout else []
    uri = log(build(*layers))
    with pytest.raises(ValueError, match=r"safe_mode|unsafe"):
        mlflow.pyfunc.load_model(uri)


@pytest.mark.parametrize("dropout", [False, True])
def test_logged_example_can_be_served(store: Path, dropout: bool) -> None:
    model = with_dropout() if dropout else build()
    directory = mlflow.artifacts.download_artifacts(log(model))
    example = Model.load(directory).get_serving_input(directory)
    served = validate_serving_input(directory, example)
    np.testing.assert_array_equal(served, model.predict(IMAGES[:2], verbose=0))
