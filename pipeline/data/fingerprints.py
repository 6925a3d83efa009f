"""The fingerprint of arrays: by it they are known again, whoever could change them meanwhile."""

import hashlib
import mmap
from collections.abc import Iterator, Mapping

import numpy as np

_PART_BYTES = 4 * 2**20


def fingerprint_of(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 (hex) over names, shapes, dtypes and bytes of arrays, in the order given."""
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name} {array.shape} {array.dtype.str}\n".encode())
        for part in parts(np.atleast_1d(array)):
            digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()


def parts(array: np.ndarray) -> Iterator[np.ndarray]:
    """An array part by part, along its first axis; of a memory-mapped one, none stays in memory."""
    rows = max(1, _PART_BYTES * len(array) // max(1, array.nbytes))
    for start in range(0, len(array), rows):
        yield array[start : start + rows]
        unload(array)


def unload(array: np.ndarray) -> None:
    """Let go of the pages of a memory-mapped array; they are read again when they are used."""
    if isinstance(array.base, mmap.mmap):
        array.base.madvise(mmap.MADV_DONTNEED)
