"""How data sets are checked: that something holds, that files are whole, and have not changed."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from pipeline.base import InputError

# A file changed less than this ago is read anew each time: a clock that ticks slowly would hide
# another change soon after (FAT counts in 2 seconds).
SETTLED_SECONDS = 2


def require(holds: bool, subject: str, expected: str, received: str, action: str) -> None:
    """Raise an InputError of these four texts unless something holds."""
    if not holds:
        raise InputError(subject, expected=expected, received=received, action=action)


@contextmanager
def refused_if_damaged(subject: str, action: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an InputError; a broken file can raise anything."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        expected, received = "complete, undamaged files", f"{type(error).__name__}: {error}"
        raise InputError(subject, expected=expected, received=received, action=action) from error


def identity_of(paths: Sequence[Path]) -> str:
    """SHA-256 of a file, or of the list of SHA-256s of several; an unchanged one is read once."""
    hashes = []
    for path in paths:
        with refused_if_damaged(f"data set file {path}", "Check that it can be read."):
            found = path.stat()
            settled = time.time() - max(found.st_mtime, found.st_ctime) > SETTLED_SECONDS
            state = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
            hashes.append((_sha256 if settled else _sha256.__wrapped__)(path, *state))
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


@lru_cache(maxsize=64)
def _sha256(path: Path, *_state: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
