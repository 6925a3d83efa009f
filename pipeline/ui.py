"""The MLflow UI of this folder's runs, opened on the comparison: `python -m pipeline.ui`.

Plain `mlflow ui` starts four web workers and the consumers of a job queue for GenAI, several GB in
all. One person reading runs needs one worker and no queue. This process stays small itself: it
imports neither MLflow nor TensorFlow.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Literal, NoReturn

import typer

from pipeline.base import environment

STARTED_WITHIN = 120.0  # seconds
STOPPED_WITHIN = 10.0  # seconds
PORTS_TRIED = 20


def ui(
    *,
    port: Annotated[
        int, typer.Option(help="Port; where it is taken, the next free one.", min=1, max=65535)
    ] = 5000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    open: Annotated[
        Literal["auto", "never"],
        typer.Option(help="auto: open a browser where there is a terminal and a display."),
    ] = "auto",
) -> None:
    """Start the MLflow UI on the runs of this folder and show the address of the comparison.

    With MLFLOW_TRACKING_URI set to a database, its runs are shown; set to a server, nothing is
    started and the address there is shown. Ctrl-C ends it.
    """
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    store = os.environ.get("MLFLOW_TRACKING_URI", "")
    try:
        if store.startswith(("http://", "https://")):
            show(_address_to_open(store), open)
            return
        with server(host=host, port=free_port(host, port), store=store) as (process, address):
            show(_address_to_open(address), open)
            print("Ctrl-C ends it.", flush=True)
            process.wait()
        _fail(f"The MLflow server ended with code {process.returncode}.")
    except KeyboardInterrupt:
        print("Ended.", flush=True)


def free_port(host: str, wanted: int) -> int:
    """The wanted port, or the first free one after it, which is said.

    Args:
        host: the address to listen on.
        wanted: the first port tried.
    """
    last = min(wanted + PORTS_TRIED, 65535)
    port = next((port for port in range(wanted, last + 1) if _is_free(host, port)), None)
    if port is None:
        _fail(f"No port from {wanted} to {last} can be listened on at {host}: give another --port.")
    if port != wanted:
        print(f"Port {wanted} is taken: using {port}.", flush=True)
    return port


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


@contextmanager
def server(
    *, host: str, port: int, store: str = ""
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a lean MLflow server; leaving the context ends it and everything it started.

    Args:
        host: the address to listen on.
        port: a free port.
        store: URI of the store; empty: MLflow's own default in the working directory.

    Yields:
        The server's process and its address, once it answers.
    """
    arguments = ("--host", host, "--port", str(port), "--workers", "1")
    quiet = ("--uvicorn-opts", "--log-level warning")
    # In a session of its own, so that Ctrl-C reaches this process alone, which ends the others.
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *arguments, *quiet],
        env=_environment(store),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    reached = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    address = f"http://{reached}:{port}"
    try:
        _wait_until_it_answers(process, address)
        yield process, address
    finally:
        _stop(process)


def _environment(store: str) -> dict[str, str]:
    # The store goes through the environment: arguments, and a password in them, are public.
    chosen = {"MLFLOW_BACKEND_STORE_URI": store} if store else {}
    return os.environ | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "PYTHONWARNINGS": "ignore",  # deprecations inside MLflow
        **chosen,
    }


def _wait_until_it_answers(process: subprocess.Popen[bytes], address: str) -> None:
    deadline = time.monotonic() + STARTED_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            _fail(f"The MLflow server ended with code {process.returncode} while it started.")
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    _fail(f"The MLflow server did not answer at {address} within {STARTED_WITHIN:.0f} s.")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOPPED_WITHIN)
    with suppress(ProcessLookupError):  # whatever of its session is left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _address_to_open(address: str) -> str:
    """The comparison's address on a server, asked by a process that ends: MLflow takes 0.2 GB."""
    asked = subprocess.run(
        [sys.executable, "-m", "pipeline.tracking.views"],
        env=os.environ | {"MLFLOW_TRACKING_URI": address, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"},
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    if asked.returncode:
        reason = asked.stderr.strip().rpartition("\n")[2]
        shown = re.sub(r"//\S*@", "//", reason)  # without a password in the server's address
        _fail(f"The runs cannot be read from the MLflow server. {shown}")
    return asked.stdout.splitlines()[-1]


def show(address: str, open: str) -> None:
    """Print an address, and open a browser on it where someone is there to see it."""
    print(f"MLflow UI: {address}", flush=True)
    has_display = sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    if open == "auto" and has_display and sys.stdout.isatty():
        webbrowser.open(address)


def _fail(message: str) -> NoReturn:
    print(f"Error: {message}", file=sys.stderr, flush=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    environment.configure()
    typer.run(ui)
