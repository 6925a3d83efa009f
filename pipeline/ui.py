"""The MLflow UI of this folder's runs, opened on the comparison: `python -m pipeline.ui`."""

import os
import signal
import sys
import webbrowser
from typing import Annotated, Any, Literal

import typer

from pipeline.base import environment, layout, output, signals
from pipeline.tracking.server import ServerError, address_to_open, free_port, server

RUNNING: dict[str, Any] = {"rich_help_panel": "Running"}
PORT = typer.Option(
    help="Port; where it is taken, the next free one.",
    **{"min": 1, "max": 65535, "metavar": "whole number", **RUNNING},
)
HOST = typer.Option(help="Address to listen on.", metavar="address", **RUNNING)
OPEN = typer.Option(
    help="auto: open a browser where there is a terminal and a display.",
    metavar="auto|never",
    **RUNNING,
)


def ui(
    *,
    port: Annotated[int, PORT] = 5000,
    host: Annotated[str, HOST] = "127.0.0.1",
    open: Annotated[Literal["auto", "never"], OPEN] = "auto",
) -> None:
    """Start the MLflow UI on the runs of this folder and show the address of the comparison.

    With MLFLOW_TRACKING_URI set to a database, its runs are shown; set to a server, nothing is
    started and the address there is shown. Ctrl-C ends it.

    \b
    python -m pipeline.ui --port 5001 --open never
    """
    for ending in signals.INTERRUPTING:
        signal.signal(ending, signal.default_int_handler)
    store = os.environ.get("MLFLOW_TRACKING_URI", "")
    try:
        if store.startswith(("http://", "https://")):
            show(address_to_open(), open)
            return
        # Before the server starts: MLflow's would say in a traceback what is wrong with a database.
        opened_on = address_to_open().partition("/#")
        free = free_port(host, port)
        if free != port:
            print(f"Port {port} is taken: using {free}.", flush=True)
        with server(host=host, port=free, store=store) as (process, address):
            show("".join((address, *opened_on[1:])), open)
            print("Ctrl-C ends it.", flush=True)
            code = process.wait()
        raise ServerError(f"The MLflow server ended with code {code}.")
    except ServerError as error:
        print(f"Error: {error}", file=sys.stderr, flush=True)
        raise typer.Exit(error.code) from error
    except KeyboardInterrupt:
        print("Ended.", flush=True)


def show(address: str, open: str) -> None:
    """Print an address, and open a browser on it where someone is there to see it."""
    print(f"MLflow UI: {address}", flush=True)
    has_display = sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    if open == "auto" and has_display and sys.stdout.isatty():
        webbrowser.open(address)


if __name__ == "__main__":
    output.never_fails()
    environment.configure()
    ui.__doc__ = layout.help_text(ui.__doc__)
    typer.run(ui)
