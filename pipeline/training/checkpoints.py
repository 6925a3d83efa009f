"""Checkpoints of a training run: what it needs to go on exactly where it was cut off."""

import json
import math
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after an epoch (from 1): arrays by name, and what JSON can hold."""

    epoch: int
    arrays: Mapping[str, np.ndarray]
    state: Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run; the last two are kept, so that a damaged one costs an epoch.

    A checkpoint is an uncompressed `.npz` (its checksums tell damage), written under another
    name, brought to the disk, and renamed: what has a checkpoint's name is whole. Its float32
    arrays, nearly all there are, are joined into one: a file of 170 arrays takes longer to write.
    """

    directory: Path  # the run's own

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; on an OSError (a disk that is full) the ones before it stay."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"epoch-{checkpoint.epoch:06d}.npz"
        arrays, unfinished = dict(checkpoint.arrays), path.with_suffix(".unfinished")
        names = [name for name, array in arrays.items() if array.dtype == np.float32]
        joined = {name: arrays.pop(name) for name in names}
        flat = [np.zeros(0, np.float32), *(array.ravel() for array in joined.values())]
        shapes = {name: array.shape for name, array in joined.items()}
        texts = {"shapes": shapes, "state": checkpoint.state}
        arrays |= {name: np.array(json.dumps(value).encode()) for name, value in texts.items()}
        try:
            with unfinished.open("wb") as file:
                np.savez(file, allow_pickle=False, joined=np.concatenate(flat), **arrays)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        except OSError as error:
            error.filename = error.filename or str(path)  # which disk it is
            raise
        finally:
            unfinished.unlink(missing_ok=True)
        for older in self._newest_first()[2:]:
            older.unlink()

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is not damaged, or None."""
        for path in self._newest_first():
            with suppress(Exception):  # a damaged one can raise anything
                return _read(path)
        return None

    def delete(self) -> None:
        """Delete all checkpoints, when the run's results are published."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _newest_first(self) -> list[Path]:
        return sorted(self.directory.glob("epoch-*.npz"), reverse=True)


def _read(path: Path) -> Checkpoint:
    with np.load(path, allow_pickle=False) as archive:
        arrays = dict(archive)
    state, shapes = (json.loads(arrays.pop(name).item()) for name in ("state", "shapes"))
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()], dtype=int)
    parts = np.split(arrays.pop("joined"), ends)
    for (name, shape), part in zip(shapes.items(), parts, strict=False):
        arrays[name] = part.reshape(shape)
    return Checkpoint(int(path.stem.removeprefix("epoch-")), arrays, state)
