"""What a command prints never fails it: what cannot be shown is replaced, what cannot go is lost.

A pipe may be closed (`| head -1`), a disk full, a terminal gone or of few characters; a scheduled
command has work to finish all the same.
"""

import io
import os
import sys
from contextlib import suppress
from typing import Any


class _Lossy(io.FileIO):
    """A file to which everything can be written, whether it takes it or not."""

    def write(self, content: Any) -> int:
        with suppress(OSError):
            return super().write(content) or 0
        return memoryview(content).nbytes


def never_fails() -> None:
    """Let this process print whatever becomes of its standard output and error."""
    # The next file that is opened would take the place of a closed one, and be printed into.
    while (free := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(free, True)
    os.close(free)
    for name, number in {"stdout": 1, "stderr": 2}.items():
        stream = getattr(sys, name)
        if stream is not getattr(sys, f"__{name}__"):
            continue  # it is captured by a test
        # Python has none where it was closed; by now something else may have its number.
        raw = _Lossy(number, "w", closefd=False) if stream else _Lossy(os.devnull, "w")
        line_by_line = stream is None or stream.line_buffering
        encoding = stream.encoding if stream else "utf-8"
        printed = io.TextIOWrapper(
            io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=line_by_line
        )
        setattr(sys, name, printed)


def printable(text: str, *, lines: bool = False) -> str:
    """A text without what a terminal would obey, or nobody see; lines stay where they are to."""
    kept = "\n" if lines else ""
    return "".join(one if one.isprintable() or one in kept else repr(one)[1:-1] for one in text)
