"""The flavour of models with dropout: plain and MC-Dropout predictions of a logged model."""

import re
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import scipy.stats
from mlflow.models import Model
from step_runs import finish

from pipeline import step_runs, tracking
from pipeline.uncertainty import mc_probabilities
from pipeline.uncertainty_model import MAX_MC_SAMPLES

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 3, 2), dtype=np.uint8)


def _build(*middle: Any, seed: int = 1) -> Any:
    """A small network from raw images to three probabilities, with some layers in its middle."""
    import keras

    keras.utils.set_random_seed(seed)
    image = keras.Input(IMAGES.shape[1:], dtype="uint8", name="image")
    hidden = keras.layers.Rescaling(1 / 255)(keras.layers.Flatten()(image))
    for layer in (keras.layers.Dense(8, activation="selu"), *middle):
        hidden = layer(hidden)
    return keras.Model(image, keras.layers.Dense(3, activation="softmax")(hidden))


def _with_dropout() -> Any:
    import keras

    return _build(keras.layers.BatchNormalization(), keras.layers.AlphaDropout(0.5, seed=1))


def _log(model: Any) -> str:
    """Log a model as training runs do; its address."""
    run = step_runs.StepRun(finish(), "0")
    run.log_model(model, example=IMAGES[:2])
    return f"runs:/{run.run_id}/model"


@pytest.fixture
def model(store: Path) -> Any:
    return _with_dropout()


@pytest.fixture
def uri(model: Any) -> str:
    return _log(model)


def test_without_samples_it_predicts_as_keras_does(model: Any, uri: str) -> None:
    served = mlflow.pyfunc.load_model(uri)
    expected = model.predict(IMAGES, verbose=0)
    np.testing.assert_array_equal(served.predict(IMAGES), expected)
    np.testing.assert_array_equal(served.predict(IMAGES, params={"mc_samples": 0}), expected)


def test_with_samples_it_gives_mean_entropy_and_mutual_information(model: Any, uri: str) -> None:
    answer = mlflow.pyfunc.load_model(uri).predict(IMAGES, params={"mc_samples": 40, "seed": 7})
    samples = mc_probabilities(model, IMAGES, samples=40, seed=7).astype(float)
    assert set(answer) == {"probability", "entropy", "mutual_information"}
    np.testing.assert_allclose(answer["probability"], samples.mean(axis=0), rtol=1e-6)
    total = scipy.stats.entropy(samples.mean(axis=0), axis=1)
    np.testing.assert_allclose(answer["entropy"], total, rtol=1e-5)
    within = scipy.stats.entropy(samples, axis=2).mean(axis=0)
    np.testing.assert_allclose(answer["mutual_information"], total - within, rtol=1e-5)
    assert np.all(answer["mutual_information"] > 0)


def test_seed_decides_the_masks(uri: str) -> None:
    served = mlflow.pyfunc.load_model(uri)
    answers = [
        served.predict(IMAGES, params={"mc_samples": 5, "seed": seed})["probability"]
        for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[0], answers[2])
    default = served.predict(IMAGES, params={"mc_samples": 5})["probability"]
    np.testing.assert_array_equal(default, answers[0])


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"mc_samples": -1}, f"mc_samples: expected an integer from 0 to {MAX_MC_SAMPLES}"),
        ({"mc_samples": MAX_MC_SAMPLES + 1}, "mc_samples: expected"),
        ({"mc_samples": 1, "seed": -1}, "seed: expected"),
    ],
)
def test_parameters_out_of_range_are_refused(
    uri: str, params: dict[str, int], message: str
) -> None:
    served = mlflow.pyfunc.load_model(uri)
    with pytest.raises(ValueError, match=re.escape(message)):
        served.predict(IMAGES, params=params)


def test_images_of_another_shape_or_scaled_are_refused(uri: str) -> None:
    served = mlflow.pyfunc.load_model(uri)
    for wrong in (IMAGES[:, :2], IMAGES / 255):
        with pytest.raises(mlflow.MlflowException, match="enforce schema"):
            served.predict(wrong)


def test_logged_files_hold_no_pickle_and_no_import_of_this_project(uri: str) -> None:
    directory = Path(mlflow.artifacts.download_artifacts(uri))
    files = {path.relative_to(directory): path for path in directory.rglob("*") if path.is_file()}
    assert {path.suffix for path in files} == {"", ".py", ".keras", ".txt", ".json", ".yaml"}
    code = {path.name: path.read_text("utf-8") for path in files.values() if path.suffix == ".py"}
    assert set(code) == {
        "__init__.py",
        "errors.py",
        "calibration.py",
        "uncertainty.py",
        "uncertainty_model.py",
    }
    assert not [name for name, text in code.items() if re.search(r"(from|import) pipeline", text)]


def test_model_loads_where_pickles_are_refused(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    assert mlflow.pyfunc.load_model(uri).predict(IMAGES).shape == (5, 3)
    assert tracking.load_model(uri.split("/")[1]).count_params() > 0


def test_served_code_is_the_logged_one_not_this_project_s(uri: str) -> None:
    loader = Model.load(uri).flavors["python_function"]["loader_module"]
    mlflow.pyfunc.load_model(uri)
    assert not loader.startswith("pipeline")
    assert "/code/uncertainty_" in str(sys.modules[loader].__file__)


def test_keras_model_is_there_too(model: Any, uri: str) -> None:
    path = list(sys.path)
    loaded = mlflow.tensorflow.load_model(uri)
    np.testing.assert_array_equal(
        loaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    )
    assert sys.path == path  # Keras alone needs no code of ours


def test_logging_leaves_the_import_path_alone(model: Any) -> None:
    path = list(sys.path)
    _log(model)
    assert sys.path == path


def test_signature_names_the_parameters_and_requirements_are_pinned(uri: str) -> None:
    info = Model.load(uri)
    assert {spec.name: spec.default for spec in info.signature.params.params} == {
        "mc_samples": 0,
        "seed": 1,
    }
    requirements = Path(mlflow.artifacts.download_artifacts(f"{uri}/requirements.txt")).read_text()
    assert {line.split("==")[0] for line in requirements.split() if "==" in line} == {
        "mlflow",
        "tensorflow",
        "keras",
        "numpy",
        "scipy",
    }


def test_model_without_dropout_is_logged_plain(store: Path) -> None:
    uri = _log(_build())
    info = Model.load(uri)
    assert info.flavors["python_function"]["loader_module"] == "mlflow.tensorflow"
    assert info.signature.params is None
    assert mlflow.pyfunc.load_model(uri).predict(IMAGES).shape == (5, 3)


@pytest.mark.parametrize("dropout", [False, True])
def test_model_that_brings_code_along_is_not_loaded(store: Path, dropout: bool) -> None:
    import keras

    layers: list[Any] = [keras.layers.Lambda(lambda x: x + 1)]
    layers += [keras.layers.Dropout(0.5)] if dropout else []
    run_id = _log(_build(*layers)).split("/")[1]
    with pytest.raises(ValueError, match=r"safe_mode|unsafe"):
        tracking.load_model(run_id)
    with pytest.raises(ValueError, match=r"safe_mode|unsafe"):
        mlflow.pyfunc.load_model(f"runs:/{run_id}/model")
