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

from benchmarks import harness, outcomes
from benchmarks.throughput import plain
from pipeline import command
from pipeline.comparisons.twenty_layers import COMPARISON
from pipeline.parameters import parameter

PEER = "the book's recipe, extrapolated"
SEARCHED_EPOCHS = {
    variant.name: 1 if variant.schedule == "one_cycle" else 80 for variant in COMPARISON.variants
}


class Recipe(harness.OnData):
    """What is measured."""

    variants: tuple[str, ...] = parameter.asked(
        ",".join(SEARCHED_EPOCHS), "Variants to compare, separated by commas.", many=True
    )
    epochs: int = parameter.asked(2, "Epochs of the recipe timed per variant.", int)


def recipe(asked: Recipe) -> None:
    """Measure main with one seed and two jobs, searches included."""
    machine = harness.describe_machine()
    variants = ",".join(asked.variants)
    with (
        tempfile.TemporaryDirectory() as project,
        harness.prepared(asked.dataset) as (directory, conditions),
    ):
        given = {"dataset": asked.dataset, "variants": variants, "seeds": 1, "jobs": 2}
        usage, _ = harness.run(harness.entry_point("main", **given), directory=Path(project))
        ran = epochs_run(Path(project))
        seconds = {
            name: epoch_seconds(name, directory, epochs=asked.epochs) for name in asked.variants
        }
    peer = {
        clock: sum(
            seconds[name][f"epoch_{clock}_seconds"] * (SEARCHED_EPOCHS[name] + ran[name])
            for name in asked.variants
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
        conditions={**conditions, "variants": variants, "epochs timed": asked.epochs},
        notes=[
            f"{name}: the recipe's epoch takes {seconds[name]['epoch_wall_seconds']:.1f} s, times "
            f"{SEARCHED_EPOCHS[name]} + {ran[name]:.0f} epochs"
            for name in asked.variants
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
    runs = harness.runs_in(directory, "train")
    return {run.data.tags["variant"]: run.data.metrics["epochs_run"] for run in runs}


if __name__ == "__main__":
    command.run(recipe)
