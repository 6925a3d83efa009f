"""What is another in the data: images by what they are, wherever they stand."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.comparisons import Data
from pipeline.data import sources
from pipeline.data.splits import Splits, save
from pipeline.data.splitting import split_arrays
from pipeline.nights.other_data import DATA, OtherData, other_data
from pipeline.nights.record import Trained
from pipeline.tracking import client


def prepared(dataset: Path, **data: Any) -> Trained:
    """Trainings on a data set as `prepare` logs it."""
    splits: Splits = split_arrays(sources.load(sources.resolve(str(dataset))), Data(**data))
    run = client.connect().create_run("0", tags={"step": "prepare"})
    with tempfile.TemporaryDirectory() as directory:
        save(splits, Path(directory))
        client.connect().log_artifacts(run.info.run_id, directory, "data")
    inputs = {DATA: splits.fingerprint}
    return Trained(replicates_key="", run_ids=[], inputs=inputs, prepare_run=run.info.run_id)


@pytest.fixture
def original(store: Path, tiny_npz: Path) -> Trained:
    return prepared(tiny_npz)


def changed(tiny_npz: Path, **arrays: Any) -> Trained:
    """The same data with some arrays of it made from what they were."""
    path = tiny_npz.with_name("changed.npz")
    known = dict(np.load(tiny_npz))
    np.savez(path, allow_pickle=False, **known | {name: of(known) for name, of in arrays.items()})
    return prepared(path)


def test_the_same_data_is_not_looked_at(original: Trained) -> None:
    assert other_data(original, original) is None


def test_labels_that_are_others_are_counted(original: Trained, tiny_npz: Path) -> None:
    def relabel(known: Any) -> Any:
        labels = known["y_train"].copy()
        labels[:6] = (labels[:6] + 1) % 3
        return labels

    found = other_data(original, changed(tiny_npz, y_train=relabel))
    assert found == OtherData(relabelled=6, new=0, gone=0, images=360, test_images=0)
    assert str(found) == "of 360 images 6 relabelled"


def test_images_that_came_and_went_are_counted(original: Trained, tiny_npz: Path) -> None:
    found = other_data(
        original,
        changed(
            tiny_npz,
            x_train=lambda known: known["x_train"][2:],
            y_train=lambda known: known["y_train"][2:],
            x_test=lambda known: 255 - known["x_test"],
        ),
    )
    assert found == OtherData(relabelled=0, new=60, gone=62, images=358, test_images=60)


def test_the_same_images_may_be_split_otherwise(original: Trained, tiny_npz: Path) -> None:
    found = other_data(original, prepared(tiny_npz, split_seed=2))
    assert str(found) == "split otherwise"


def test_data_that_is_gone_tells_nothing(original: Trained, tiny_npz: Path) -> None:
    other = prepared(tiny_npz, split_seed=2)
    shutil.rmtree(Path("mlruns", "0", original.prepare_run))
    assert other_data(original, other) is None
    assert other_data(Trained(replicates_key="", run_ids=[], inputs={}), other) is None


def test_pairs_are_counted_as_they_are(store: Path, tiny_npz: Path) -> None:
    def relabel(known: Any) -> Any:
        labels = known["y_train"].copy()
        labels[:6] = (labels[:6] + 1) % 3
        return labels

    path = tiny_npz.with_name("changed.npz")
    known = dict(np.load(tiny_npz))
    np.savez(path, allow_pickle=False, **known | {"y_train": relabel(known)})
    found = other_data(prepared(tiny_npz, pairs=True), prepared(path, pairs=True))
    assert found is not None
    assert (found.images, found.test_images) == (360, 0)
    assert found.relabelled > 0
