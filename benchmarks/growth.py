"""Seconds per image and memory as the data set grows, and with less memory than it needs.

Images of random pixels, in the size of CIFAR-10's; only times and memory are looked at. A process
is given less memory by a control group (Linux, version 1, root); pages of the memory-mapped
artifact count towards it.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from typer import Option

from benchmarks import harness, outcomes
from pipeline import cli, data, environment, progress
from pipeline.variants import get_variant

VARIANT, LEARNING_RATE = "elu", 0.0002
GROUPS = Path("/sys/fs/cgroup/memory")
IMAGE_BYTES = 32 * 32 * 3


def growth(
    *,
    images: Annotated[
        str, Option(help="Training images, separated by commas.")
    ] = "10000,50000,250000,1000000",
    epochs: Annotated[int, Option(help="Epochs timed, after a warm-up epoch.", min=1)] = 1,
    memory: Annotated[
        int, Option(help="MiB given to a worker besides what it needs without images.", min=1)
    ] = 1024,
    rounds: harness.Rounds = 1,
) -> None:
    """Measure training on data sets of growing size."""
    machine = harness.describe_machine()
    counts = sorted(harness.counts("images", images))
    with tempfile.TemporaryDirectory(dir=harness.PROJECT) as stored:  # /tmp may be in memory
        rows = []
        for count in counts:
            directory = Path(stored) / str(count)
            save_images(directory, count)
            given = {"directory": str(directory), "epochs": epochs}
            rows.append(
                harness.in_turns(
                    {harness.OURS: lambda _, given=given: harness.call(train, given)},  # type: ignore[misc]
                    rounds=rounds,
                )
            )
        results = _results(counts, rows)
        base = float(rows[0].anonymous_mib.median())
        results += _limited(given, base, memory, counts[-1], rows[-1])
    outcomes.publish(
        "growth",
        results,
        machine=machine,
        conditions={"variant": VARIANT, "image": "32 x 32 x 3", "epochs timed": epochs},
        measured=pd.concat(rows, ignore_index=True),
    )


def _results(counts: list[int], rows: list[pd.DataFrame]) -> list[outcomes.Result]:
    smallest = rows[0].microseconds_per_image.tolist()
    results = []
    for count, measured in zip(counts, rows, strict=True):
        results += [
            outcomes.Result(
                what=f"{count:,} images: microseconds per image and epoch",
                ours=measured.microseconds_per_image.tolist(),
                peer=smallest,
                peer_name=f"{counts[0]:,} images",
                at_most=1.1,
            ),
            outcomes.Result(
                what=f"{count:,} images: MiB of its own", ours=measured.anonymous_mib.tolist()
            ),
        ]
    return results


def _limited(
    given: harness.Row, base: float, memory: int, count: int, enough: pd.DataFrame
) -> list[outcomes.Result]:
    """The largest data set once more, with less memory than it has bytes."""
    size = count * IMAGE_BYTES / harness.MIB
    if size <= memory:
        return []
    with group_with(round(base + memory)) as group:
        if group is None:
            progress.update(message="No control group: streaming was not measured.")
            return []
        row = harness.call(train, {**given, "group": str(group)})
    return [
        outcomes.Result(
            what=f"{count:,} images ({size:,.0f} MiB) in {memory:,} MiB: microseconds per image",
            ours=[row["microseconds_per_image"]],
            peer=enough.microseconds_per_image.tolist()[:1],
            peer_name="enough memory",
            at_most=1 / 0.8,
        )
    ]


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
    data.save(
        data.PreparedData(
            name="random",
            x_train=few[:1],
            x_val=few[:1],
            x_test=few[:1],
            **labels,
            mean=few.reshape(len(few), -1).mean(axis=0, dtype=np.float32),
            variance=few.reshape(len(few), -1).var(axis=0, dtype=np.float32),
            class_names=tuple("0123456789"),
            fingerprint="random",
        ),
        directory,
    )
    for split, size in sizes.items():  # a piece at a time, since all may not fit the memory
        path, shape = directory / f"x_{split}.npy", (size, *few.shape[1:])
        images = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
        for start in range(0, size, len(few)):
            images[start : start + len(few)] = few[: size - start]
        images.flush()


def train(directory: str, epochs: int, group: str | None = None) -> harness.Row:
    """Train; returns the time per image and the memory that is not shared with other processes."""
    if group:
        (Path(group) / "cgroup.procs").write_text(str(os.getpid()))
    environment.import_tensorflow()
    from pipeline.training import shared_trainer

    fit = shared_trainer(get_variant(VARIANT), Path(directory)).fit(
        learning_rate=LEARNING_RATE,
        epochs=epochs + 1,
        patience=None,
        seed=1,
        on_epoch=lambda _epoch, _metrics: None,
    )
    seconds = float(np.median([row["epoch_seconds"] for row in fit.history[1:]]))
    count = len(np.load(Path(directory) / "y_train.npy", mmap_mode="r"))
    status = Path("/proc/self/status").read_text().splitlines()
    (anonymous,) = (line.split()[1] for line in status if line.startswith("RssAnon:"))
    return {
        "images": count,
        "microseconds_per_image": 1e6 * seconds / count,
        "anonymous_mib": int(anonymous) * 1024 / harness.MIB,
    }


if __name__ == "__main__":
    cli.run(growth)
