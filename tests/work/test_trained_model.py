"""The model of a training: the weights that the run logged, and nothing that it brings along."""

import contextlib
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import yaml

from pipeline.base import InputError
from pipeline.comparisons import Data, Variant
from pipeline.data import npz
from pipeline.data.splits import save
from pipeline.data.splitting import split_arrays
from pipeline.mc_dropout import mc_dropout
from pipeline.parameters import McDropout
from pipeline.steps import running
from pipeline.steps.step import settings_tag
from pipeline.tracking import client
from pipeline.tracking.names import HIDDEN
from pipeline.uncertainty import logged_models
from pipeline.work.trained_model import WEIGHTS, logged_model, trained_model, weights_fingerprint
from pipeline.work.variant_step import logged_splits

SETTINGS = f"{HIDDEN}settings"
VARIANT = Variant(name="small", hidden_layers=2, units=4, dropout="standard", dropout_rate=0.5)
RUNS_CODE = "import pathlib; pathlib.Path('ran').touch()\n"  # in the working directory


@pytest.fixture
def run(store: Path, tiny_npz: Path) -> client.Run:
    """A training run as `train` leaves it, untrained."""
    from pipeline.training.models import build_model

    splits = split_arrays(npz.read(npz.find(str(tiny_npz))), Data(val_size=30))
    with running.step_run("prepare", {}, name="prepare stripes") as opened:
        save(splits, store / "data")
        opened.log_directory(store / "data", "data")
    model = build_model(VARIANT, splits, seed=3)
    tags = {"prepare_run": opened.run_id, "data_fingerprint": splits.fingerprint}
    tags |= {**settings_tag(VARIANT, {}), WEIGHTS: weights_fingerprint(model)}
    settings = {"dropout_rate": VARIANT.dropout_rate, "seed": 1}
    with running.step_run("train", settings, name="train small seed 1", tags=tags) as opened:
        logged_models.log(model, example=splits.x_test[:2], run_id=opened.run_id)
    return client.get_run(opened.run_id)


def folder_of(run: client.Run) -> Path:
    return Path(logged_model(run).artifact_location)


def predicted(run: client.Run) -> np.ndarray:
    tags = run.data.tags
    splits = logged_splits(tags["prepare_run"], tags["data_fingerprint"])
    return trained_model(run, splits).predict(splits.x_test, verbose=0)


def load_as_keras(folder: Path) -> None:
    mlflow.tensorflow.load_model(str(folder), keras_model_kwargs={"safe_mode": False})


def load_as_function(folder: Path) -> None:
    mlflow.pyfunc.load_model(str(folder))


def bring_a_keras_module(folder: Path) -> None:
    _write_module(folder, "evil_keras", "models", "tensorflow", keras_module="evil_keras")


def bring_a_loader(folder: Path) -> None:
    loader = {"loader_module": "evil_loader"}
    _write_module(folder, "evil_loader", "part", "python_function", **loader)


def _write_module(folder: Path, name: str, part: str, flavor: str, **configured: str) -> None:
    (folder / "code" / name).mkdir(parents=True, exist_ok=True)
    (folder / "code" / name / "__init__.py").write_text(RUNS_CODE)
    (folder / "code" / name / f"{part}.py").touch()
    described = yaml.safe_load((folder / "MLmodel").read_text())
    described["flavors"][flavor] |= {"code": "code", **configured}
    (folder / "MLmodel").write_text(yaml.safe_dump(described))


def bring_a_layer(folder: Path) -> None:
    """Have the network begin with a layer that runs code, its weights as they are."""
    import keras

    code = f"exec({RUNS_CODE!r}) or image"
    image = keras.Input((8, 8, 3), dtype="uint8")
    network = keras.Model(image, keras.layers.Lambda(eval(f"lambda image: {code}"))(image))
    Path("ran").unlink()  # by the layer, when it was called just now
    network.save(folder / "evil.keras")
    path = folder / "data/model.keras"
    with zipfile.ZipFile(path) as original, zipfile.ZipFile(folder / "evil.keras") as evil:
        files = {name: original.read(name) for name in original.namelist()}
        files["config.json"] = evil.read("config.json")
    with zipfile.ZipFile(path, "w") as changed:
        for name, content in files.items():
            changed.writestr(name, content)


@pytest.mark.parametrize(
    ("bring_code", "load"),
    [
        (bring_a_keras_module, load_as_keras),
        (bring_a_loader, load_as_function),
        (bring_a_layer, load_as_keras),
    ],
)
def test_nothing_runs_of_what_a_model_brings_along(
    run: client.Run,
    bring_code: Callable[[Path], None],
    load: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    expected = predicted(run)
    bring_code(folder_of(run))
    np.testing.assert_array_equal(predicted(run), expected)
    assert not Path("ran").exists()
    with contextlib.suppress(Exception):  # whatever it comes to, the code was run
        load(folder_of(run))
    assert Path("ran").exists()


def test_mc_dropout_is_done_by_the_weights_alone(run: client.Run) -> None:
    bring_a_keras_module(folder_of(run))
    mc_dropout(McDropout(run_id=run.info.run_id, mc_samples=2))
    assert client.get_run(run.info.run_id).data.metrics["mc_samples"] == 2
    assert not Path("ran").exists()


def test_it_is_the_model_that_was_logged(run: client.Run) -> None:
    images = logged_splits(run.data.tags["prepare_run"], run.data.tags["data_fingerprint"]).x_test
    logged = mlflow.tensorflow.load_model(str(folder_of(run)))
    np.testing.assert_array_equal(predicted(run), logged.predict(images, verbose=0))


def replace_weights(run: client.Run) -> None:
    import keras

    model = keras.models.load_model(path := folder_of(run) / "data/model.keras")
    model.set_weights([weights + 1 for weights in model.get_weights()])
    model.save(path)


def replace_network(run: client.Run) -> None:
    import keras

    image = keras.Input((8, 8, 3))
    network = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image)))
    network.save(folder_of(run) / "data/model.keras")


def truncate(run: client.Run) -> None:
    path = folder_of(run) / "data/model.keras"
    path.write_bytes(path.read_bytes()[:-100])


def without_settings(run: client.Run) -> None:
    client.connect().delete_tag(run.info.run_id, SETTINGS)


def of_the_future(run: client.Run, setting: str) -> None:
    settings: dict[str, Any] = json.loads(run.data.tags[SETTINGS])
    settings["variant"][setting] = "three"
    client.connect().set_tag(run.info.run_id, SETTINGS, json.dumps(settings))


@pytest.mark.parametrize(
    "change",
    [
        replace_weights,
        replace_network,
        truncate,
        lambda run: shutil.rmtree(folder_of(run)),
        without_settings,
        partial(of_the_future, setting="heads"),
        partial(of_the_future, setting="arms"),
    ],
)
def test_a_model_that_is_not_what_the_run_logged_is_refused(
    run: client.Run, change: Callable[[client.Run], None]
) -> None:
    change(run)
    with pytest.raises(InputError, match=f"(?s)the model of run {run.info.run_id}: .*reuse=never"):
        predicted(client.get_run(run.info.run_id))


def test_weights_of_a_run_that_did_not_tell_their_fingerprint_are_taken(run: client.Run) -> None:
    expected = predicted(run)
    client.connect().delete_tag(run.info.run_id, WEIGHTS)
    np.testing.assert_array_equal(predicted(client.get_run(run.info.run_id)), expected)
