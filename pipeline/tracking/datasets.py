"""The splits of a data set as inputs of a run: name, digest, schema and what is in them."""

import hashlib
import json

import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.types.schema import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from pipeline.data.splits import Splits, class_counts


def inputs(splits: Splits, *, location: str) -> list[DatasetInput]:
    """The training, validation and test set, read from a location, as MLflow takes them."""
    return [
        _input(splits, "training", splits.x_train, splits.y_train, location),
        _input(splits, "validation", splits.x_val, splits.y_val, location),
        _input(splits, "test", splits.x_test, splits.y_test, location),
    ]


def _input(
    splits: Splits, context: str, images: np.ndarray, labels: np.ndarray, location: str
) -> DatasetInput:
    schema = Schema([TensorSpec(images.dtype, (-1, *images.shape[1:]), "image")])
    classes = class_counts(labels, splits.class_names)
    profile = {"images": len(images), "shape": list(images.shape), "classes": classes}
    dataset = Dataset(
        name=splits.name,
        # A digest per split: MLflow takes inputs with one name and digest for the same.
        digest=hashlib.sha256(f"{splits.fingerprint} {context}".encode()).hexdigest()[:8],
        source_type="local",
        source=json.dumps({"uri": location}),
        schema=json.dumps({"mlflow_tensorspec": {"features": schema.to_json(), "targets": None}}),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)])
