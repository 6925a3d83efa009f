"""A lean MLflow server on this machine, and what it shows first.

Plain `mlflow ui` starts four web workers and the consumers of a job queue for GenAI, several GB in
all. One person reading runs needs one worker and no queue. What is here imports neither MLflow nor
TensorFlow, so that the process that waits for the server stays small itself.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pipeline.base import hide_passwords
from pipeline.base.signals import interrupted_afterwards

STARTED_WITHIN = 120.0  # seconds
STOPPED_WITHIN = 10.0  # seconds
PORTS_TRIED = 20


class ServerError(RuntimeError):
    """The server could not be started or read, or no port is free; the message is for a person.

    The code is what the command exits with: 2 where something that was given is wrong.
    """

    def __init__(self, message: str, code: int = 1):
        super().__init__(message)
        self.code = code


def free_port(host: str, wanted: int) -> int:
    """The wanted port of an address to listen on, or the first free one of `PORTS_TRIED` after."""
    last = min(wanted + PORTS_TRIED, 65535)
    for port in range(wanted, last + 1):
        with suppress(OSError):
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            socket.create_server((host, port), family=family).close()
            return port
    listening = f"No port from {wanted} to {last} can be listened on at {host}"
    raise ServerError(f"{listening}: give another --port.")


@contextmanager
def server(
    *, host: str, port: int, store: str = "", options: Sequence[str] = ()
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a lean MLflow server; leaving the context ends it and everything it started.

    Its store is a URI, or MLflow's own default in the working directory; `options` are further
    ones of `mlflow server`.

    Yields:
        The server's process and its address, once it answers; `ServerError` if it does not start.
    """
    listening = ("--host", host, "--port", str(port))
    lean = ("--workers", "1", "--uvicorn-opts", "--log-level warning")
    environment = os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "PYTHONWARNINGS": "ignore",  # deprecations inside MLflow
    }
    if store:  # not among the arguments: they, and a password in them, are public
        environment["MLFLOW_BACKEND_STORE_URI"] = store
    command = [sys.executable, "-m", "mlflow", "server", *listening, *lean, *options]
    reached = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    address, none = f"http://{reached}:{port}", subprocess.DEVNULL
    with _started(command, env=environment, stdin=none, stdout=none) as process:
        _wait_until_it_answers(process, address)
        yield process, address


@contextmanager
def _started(command: Sequence[str], **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    """Start a process; leaving the context ends it and everything it started."""
    process = None
    try:
        with interrupted_afterwards():  # else it could have started, and nobody would end it
            # In a session of its own: Ctrl-C reaches this process alone, which ends the others.
            process = subprocess.Popen(command, start_new_session=True, **options)
        yield process
    finally:
        if process:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server and whatever of its session is left."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOPPED_WITHIN)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait_until_it_answers(process: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + STARTED_WITHIN
    while time.monotonic() < deadline:
        if (code := process.poll()) is not None:
            raise ServerError(f"The MLflow server ended with code {code} while it started.")
        with suppress(OSError), urllib.request.urlopen(f"{address}/health", timeout=5):
            return
        time.sleep(0.2)
    within = f"within {STARTED_WITHIN:.0f} s"
    raise ServerError(f"The MLflow server did not answer at {address} {within}.")


def pages_to_open() -> dict[str, str]:
    """`views.pages_to_open`, asked by a process that ends: MLflow takes 0.2 GB.

    Raises:
        ServerError: the runs of the tracking store in force cannot be read.
    """
    command, pipe = [sys.executable, "-m", "pipeline.tracking.views"], subprocess.PIPE
    environment = os.environ | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
    with _started(command, env=environment, stdout=pipe, stderr=pipe, text=True) as asked:
        said, errors = asked.communicate()
    if asked.returncode:
        reason = hide_passwords(errors.strip().rpartition("\n")[2])
        if asked.returncode == 2:  # a refusal, which says all
            raise ServerError(reason, asked.returncode)
        raise ServerError(f"The runs cannot be read. {reason}")
    return json.loads(said.splitlines()[-1])
