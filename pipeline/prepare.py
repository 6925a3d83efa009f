"""Entry point `prepare`: a data set, split, measured and logged as memory-mappable arrays."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import cli, options
from pipeline.base import progress
from pipeline.data import sources, splits
from pipeline.steps import running
from pipeline.steps.code import modules_of
from pipeline.steps.keys import Step
from pipeline.steps.reuse import once
from pipeline.tracking import client, step_runs


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A finished `prepare` run.

    Args:
        run_id: the run.
        dataset: the data set's name.
        location: where the data set was read from.
        fingerprint: SHA-256 of the prepared arrays.
        parameters: what steps that read it are called with to get the same data.
    """

    run_id: str
    dataset: str
    location: str
    fingerprint: str
    parameters: Mapping[str, str]

    @property
    def directory(self) -> Path:
        """The prepared arrays, downloaded where the artifact store is remote."""
        return client.local_artifact(self.run_id, "data")

    @property
    def tags(self) -> dict[str, str]:
        """What a run on this data is tagged with."""
        return {
            "dataset": self.dataset,
            "data_fingerprint": self.fingerprint,
            "prepare_run": self.run_id,
        }


def prepare(
    *,
    dataset: options.Dataset = "auto",
    val_size: options.ValSize = 5000,
    seed: options.SplitSeed = 1,
    reuse: options.Reuse = "auto",
) -> str:
    """Prepare a data set: split it, measure the training split, log it for the other steps.

    The test set is what the data set says it is; the validation set is held out of the training
    images, in equal shares per class. Prints the run's id.
    """
    data_set = prepared(dataset=dataset, val_size=val_size, seed=seed, reuse=reuse)
    progress.update(message=f"prepare {data_set.dataset}: run {data_set.run_id}")
    return data_set.run_id


def prepared(*, dataset: str, val_size: int, seed: int, reuse: str) -> Prepared:
    """The finished `prepare` run for these parameters, run now if there is none.

    Raises:
        InputError: if the data set is unknown, cannot be read, or is not made of images.
    """
    options.check_reuse(reuse)
    source = sources.resolve(dataset)
    if source.warning:
        progress.update(message=f"WARNING: {source.warning}")
    step = step_of(source, val_size=val_size, seed=seed)
    run_id = once(
        step,
        name=f"prepare {source.name}",
        reuse=reuse,
        run=lambda: _run(step, source, dataset, val_size, seed),
    )
    return prepared_by(client.get_run(run_id), source)


def step_of(source: sources.Source, *, val_size: int, seed: int) -> Step:
    """What decides the result of preparing a source."""
    return Step(
        entry_point="prepare",
        parameters={"val_size": val_size, "seed": seed},
        sources=modules_of(__name__.replace("__main__", "pipeline.prepare")),
        packages=("numpy",),
        upstream={"content of the data set": f"{source.name} {source.identity}"},
    )


def prepared_by(run: client.Run, source: sources.Source) -> Prepared:
    """What a finished `prepare` run made of a source."""
    return Prepared(
        run_id=run.info.run_id,
        dataset=source.name,
        location=source.location,
        fingerprint=run.data.tags["data_fingerprint"],
        parameters={
            "dataset": _found_again(source),
            "val_size": run.data.params["val_size"],
            "split_seed": run.data.params["seed"],
        },
    )


def _run(step: Step, source: sources.Source, dataset: str, val_size: int, seed: int) -> str:
    parameters = {"dataset": dataset, "val_size": val_size, "seed": seed}
    with running.step_run("prepare", parameters, name=f"prepare {source.name}", step=step) as run:
        arrays = sources.load(source)
        prepared = splits.split_arrays(arrays, val_size=val_size, seed=seed)
        run.set_tags({"dataset": prepared.name, "data_fingerprint": prepared.fingerprint})
        with tempfile.TemporaryDirectory() as directory:
            splits.save(prepared, Path(directory))
            run.log_directory(Path(directory), "data")
        run.log_datasets(prepared, location=source.location)
        command = options.mlflow_run("prepare", {**parameters, "dataset": _found_again(source)})
        _log_description(run, prepared, command=command)
        return run.run_id


def _found_again(source: sources.Source) -> str:
    """The value of `dataset` that finds the data from anywhere on this machine."""
    return source.location if source.location.endswith(".npz") else source.name


def _log_description(run: step_runs.StepRun, prepared: splits.Splits, *, command: str) -> None:
    from pipeline.report import image_figures

    labels = {"train": prepared.y_train, "validation": prepared.y_val, "test": prepared.y_test}
    counts = {
        split: splits.class_counts(values, prepared.class_names) for split, values in labels.items()
    }
    run.log_dict(counts, "class_counts.json")
    run.log_metrics({f"{split}_images": len(values) for split, values in labels.items()})
    shown = _first_of_each_class(prepared.y_train, prepared.n_classes)
    run.log_figure(
        image_figures.sample_images(
            prepared.x_train[shown], prepared.y_train[shown], prepared.class_names
        ),
        "sample_images.png",
    )
    sizes = ", ".join(f"{len(values):,} {split}" for split, values in labels.items())
    run.set_note(
        f"**{prepared.name}**: {sizes} images of shape {prepared.image_shape} in "
        f"{prepared.n_classes} classes, split by class.\n\nSHA-256 of the arrays: "
        f"`{prepared.fingerprint}`. Run again: `{command}`"
    )


def _first_of_each_class(labels: np.ndarray, n_classes: int, count: int = 5) -> np.ndarray:
    """Indices of the first images of (at most ten) classes, row by row."""
    rows = [np.flatnonzero(labels == label)[:count] for label in range(min(n_classes, 10))]
    shortest = min(map(len, rows))
    return np.stack([row[:shortest] for row in rows], axis=1).ravel()


if __name__ == "__main__":
    cli.run(prepare)
