"""Checkpoints of a training run: what it needs to go on exactly where it was cut off."""

import io
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from errno import EIO
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import fsspec
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from pipeline.base import progress

WAIT_SECONDS = 60.0  # for an object store that is away


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after an epoch (from 1): arrays by name, and what JSON can hold."""

    epoch: int
    arrays: Mapping[str, np.ndarray]
    state: Mapping[str, Any]


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one run; the last two are kept, so that a damaged one costs an epoch.

    A checkpoint is an uncompressed `.npz` (its checksums tell damage). In a folder it is written
    under another name, brought to the disk, and renamed, in an object store put at once: what has a
    checkpoint's name is whole. Its float32 arrays, nearly all there are, are joined into one: a
    file of 170 arrays takes longer to write.
    """

    location: str | os.PathLike[str]  # the run's own: a folder, or a URL of fsspec

    def __str__(self) -> str:
        path = self._path
        return path if self._is_local else self._files.unstrip_protocol(path)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint; on an OSError (a disk or a store that is full) those before stay."""
        path = f"{self._path}/epoch-{checkpoint.epoch:06d}.npz"
        if self._is_local:
            _write(checkpoint, Path(path))
        else:
            _pack(checkpoint, content := io.BytesIO())
            self._asked(self._files.pipe_file, path, content.getvalue())
        for older in self._newest_first()[2:]:
            self._asked(self._files.rm_file, older)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is not damaged, or None."""
        for path in self._newest_first():
            content = self._asked(self._files.cat_file, path, absent=b"")
            with suppress(Exception):  # a damaged one can raise anything
                return _unpacked(content, Path(path).stem)
        return None

    def exist(self) -> bool:
        """Whether there is one, damaged or not."""
        return bool(self._newest_first())

    def move_to(self, other: "Checkpoints") -> None:
        """Let another run go on from the newest one."""
        if newest := self.newest():
            other.save(newest)
        self.delete()

    def delete(self) -> None:
        """Delete all checkpoints, when the run's results are published."""
        with suppress(Exception):  # they are needed no more
            self._files.rm(self._path, recursive=True)

    def _newest_first(self) -> list[str]:
        paths = self._asked(self._files.ls, self._path, absent=[], detail=False)
        return sorted((path for path in paths if Path(path).match("epoch-*.npz")), reverse=True)

    @property
    def _files(self) -> Any:
        return self._store[0]

    @property
    def _path(self) -> str:
        return self._store[1]

    @property
    def _is_local(self) -> bool:
        return isinstance(self._files, LocalFileSystem)

    @cached_property
    def _store(self) -> tuple[Any, str]:
        if "://" not in str(self.location):
            return LocalFileSystem(), str(Path(self.location).expanduser().absolute())
        # Workers elsewhere write to the same place: what was listed before is not to be trusted.
        return fsspec.url_to_fs(self.location, use_listings_cache=False)

    def _asked(self, call: Callable[..., Any], path: str, *others: Any, **named: Any) -> Any:
        """What the file system answers, or `absent` where there is no such path.

        A store that is not of this machine may be away for a moment: it is asked again.

        Raises:
            OSError: if it does not do what it is asked for.
        """
        absent = [named.pop("absent")] if "absent" in named else []
        began, pause = time.monotonic(), 1.0
        while True:
            try:
                return call(path, *others, **named)
            except Exception as error:  # every store has errors of its own
                missing = isinstance(error, FileNotFoundError)
                if absent and (missing or self._is_local):  # what cannot be read is damaged
                    return absent[0]
                if self._is_local:
                    raise
                reason = f"{type(error).__name__}: {error}".partition("\n")[0]
                left = began + WAIT_SECONDS - time.monotonic()
                if left <= 0 or missing or isinstance(error, PermissionError):
                    where = self._files.unstrip_protocol(path)
                    raise OSError(
                        EIO, f"the store of checkpoints fails ({reason})", where
                    ) from error
            if pause == 1.0:
                waiting = f"waiting for it for up to {WAIT_SECONDS:.0f} s ({reason})."
                progress.update(message=f"The store of checkpoints fails: {waiting}")
            time.sleep(min(pause, left))
            pause *= 2


def packages_for(location: str) -> list[str]:
    """The packages by which a place of checkpoints is reached, besides this one's own."""
    if "://" not in location:
        return []
    return [fsspec.get_filesystem_class(location.partition("://")[0]).__module__.partition(".")[0]]


def _write(checkpoint: Checkpoint, path: Path) -> None:
    """Write a file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    try:
        with unfinished.open("wb") as file:
            _pack(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # which disk it is
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def _pack(checkpoint: Checkpoint, file: BinaryIO) -> None:
    arrays = dict(checkpoint.arrays)
    names = [name for name, array in arrays.items() if array.dtype == np.float32]
    joined = {name: arrays.pop(name) for name in names}
    flat = [np.zeros(0, np.float32), *(array.ravel() for array in joined.values())]
    shapes = {name: array.shape for name, array in joined.items()}
    texts = {"shapes": shapes, "state": checkpoint.state}
    arrays |= {name: np.array(json.dumps(value).encode()) for name, value in texts.items()}
    np.savez(file, allow_pickle=False, joined=np.concatenate(flat), **arrays)


def _unpacked(content: bytes, name: str) -> Checkpoint:
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        arrays = dict(archive)
    state, shapes = (json.loads(arrays.pop(name).item()) for name in ("state", "shapes"))
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()], dtype=int)
    parts = np.split(arrays.pop("joined"), ends)
    for (array, shape), part in zip(shapes.items(), parts, strict=False):
        arrays[array] = part.reshape(shape)
    return Checkpoint(int(name.removeprefix("epoch-")), arrays, state)
