"""A Dask scheduler and workers, each a process of its own in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from conftest import environment_of_a_user

DASK = Path(sys.executable).with_name("dask")
SCHEDULER = (str(DASK), "scheduler", "--port", "0", "--no-dashboard")
WORKER = (str(DASK), "worker", "--nthreads", "1", "--no-dashboard")


def environment() -> dict[str, str]:
    """This one's, without the code of this project."""
    return {name: one for name, one in environment_of_a_user().items() if name != "PYTHONPATH"}


@contextmanager
def started(folder: Path, *command: object, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs in a folder of its own, and in a process group of its own."""
    folder.mkdir()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env=environment() | variables,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def scheduler(folder: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """A scheduler; yields its address."""
    file = folder / "scheduler.json"
    with started(folder / "scheduler", *SCHEDULER, "--host", host, "--scheduler-file", file):
        yield _address_in(file)


def _address_in(file: Path) -> str:
    """What a scheduler says in its file, once it has written all of it: it is there empty first."""
    while True:
        with suppress(FileNotFoundError, json.JSONDecodeError):
            address: str = json.loads(file.read_text("utf-8"))["address"]
            return address
        time.sleep(0.05)
