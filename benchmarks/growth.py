"""Seconds per image and memory as the data set grows, and with less memory than it needs.

Images of random pixels, in the size of CIFAR-10's; only times and memory are looked at. A process
is given less memory by a control group (Linux, version 1, root); pages of the memory-mapped
artifact count towards it.
"""

import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import harness, outcomes
from pipeline import command
from pipeline.base import progress
from pipeline.comparisons.files import find_variant
from pipeline.data.splits import Splits
from pipeline.parameters import Parameters, parameter
from pipeline.training import runtime

VARIANT, LEARNING_RATE = "elu", 0.0002
GROUPS = Path("/sys/fs/cgroup/memory")
IMAGE_BYTES = 32 * 32 * 3
LIMITED = "the most images in less memory"


class Growth(Parameters):
    """What is measured."""

    images: tuple[int, ...] = parameter.asked(
        "10000,50000,250000,1000000",
        "Training images, separated by commas.",
        int,
        most=10**9,
        many=True,
    )
    timed: int = parameter.asked(
        250_000, "Images timed at least, in whole epochs after a first one.", int, most=10**9
    )
    memory: int = parameter.asked(
        1024, "MiB given to a worker besides what it needs without images.", int
    )
    rounds: int = harness.rounds(3)


def growth(asked: Growth) -> None:
    """Measure training on data sets of growing size."""
    machine = harness.describe_machine()
    counts = sorted(asked.images)
    with tempfile.TemporaryDirectory(dir=harness.PROJECT) as stored:  # /tmp may be in memory
        given = {}
        for count in counts:
            directory = Path(stored) / str(count)
            save_images(directory, count)
            given[_name(count)] = {
                "directory": str(directory),
                "epochs": math.ceil(asked.timed / count),
            }
        smallest = {**given[_name(counts[0])], "epochs": 1}
        needed = harness.call(train, smallest)["anonymous_mib"]
        size = counts[-1] * IMAGE_BYTES / harness.MIB
        with group_with(round(needed + asked.memory)) as group:
            if size <= asked.memory:
                progress.update(message="All images fit the memory: streaming is not measured.")
            elif group is None:
                progress.update(message="No control group: streaming is not measured.")
            else:
                given[LIMITED] = {**given[_name(counts[-1])], "group": str(group)}
            sides = {
                name: lambda _, arguments=arguments: harness.call(train, arguments)
                for name, arguments in given.items()
            }
            measured = harness.in_turns(sides, rounds=asked.rounds)  # type: ignore[arg-type]
    outcomes.publish(
        "growth",
        _results(counts, measured),
        machine=machine,
        conditions={"variant": VARIANT, "image": "32 x 32 x 3", "images timed": asked.timed},
        measured=measured,
        notes=[f"{LIMITED}: {size:,.0f} MiB of images, of which {asked.memory:,} MiB fit."],
    )


def _name(count: int) -> str:
    return f"{count:,} images"


def _results(counts: list[int], measured: pd.DataFrame) -> list[outcomes.Result]:
    def by_round(side: str, column: str) -> list[float]:
        return measured[measured.side == side].sort_values("round")[column].tolist()

    compared = [(_name(count), _name(counts[0]), 1.1) for count in counts[1:]]
    if LIMITED in set(measured.side):
        compared.append((LIMITED, _name(counts[-1]), 1 / 0.8))
    times = [
        outcomes.Result(
            what=f"{side}: {clock} microseconds per image and epoch",
            ours=by_round(side, column),
            peer=by_round(peer, column),
            peer_name=peer,
            at_most=at_most,
        )
        for side, peer, at_most in compared
        for clock, column in (("wall", "wall_per_image"), ("CPU", "cpu_per_image"))
    ]
    memory = [
        outcomes.Result(what=f"{side}: MiB of its own", ours=by_round(side, "anonymous_mib"))
        for side in dict.fromkeys(measured.side)
    ]
    return times + memory


@contextmanager
def group_with(mib: int) -> Iterator[Path | None]:
    """A control group of so much memory; None where there can be none."""
    group = GROUPS / f"twenty-layers-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(mib * harness.MIB))
    except OSError:
        yield None
        return
    try:
        yield group
    finally:
        group.rmdir()


def save_images(directory: Path, count: int) -> None:
    """Write prepared data with so many training images, and a tenth as many to validate on."""
    random = np.random.default_rng(0)
    few = random.integers(0, 256, (1000, 32, 32, 3), dtype=np.uint8)
    sizes = {"train": count, "val": count // 10, "test": 100}
    labels = {
        f"y_{split}": random.integers(0, 10, size).astype(np.int32) for split, size in sizes.items()
    }
    features = few.reshape(len(few), -1).astype(np.float32)
    scale = {"mean": features.mean(axis=0), "variance": features.var(axis=0)}
    directory.mkdir(exist_ok=True)
    for name, array in {**labels, **scale}.items():
        np.save(directory / f"{name}.npy", array)
    for split, size in sizes.items():  # a piece at a time, since all may not fit the memory
        path, shape = directory / f"x_{split}.npy", (size, *few.shape[1:])
        images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        for start in range(0, size, len(few)):
            images[start : start + len(few)] = few[: size - start]
        images.flush()


def open_images(directory: Path) -> Splits:
    """What `save_images` wrote, unchecked: that alone would read all images once."""
    arrays = {path.stem: np.load(path, mmap_mode="r") for path in directory.glob("*.npy")}
    names = tuple("0123456789")
    return Splits(name="random", class_names=names, fingerprint="random", **arrays)


def train(directory: str, epochs: int, group: str | None = None) -> harness.Row:
    """Train; returns the times per image, and the memory that no other process shares.

    Args:
        directory: of the prepared data.
        epochs: those that are timed; one more is trained before.
        group: the control group in which to train, with nothing of the data in memory.
    """
    if group:
        _drop_from_memory(Path(directory))
        (Path(group) / "cgroup.procs").write_text(str(os.getpid()))
    runtime.import_tensorflow()
    from pipeline.training.trainer import shared_trainer

    clocks: list[tuple[float, float]] = []
    shared_trainer(find_variant(VARIANT)[0], open_images(Path(directory))).fit(
        learning_rate=LEARNING_RATE,
        epochs=epochs + 1,
        patience=None,
        seed=1,
        on_epoch=lambda *_: clocks.append((time.perf_counter(), time.process_time())),
    )
    images = len(np.load(Path(directory) / "y_train.npy", mmap_mode="r"))
    wall, cpu = np.subtract(clocks[-1], clocks[0]) * 1e6 / (epochs * images)
    status = Path("/proc/self/status").read_text().splitlines()
    (anonymous,) = (line.split()[1] for line in status if line.startswith("RssAnon:"))
    return {
        "images": images,
        "wall_per_image": float(wall),
        "cpu_per_image": float(cpu),
        "anonymous_mib": int(anonymous) * 1024 / harness.MIB,
    }


def _drop_from_memory(directory: Path) -> None:
    # Pages that another process has read do not count towards the group's memory.
    for path in directory.glob("*.npy"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    command.run(growth)
