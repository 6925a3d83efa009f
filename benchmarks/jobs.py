"""The same trainings with two jobs against one, and what the machine lets two processes gain."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from statistics import median

import pandas as pd

from benchmarks import harness, outcomes
from benchmarks.throughput import compiled
from pipeline import command
from pipeline.parameters import parameter

PEER = "1 job"
ALONE, TOGETHER = "a process that only trains", "two of them at once"
LEARNING_RATE = 0.0002


class Jobs(harness.OnData):
    """What is measured."""

    epochs: int = parameter.asked(30, "Epochs of each training.", int)
    rounds: int = harness.rounds(1)


def jobs(asked: Jobs) -> None:
    """Measure main with four trainings of equal length, on two workers and on one."""
    machine = harness.describe_machine()
    given = {
        "variants": "elu,selu",
        "seeds": "1,2",
        "learning_rate": LEARNING_RATE,
        "epochs": asked.epochs,
        "patience": "none",
        "reuse": "never",
    }

    def main(jobs: int) -> harness.Row:
        with harness.project(asked.dataset) as project:
            trainings = harness.entry_point("main", jobs=jobs, dataset=asked.dataset, **given)
            usage, _ = harness.run(trainings, directory=project)
            return {**asdict(usage), "epoch_seconds": epoch_seconds(project)}

    with harness.prepared(asked.dataset) as (prepared, conditions):

        def training(processes: int) -> harness.Row:
            return at_once(processes, directory=str(prepared), epochs=min(asked.epochs, 10))

        measured = harness.in_turns(
            {
                harness.OURS: lambda _: main(2),
                PEER: lambda _: main(1),
                TOGETHER: lambda _: training(2),
                ALONE: lambda _: training(1),
            },
            rounds=asked.rounds,
        )
    outcomes.publish(
        "jobs",
        [outcomes.result("wall s", measured, "wall_seconds", peer=PEER, at_least=1.8)],
        machine=machine,
        conditions={**conditions, **given},
        measured=measured,
        notes=epoch_notes(measured),
    )


def epoch_seconds(directory: Path) -> float:
    """The median over the trainings in a project's store."""
    runs = harness.runs_in(directory, "train")
    return median(run.data.metrics["median_epoch_seconds"] for run in runs)


def at_once(processes: int, *, directory: str, epochs: int) -> harness.Row:
    """An epoch of processes that train at the same time, without Dask, Optuna and MLflow."""
    training = {"variant": "elu", "seed": 1, "learning_rate": LEARNING_RATE, "alternating": False}
    given = {**training, "directory": directory, "epochs": epochs}
    with ThreadPoolExecutor(processes) as threads:
        running = [threads.submit(harness.call, compiled, given) for _ in range(processes)]
        rows = [one.result() for one in running]
    return {"epoch_seconds": median(second for row in rows for second in row["epoch_wall_seconds"])}


def epoch_notes(measured: pd.DataFrame) -> list[str]:
    """How much of what is missing to 2x is that processes slow each other down."""
    seconds = measured.groupby("side")["epoch_seconds"].median()
    return [
        f"An epoch of main takes {seconds[harness.OURS]:.2f} s beside another worker, "
        f"{seconds[PEER]:.2f} s alone.",
        f"An epoch of a process that only trains takes {seconds[TOGETHER]:.2f} s beside another, "
        f"{seconds[ALONE]:.2f} s alone: on this machine two processes that do nothing else train "
        f"{2 * seconds[ALONE] / seconds[TOGETHER]:.2f} times as many epochs as one.",
    ]


if __name__ == "__main__":
    command.run(jobs)
