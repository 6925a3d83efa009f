"""Opening prepared data, whose content is checked, against mapping the files alone."""

from pathlib import Path

import numpy as np

from benchmarks import harness, outcomes
from pipeline import command
from pipeline.data.splits import open_splits

PEER = "np.load"


class Opening(harness.OnData):
    """What is measured."""

    rounds: int = harness.rounds(5)


def opening(asked: Opening) -> None:
    """Measure what checking the content of prepared data takes, and the memory of the process."""
    machine = harness.describe_machine()
    with harness.prepared(asked.dataset) as (directory, conditions):
        given = {"directory": str(directory)}
        sides = {
            harness.OURS: lambda _: harness.call(checked, given),
            PEER: lambda _: harness.call(mapped, given),
        }
        measured = harness.in_turns(sides, rounds=asked.rounds)
    outcomes.publish(
        "opening",
        [
            outcomes.result("wall s", measured, "wall_seconds", at_most=0.3),
            outcomes.result("CPU s", measured, "cpu_seconds", at_most=0.3),
            outcomes.result("peak MiB", measured, "peak_mib", peer=PEER, at_most=1.3),
        ],
        machine=machine,
        conditions=conditions,
        measured=measured,
        notes=["Once in a process; of files that another process has just read or written."],
    )


def checked(directory: str) -> harness.Row:
    """Open prepared data as every step does."""
    splits, used = harness.timed(lambda: open_splits(Path(directory)))
    return {"images": len(splits.x_train), **used}


def mapped(directory: str) -> harness.Row:
    """Map the same files, and believe them."""
    paths = Path(directory).glob("*.npy")
    arrays, used = harness.timed(
        lambda: {path.stem: np.load(path, mmap_mode="r") for path in paths}
    )
    return {"images": len(arrays["x_train"]), **used}


if __name__ == "__main__":
    command.run(opening)
