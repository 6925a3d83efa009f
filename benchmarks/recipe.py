"""The whole comparison with two jobs, against the book's recipe for the same five variants.

The recipe ("Hands-On Machine Learning", chapter 11, exercise 8) is plain `Model.fit`: for every
variant eight learning rates of ten epochs each (for 1cycle one epoch of rising rates), then a
training with early stopping, one after the other. It would take hours, so it is extrapolated: its
epochs are timed, and multiplied by those of its search and by those that the pipeline's own
training of that variant ran, with the same patience.
"""

import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated

from pipeline.comparisons.variants import VARIANTS
from typer import Option

from benchmarks import harness, outcomes
from benchmarks.throughput import plain
from pipeline import cli, options

PEER = "the book's recipe, extrapolated"
SEARCHED_EPOCHS = {name: 1 if name == "one_cycle" else 80 for name in VARIANTS}


def recipe(
    *,
    dataset: options.Dataset = "auto",
    variants: options.Variants = "elu,bn,selu,alpha_dropout,one_cycle",
    epochs: Annotated[int, Option(help="Epochs of the recipe timed per variant.", min=1)] = 2,
) -> None:
    """Measure main with one seed and two jobs, searches included."""
    machine = harness.describe_machine()
    names = options.split_list("variants", variants)
    with (
        tempfile.TemporaryDirectory() as project,
        harness.prepared(dataset) as (directory, conditions),
    ):
        command = harness.entry_point("main", dataset=dataset, variants=variants, seeds=1, jobs=2)
        usage, _ = harness.run(command, directory=Path(project))
        ran = epochs_run(Path(project))
        seconds = {name: epoch_seconds(name, directory, epochs=epochs) for name in names}
    peer = {
        clock: sum(
            seconds[name][f"epoch_{clock}_seconds"] * (SEARCHED_EPOCHS[name] + ran[name])
            for name in names
        )
        for clock in ("wall", "cpu")
    }
    used = asdict(usage)
    outcomes.publish(
        "recipe",
        [
            outcomes.Result(
                what=f"{clock} s",
                ours=[used[f"{clock}_seconds"]],
                peer=[peer[clock]],
                peer_name=PEER,
                at_least=10,
            )
            for clock in ("wall", "cpu")
        ],
        machine=machine,
        conditions={**conditions, "variants": variants, "epochs timed": epochs},
        notes=[
            f"{name}: the recipe's epoch takes {seconds[name]['epoch_wall_seconds']:.1f} s, times "
            f"{SEARCHED_EPOCHS[name]} + {ran[name]:.0f} epochs"
            for name in names
        ],
    )


def epoch_seconds(variant: str, directory: Path, *, epochs: int) -> harness.Row:
    """Seconds of the recipe's epoch of a variant, the median, by clock."""
    given = {"side": "Model.fit", "variant": variant, "seed": 1, "learning_rate": 0.0002}
    size = {"directory": str(directory), "epochs": epochs, "alternating": False}
    row = harness.call(plain, {**given, **size})
    return {name: median(row[name]) for name in ("epoch_wall_seconds", "epoch_cpu_seconds")}


def epochs_run(directory: Path) -> dict[str, float]:
    """By variant, the epochs that its training in a project's store ran."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{directory}/mlflow.db")
    runs = client.search_runs(["0"], "tags.step = 'train'")
    return {run.data.tags["variant"]: run.data.metrics["epochs_run"] for run in runs}


if __name__ == "__main__":
    cli.run(recipe)
