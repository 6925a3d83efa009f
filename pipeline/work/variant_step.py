"""What the steps of a variant, its search and its training, have in common."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.comparisons import Variant
from pipeline.data.splits import (
    FILES,
    PREPARE_AGAIN,
    Labels,
    Splits,
    open_splits,
    refused_if_damaged,
    side_by_side,
)
from pipeline.parameters import ModelSettings, mlflow_run, recorded, settings_of
from pipeline.steps.step import Step, recorded_settings, settings_tag
from pipeline.tracking import client, fetched_data
from pipeline.tracking.names import hidden, revealed

DATA_FILES = tuple(f"data/{name}" for name in FILES)  # that `prepare` logs
SOURCE_INPUT = "training that it starts from"  # an input


@dataclass(frozen=True, kw_only=True)
class LoggedData:
    """A data set that a finished `prepare` run has logged, for the steps that read it.

    Of one that is not prepared yet, the name is all that is known.
    """

    dataset: str  # its name
    run_id: str = ""
    location: str = ""  # where it was read from
    fingerprint: str = ""  # SHA-256 of the splits
    found_again: str = ""  # the value of `dataset` that finds it from anywhere on this machine

    @property
    def tags(self) -> dict[str, str]:
        """What a run on this data is tagged with."""
        tags = {"dataset": self.dataset, "data_fingerprint": self.fingerprint}
        return {**tags, "prepare_run": self.run_id}


class Images(NamedTuple):
    """The images of a prepared data set that a variant is trained on."""

    prepare_run: str
    fingerprint: str
    per_class: int | None  # None: all

    def splits(self, scaled_as: "Images | None" = None) -> Splits:
        """The arrays, scaled by the mean and variance of other images where these are given.

        Raises:
            InputError: as `logged_splits`, or if there are fewer images of a class.
        """
        splits = logged_splits(self.prepare_run, self.fingerprint)
        if self.per_class is not None:
            splits = splits.few(self.per_class)
        return splits.scaled_as(scaled_as.splits()) if scaled_as else splits


def splits_of(run: client.Run) -> Splits:
    """What a finished training was trained on, scaled as it was, even if its source is gone."""
    tags = run.data.tags
    per_class = recorded_settings(tags)[0].get("images_per_class")
    images = Images(tags["prepare_run"], tags["data_fingerprint"], per_class)
    scaled_as = json.loads(revealed(tags).get("scaled_as", "null"))
    return images.splits(Images(*scaled_as) if scaled_as else None)


def logged_splits(run_id: str, fingerprint: str) -> Splits:
    """The data set that a `prepare` run has logged, if it still has a fingerprint.

    Raises:
        InputError: if its artifact is gone, damaged or changed.
    """
    subject = f"artifact 'data' of run {run_id}"
    with refused_if_damaged(subject, PREPARE_AGAIN):
        run_id = _not_gone(run_id, fingerprint)
        directory = fetched_data.directory(run_id, fingerprint)
    return open_splits(directory, fingerprint, subject=subject)


def logged_labels(run_id: str, fingerprint: str, split: str) -> tuple[Labels, int]:
    """The labels of a split that a `prepare` run has logged, and how many classes there are.

    The images stay where they are, and the fingerprint is that of all: whoever takes labels alone
    checks what they come to.

    Raises:
        InputError: if they are gone, damaged, or of other data.
    """
    with refused_if_damaged(f"artifact 'data' of run {run_id}", PREPARE_AGAIN):
        run_id = _not_gone(run_id, fingerprint)
        labels = np.load(client.local_artifact(run_id, f"data/y_{split}.npy"), allow_pickle=False)
        described = json.loads(client.local_artifact(run_id, "data/metadata.json").read_bytes())
        n_classes = len(described["class_names"])
        if described["fingerprint"] != fingerprint:
            raise ValueError("metadata.json tells another fingerprint")
        if (
            labels.dtype != np.int32
            or labels.ndim != 1
            or not np.isin(labels, range(n_classes)).all()
        ):
            raise ValueError(f"y_{split}.npy has no labels of {n_classes} classes")
        return labels, n_classes


def logged_pictures(
    run_id: str, fingerprint: str, split: str
) -> tuple[npt.NDArray[np.uint8], tuple[str, ...]]:
    """The images of a split that a `prepare` run has logged, and class names.

    Of pairs, which are one picture each, they are a copy; others are mapped into memory. They are
    to be looked at: that they are those of the fingerprint is not checked.

    Raises:
        InputError: if they are gone, or no images.
    """
    with refused_if_damaged(f"artifact 'data' of run {run_id}", PREPARE_AGAIN):
        run_id = _not_gone(run_id, fingerprint)
        pictures = np.load(client.local_artifact(run_id, f"data/x_{split}.npy"), mmap_mode="r")
        described = json.loads(client.local_artifact(run_id, "data/metadata.json").read_bytes())
        if pictures.dtype != np.uint8 or pictures.ndim not in (4, 5):
            raise ValueError(f"x_{split}.npy has no images")
        if pictures.ndim == 5:
            pictures = side_by_side(pictures)
        return pictures, tuple(map(str, described["class_names"]))


def _not_gone(run_id: str, fingerprint: str) -> str:
    """A `prepare` run, or another one of the same data where what it has logged is gone."""
    run = client.find_run(run_id)
    if run is None or client.missing_artifact(run, DATA_FILES):
        experiment = run.info.experiment_id if run else client.experiment_id()
        of_data = f"tags.data_fingerprint = '{fingerprint}'"
        for other in client.finished_runs("prepare", experiment, of_data):
            if not client.missing_artifact(other, DATA_FILES):
                return other.info.run_id
    return run_id


@dataclass(frozen=True, kw_only=True)
class VariantStep(Step):
    """A step of a variant on a data set."""

    resumes: ClassVar[bool] = True
    group: ClassVar[type[ModelSettings]]

    variant: Variant  # with its settings as they are used
    data: LoggedData
    asked: ModelSettings  # the parameters behind it, those of `group` among them
    source: "VariantStep | None" = None  # the training that it starts from

    @property
    def name(self) -> str:
        return f"{self.entry_point} {self.variant.name}"

    @property
    def images(self) -> Images:
        """What it trains on."""
        return Images(self.data.run_id, self.data.fingerprint, self.variant.images_per_class)

    @property
    def scaled_as(self) -> Images | None:
        """By which images it scales its own: those of the first in the chain that it starts from.

        None if it starts from no other. Reused layers know no other scale.
        """
        return (self.source.scaled_as or self.source.images) if self.source else None

    @property
    def splits(self) -> Splits:
        """The arrays that it trains on, fetched where the artifact store is remote."""
        return self.images.splits(self.scaled_as)

    @property
    def checkpoints(self) -> str:
        return self.asked.checkpoints

    @property
    def waits_for(self) -> str:
        if not self.data.run_id:
            return "the data set is not prepared yet"
        return self.source.waits_for if self.source else ""

    def after(self) -> Sequence["VariantStep"]:
        return (self.source,) if self.source else ()

    @property
    def variant_settings(self) -> Mapping[str, Any]:
        return self.variant.content(self.entry_point)

    def parameters(self) -> dict[str, Any]:
        settings = recorded(self.asked, self.group, self.entry_point, self.variant)
        del settings["checkpoints"]  # where they are kept changes no result
        return {"variant": self.variant.name, **settings}

    def upstream(self) -> Mapping[str, str]:
        # The key that all seeds of the source share: which seed it is follows from this step's.
        source = {SOURCE_INPUT: self.source.replicates_key} if self.source else {}
        return {"fingerprint of the data": self.data.fingerprint, **source}

    def logged(self) -> Mapping[str, Any]:
        return {"dataset": self.data.dataset}

    def tags(self) -> Mapping[str, Any]:
        settings = settings_tag(self.variant, self.asked.given(self.variant))
        named = {"variant": self.variant.name, "mlflow.runColor": self.variant.color}
        scaled = hidden({"scaled_as": json.dumps(self.scaled_as)}) if self.source else {}
        return {**named, **settings, **self.data.tags, **scaled}

    def again(self, **instead: Any) -> str:
        """The command that does the same anew, the settings of the group spelt out.

        Where it starts from another training, only those that were given are: what a command gives
        holds for the source, too.
        """
        settings = {
            name: value
            for name, value in settings_of(self.variant, self.group).items()
            if not self.source and (self.variant.dropout or not name.startswith("dropout"))
        }
        chosen = {"variant": self.variant.name, "dataset": self.data.found_again, "reuse": "never"}
        return mlflow_run(self.entry_point, self.asked, **{**settings, **chosen, **instead})
