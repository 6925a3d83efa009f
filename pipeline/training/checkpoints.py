"""Checkpoints of a training run: what it needs to go on exactly where it was cut off."""

import json
import math
import os
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_KEPT = 2


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a run after an epoch.

    Args:
        epoch: the last finished epoch, from 1.
        arrays: weights and optimizer state by name.
        state: everything else, as JSON can hold it.
    """

    epoch: int
    arrays: Mapping[str, np.ndarray]
    state: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one run; the last two are kept, so that a damaged one costs an epoch.

    A checkpoint is an uncompressed `.npz` (its checksums tell damage), written under another
    name, brought to the disk, and renamed: what has a checkpoint's name is whole. Its float32
    arrays, nearly all there are, are joined into one: a file of 170 arrays takes longer to write.

    Args:
        directory: the run's own directory.
    """

    def __init__(self, directory: Path):
        self.directory = directory

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint.

        Raises:
            OSError: if the disk is full or read-only; the checkpoints before it stay.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / f"epoch-{checkpoint.epoch:06d}.npz"
        unfinished = path.with_suffix(".unfinished")
        try:
            with unfinished.open("wb") as file:
                np.savez(file, allow_pickle=False, **_content(checkpoint))
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
        for older in self._paths()[_KEPT:]:
            older.unlink()

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is not damaged, or None."""
        for path in self._paths():
            try:
                return _read(path)
            except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
                continue
        return None

    def delete(self) -> None:
        """Delete all checkpoints, when the run's results are published."""
        shutil.rmtree(self.directory, ignore_errors=True)

    def _paths(self) -> list[Path]:
        """The files, newest first."""
        return sorted(self.directory.glob("epoch-*.npz"), reverse=True)


def _content(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """What a file holds: the joined arrays with their shapes, the other arrays, the state."""
    arrays = checkpoint.arrays
    joined = {name: array for name, array in arrays.items() if array.dtype == np.float32}
    flat = [array.ravel() for array in joined.values()]
    return {
        **{name: array for name, array in arrays.items() if name not in joined},
        "joined": np.concatenate(flat) if flat else np.zeros(0, np.float32),
        "shapes": _as_bytes({name: array.shape for name, array in joined.items()}),
        "state": _as_bytes(checkpoint.state),
    }


def _as_bytes(content: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(content).encode(), np.uint8)


def _read(path: Path) -> Checkpoint:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    state, shapes = (json.loads(arrays.pop(name).tobytes()) for name in ("state", "shapes"))
    joined, start = arrays.pop("joined"), 0
    for name, shape in shapes.items():
        size = math.prod(shape)
        arrays[name] = joined[start : start + size].reshape(shape)
        start += size
    return Checkpoint(epoch=int(path.stem.removeprefix("epoch-")), arrays=arrays, state=state)
