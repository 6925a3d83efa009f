"""A comparison with nothing left to do, against importing MLflow."""

import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from benchmarks import harness, outcomes
from pipeline import command

PEER = "import mlflow"
SMALL = {"variants": "elu,bn", "seeds": 1, "learning_rate": 0.0002, "epochs": 1}


class Rerun(harness.OnData):
    """What is measured."""

    dataset: str = harness.data_set("mnist_5k")
    rounds: int = harness.rounds(5)


def rerun(asked: Rerun) -> None:
    """Measure how long the whole comparison takes when all of it is reused."""
    machine = harness.describe_machine()
    again = harness.entry_point("main", dataset=asked.dataset, **SMALL)
    with tempfile.TemporaryDirectory() as project:
        directory = Path(project)
        harness.run(again, directory=directory)
        check_tensorflow_is_not_imported(again, directory)
        sides = {
            harness.OURS: lambda _: asdict(harness.run(again, directory=directory)[0]),
            PEER: lambda _: asdict(harness.run([sys.executable, "-c", "import mlflow"])[0]),
        }
        measured = harness.in_turns(sides, rounds=asked.rounds)
    by_side = measured.pivot_table("wall_seconds", "round", "side")
    more = (by_side[harness.OURS] - by_side[PEER]).tolist()
    outcomes.publish(
        "rerun",
        [
            outcomes.result("wall s", measured, "wall_seconds", peer=PEER),
            outcomes.Result(what="wall s more", ours=more, at_most=2),
        ],
        machine=machine,
        conditions={"dataset": asked.dataset, **SMALL},
        measured=measured,
        notes=["TensorFlow was not imported."],
    )


def check_tensorflow_is_not_imported(again: list[str], directory: Path) -> None:
    """Refuse a rerun that imports TensorFlow."""
    python, *arguments = again
    _, printed = harness.run(
        [python, "-X", "importtime", *arguments], directory=directory, errors=True
    )
    imported = {line.rpartition("|")[2].strip() for line in printed.splitlines() if "|" in line}
    if "mlflow" not in imported or "tensorflow" in imported:
        raise RuntimeError(f"the rerun imported TensorFlow, or nothing:\n{printed[-2000:]}")


if __name__ == "__main__":
    command.run(rerun)
