"""A disk that takes nothing more: not every library says so by an error number."""

import os
import re
import shutil
import tempfile
from errno import EACCES, EDQUOT, EFBIG, EIO, ENOSPC, EPERM, EROFS

LITTLE = 1024  # MiB; CIFAR-10 takes a fifth of it
_NUMBERS = (ENOSPC, EDQUOT, EFBIG, EROFS, EACCES, EPERM, EIO)
# Of NumPy, SQLite, and those that pass the system's own words on in an error of theirs.
_WORDS = re.compile(
    r"\d+ requested and \d+ written|disk is full|disk I/O error|readonly database|"
    r"No space left on device|Disk quota exceeded"
)


def failure(error: BaseException) -> str | None:
    """What a disk did to a command, in one line; None where an error is of another kind.

    Where the file is not named, the line says where there is little room.
    """
    if isinstance(error, OSError) and error.errno in _NUMBERS:
        said = str(error)
    elif found := _WORDS.search(str(error)):
        said = next(line for line in str(error).splitlines() if found[0] in line)
    else:
        return failure(error.__cause__) if error.__cause__ else None
    folders = [] if getattr(error, "filename", None) else [os.getcwd(), tempfile.gettempdir()]
    free = {folder: shutil.disk_usage(folder).free / 2**20 for folder in folders}
    little = [f"{free[folder]:.1f} MiB in {folder}" for folder in folders if free[folder] < LITTLE]
    return f"{said} (free: {', '.join(little)})" if little else said
