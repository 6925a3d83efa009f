"""The same trainings with two jobs against one."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from typer import Option

from benchmarks import harness, outcomes
from pipeline import cli, options

PEER = "1 job"


def jobs(
    *,
    dataset: options.Dataset = "auto",
    epochs: Annotated[int, Option(help="Epochs of each training.", min=1)] = 10,
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
            return asdict(harness.run(command, directory=directory)[0])

    measured = harness.in_turns(
        {harness.OURS: lambda _: main(2), PEER: lambda _: main(1)}, rounds=rounds
    )
    outcomes.publish(
        "jobs",
        [outcomes.result("wall s", measured, "wall_seconds", peer=PEER, at_least=1.8)],
        machine=machine,
        conditions={"dataset": dataset, **given},
        measured=measured,
    )


if __name__ == "__main__":
    cli.run(jobs)
