"""The same trainings with two jobs against one."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated

import pandas as pd
from typer import Option

from benchmarks import harness, outcomes
from pipeline import cli, options

PEER = "1 job"


def jobs(
    *,
    dataset: options.Dataset = "auto",
    epochs: Annotated[int, Option(help="Epochs of each training.", min=1)] = 30,
    rounds: harness.Rounds = 1,
) -> None:
    """Measure main with four trainings of equal length, on two workers and on one."""
    machine = harness.describe_machine()
    given = {
        "variants": "elu,selu",
        "seeds": "1,2",
        "learning_rate": 0.0002,
        "epochs": epochs,
        "patience": "none",
        "reuse": "never",
    }

    def main(jobs: int) -> harness.Row:
        with tempfile.TemporaryDirectory() as project:
            directory = Path(project)
            harness.run(harness.entry_point("prepare", dataset=dataset), directory=directory)
            command = harness.entry_point("main", dataset=dataset, jobs=jobs, **given)
            usage, _ = harness.run(command, directory=directory)
            return {**asdict(usage), "epoch_seconds": epoch_seconds(directory)}

    measured = harness.in_turns(
        {harness.OURS: lambda _: main(2), PEER: lambda _: main(1)}, rounds=rounds
    )
    outcomes.publish(
        "jobs",
        [outcomes.result("wall s", measured, "wall_seconds", peer=PEER, at_least=1.8)],
        machine=machine,
        conditions={"dataset": dataset, **given},
        measured=measured,
        notes=[_of_epochs(measured)],
    )


def epoch_seconds(directory: Path) -> float:
    """The median over the trainings in a project's store."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{directory}/mlflow.db")
    runs = client.search_runs(["0"], "tags.step = 'train'")
    return median(run.data.metrics["median_epoch_seconds"] for run in runs)


def _of_epochs(measured: pd.DataFrame) -> str:
    """How much of what is missing to 2x is that workers slow each other down."""
    seconds = measured.groupby("side")["epoch_seconds"].median()
    return (
        f"An epoch takes {seconds[harness.OURS]:.2f} s beside another worker, "
        f"{seconds[PEER]:.2f} s alone."
    )


if __name__ == "__main__":
    cli.run(jobs)
