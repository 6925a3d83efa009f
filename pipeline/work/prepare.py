"""The work of `prepare`: a data set, split, measured and logged as memory-mappable arrays."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pipeline.base import markdown, progress
from pipeline.comparisons import Comparison, Data
from pipeline.data import sources
from pipeline.data.splits import Splits, class_counts, save
from pipeline.data.splitting import split_arrays
from pipeline.parameters import DataSet, mlflow_run
from pipeline.steps.running import once
from pipeline.steps.step import Step
from pipeline.tracking import client
from pipeline.tracking.runs import StepRun
from pipeline.work.variant_step import DATA_FILES, LoggedData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_PAIRS = 12
MOST_NAMED = 20  # classes


@dataclass(frozen=True, kw_only=True)
class PrepareStep(Step):
    """A data set, split: where it was found, how it is chosen from and split, what was asked."""

    entry_point: ClassVar[str] = "prepare"
    packages: ClassVar[tuple[str, ...]] = ("numpy",)
    kept: ClassVar[tuple[str, ...]] = DATA_FILES

    source: sources.Source
    data: Data
    asked: DataSet

    @property
    def name(self) -> str:
        return f"prepare {self.source.name}"

    def parameters(self) -> Mapping[str, Any]:
        split = {"val_size": self.data.val_size, "seed": self.data.split_seed}
        return {**split, **self.data.selection}

    def upstream(self) -> Mapping[str, str]:
        return {"content of the data set": f"{self.source.name} {self.source.identity}"}

    def logged(self) -> Mapping[str, Any]:
        return {"dataset": self.data.source}

    @property
    def found_again(self) -> str:
        """The value of `dataset` that finds the data from anywhere on this machine."""
        location = self.source.location
        return location if location.endswith(".npz") else self.source.name

    def result(self, run: client.Run) -> LoggedData:
        """What a finished run of it, or one of the same data, has logged."""
        return LoggedData(
            run_id=run.info.run_id,
            dataset=self.source.name,
            location=self.source.location,
            fingerprint=run.data.tags["data_fingerprint"],
            found_again=self.found_again,
        )

    def work(self, run: StepRun, after: Sequence[client.Run]) -> None:
        splits = split_arrays(sources.load(self.source), self.data)
        run.set_tags({"dataset": splits.name, "data_fingerprint": splits.fingerprint})
        with tempfile.TemporaryDirectory() as directory:
            save(splits, Path(directory))
            run.log_directory(Path(directory), "data")
        run.log_datasets(splits, location=self.source.location)
        command = mlflow_run("prepare", self.asked, dataset=self.found_again)
        _log_description(run, splits, self.data, command)


def step_of(asked: DataSet, comparison: Comparison, *, fetch: bool = True) -> PrepareStep:
    """The step that prepares the data that is asked for.

    Raises:
        InputError: if the data set is unknown or cannot be used, or it is not cached and cannot be
            fetched or is not to be.
    """
    data = asked.data_of(comparison)
    source = sources.resolve(data.source, fetch=fetch)
    return PrepareStep(source=source, data=data, asked=asked)


def prepared(asked: DataSet, comparison: Comparison, reuse: str = "auto") -> LoggedData:
    """The data that is asked for, prepared now if no finished run has done so.

    Raises:
        InputError: if the data set is unknown, cannot be read, or is not made of images.
    """
    step = step_of(asked, comparison)
    if step.source.warning:
        progress.update(message=f"WARNING: {step.source.warning}")
    return step.result(once(step, reuse))


def _log_description(run: StepRun, splits: Splits, data: Data, command: str) -> None:
    labels = {"train": splits.y_train, "validation": splits.y_val, "test": splits.y_test}
    names = dict.fromkeys(labels, splits.class_names) | {"train": splits.trained_names}
    counts = {split: class_counts(values, names[split]) for split, values in labels.items()}
    run.log_dict(counts, "class_counts.json")
    run.log_metrics({f"{split}_images": len(values) for split, values in labels.items()})
    run.log_figure(_samples(splits), "sample_images.png")
    sizes = ", ".join(f"{len(values):,} {split}" for split, values in labels.items())
    run.set_note(
        f"{markdown.code(splits.name)}: {sizes} images of shape {splits.x_train.shape[1:]} in "
        f"{len(splits.trained_names)} classes. {' '.join(_choices(splits, data))}\n\n"
        f"SHA-256 of the arrays: `{splits.fingerprint}`. Run again: {markdown.code(command)}"
    )


def _samples(splits: Splits) -> "Figure":
    """Some images of every class, or some pairs."""
    from pipeline.report import run_figures

    if splits.pairs:
        titles = [splits.class_names[label] for label in splits.y_val[:SHOWN_PAIRS]]
        return run_figures.pairs(splits.x_val[:SHOWN_PAIRS], titles)
    # Up to five of (at most ten) classes, row by row.
    classes = range(min(splits.n_classes, 10))
    of_each = [np.flatnonzero(splits.y_train == label)[:5] for label in classes]
    shown = np.stack([row[: min(map(len, of_each))] for row in of_each], axis=1).ravel()
    images = splits.x_train[shown], splits.y_train[shown]
    return run_figures.sample_images(*images, splits.class_names)


def _choices(splits: Splits, data: Data) -> Iterator[str]:
    """What was kept, skipped, held out and paired, in sentences."""
    names = splits.trained_names
    if data.classes is not None:
        others = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        listed = ", ".join(map(markdown.escaped, names[:MOST_NAMED]))
        yield f"The classes kept are {listed}{others}, numbered from 0 in this order."
    by_class = "split by class, in an order that `split_seed` decides"
    by_position = "split by position, in the order of the data set"
    yield f"The training images are {by_class if data.split == 'stratified' else by_position}."
    if data.skipped_per_class:
        yield f"Of each class {data.skipped_per_class:,} are skipped."
    if data.val_images_per_class is None:
        yield "`val_size` are those asked for to validate; at most a fifth of all is taken."
    else:
        yield f"Of each class {data.val_images_per_class:,} are held out to validate with."
    if data.images_per_class is not None:
        yield f"Of each class {data.images_per_class:,} are trained with."
    if not data.standardized:
        yield "Pixels are brought to 0 to 1, not standardised."
    if data.pairs:
        yield (
            "The question is whether two images are of the same class. Pairs to train with are "
            "drawn anew in every epoch; to validate and to test with there are fixed ones, as many "
            "as images, half of them same."
        )
