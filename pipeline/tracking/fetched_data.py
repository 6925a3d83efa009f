"""Data sets of a remote artifact store, fetched once for all processes of a host."""

import os
import shutil
from errno import EACCES
from pathlib import Path

from filelock import FileLock

from pipeline.base import InputError, disks, progress
from pipeline.data.splits import open_splits
from pipeline.tracking import client

KEPT = 4  # data sets; CIFAR-10 takes 184 MB


def directory(run_id: str, fingerprint: str) -> Path:
    """A local directory with the data set of a fingerprint that a `prepare` run has logged.

    Where the artifact store is remote, it is one that this user's processes share, and map into
    memory. It is fetched anew where it is not what the fingerprint tells; where it cannot be kept,
    this process has a copy of its own.
    """
    if here := client.artifact_here(run_id, "data"):
        return here
    try:
        return _shared(_cache(), run_id, fingerprint)
    except (InputError, ConnectionError):  # the server refuses, or is away
        raise
    except Exception as error:
        why = disks.failure(error) or f"{type(error).__name__}: {error}"
        progress.update(message=f"The data set is fetched for this process alone: {why}.")
        return client.local_artifact(run_id, "data")


def _cache() -> Path:
    """The folder of what this user's processes share: TWENTY_LAYERS_CACHE, or one of XDG's."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    given = os.environ.get("TWENTY_LAYERS_CACHE") or Path(caches, "twenty-layers")
    cache = Path(given, "data").absolute()
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    if cache.stat().st_uid != os.geteuid():
        raise PermissionError(EACCES, "another user's", str(cache))
    cache.chmod(0o700)
    return cache


def _shared(cache: Path, run_id: str, fingerprint: str) -> Path:
    found = cache / f"data-{fingerprint}"
    if found.parent != cache:  # a tag can hold anything
        raise PermissionError(EACCES, "no fingerprint", str(found))
    if not _is_whole(found, fingerprint):
        with FileLock(cache / "lock"):
            if not _is_whole(found, fingerprint):  # or another process has just fetched it
                _fetch(cache, run_id, found)
    os.utime(found)
    return found


def _is_whole(found: Path, fingerprint: str) -> bool:
    try:
        open_splits(found, fingerprint)
    except InputError:
        return False
    return True


def _fetch(cache: Path, run_id: str, found: Path) -> None:
    """Fetch a data set, and remove those that were not used for longest."""
    unfinished = cache / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
    unfinished.mkdir()
    try:
        fetched = client.download(run_id, "data", unfinished)
        shutil.rmtree(found, ignore_errors=True)  # damaged
        fetched.rename(found)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    newest_first = sorted(cache.glob("data-*"), key=lambda one: -one.stat().st_mtime)
    for older in newest_first[KEPT:]:
        shutil.rmtree(older, ignore_errors=True)  # who has mapped it keeps what it maps
