"""The model of a finished training: its network built anew, with the weights that the run logged.

Whoever can write artifacts can have a logged model run any code when it is loaded: by its flavour,
by modules logged with it, by a layer. So nothing of it is read but numbers.
"""

import tempfile
from typing import TYPE_CHECKING, Any

import mlflow
from mlflow.entities import LoggedModel

from pipeline.base import InputError
from pipeline.comparisons import Variant
from pipeline.data.fingerprints import fingerprint_of
from pipeline.data.splits import Splits, refused_if_damaged, require
from pipeline.steps.step import recorded_settings
from pipeline.tracking import client
from pipeline.tracking.outages import patiently

if TYPE_CHECKING:
    import keras

WEIGHTS_FILE = "model/data/model.keras"
WEIGHTS = "weights_fingerprint"  # the tag of a run that tells its model's
_ACTION = "Train it again with -P reuse=never."


def trained_model(run: client.Run, splits: Splits) -> "keras.Model":
    """The model that a run trained on a data set, for prediction.

    Raises:
        InputError: what the run says of its variant, or the weights, are gone, damaged or changed.
    """
    from pipeline.training.models import build_model

    subject, file = f"the model of run {run.info.run_id}", WEIGHTS_FILE.removeprefix("model/")
    location = logged_model(run).artifact_location
    download = mlflow.artifacts.download_artifacts
    with tempfile.TemporaryDirectory() as folder, refused_if_damaged(subject, _ACTION):
        settings, _ = recorded_settings(run.data.tags)
        model = build_model(_declared(settings), splits, seed=0)
        model.load_weights(patiently(download, f"{location}/{file}", dst_path=folder))
    expected = run.data.tags.get(WEIGHTS, received := weights_fingerprint(model))
    words = f"the weights that it logged, of fingerprint {expected}"
    require(received == expected, subject, words, f"others, of {received}", _ACTION)
    return model


def _declared(settings: dict[str, Any]) -> Variant:
    try:
        return Variant(**settings)
    except InputError as refusal:  # of another version: no file declares it that could be corrected
        raise ValueError(f"{refusal.subject} {refusal.received}") from refusal


def weights_fingerprint(model: "keras.Model") -> str:
    """The fingerprint of a model's weights."""
    return fingerprint_of({str(place): one for place, one in enumerate(model.get_weights())})


def logged_model(run: client.Run) -> LoggedModel:
    """The model that a training run has logged; of one that went on, the last.

    Raises:
        InputError: if there is none.
    """
    run_id = run.info.run_id
    models = client.connect().search_logged_models(
        [run.info.experiment_id],
        filter_string=f"source_run_id = '{run_id}'",
        order_by=[{"field_name": "creation_timestamp", "ascending": False}],
    )
    if not models:
        expected = "a logged model"
        raise InputError(f"run {run_id}", expected=expected, received="none", action=_ACTION)
    return models[0]
