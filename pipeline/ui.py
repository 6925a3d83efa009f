"""The MLflow UI of this folder's runs, opened on the comparison: `python -m pipeline.ui`."""

import os
import signal
import sys
import webbrowser
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from pipeline.base import environment, layout, output, signals
from pipeline.tracking.server import ServerError, free_port, pages_to_open, server

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
    """Start the MLflow UI on the runs of this folder; show the addresses of report and comparison.

    With MLFLOW_TRACKING_URI set to a database, its runs are shown; set to a server, nothing is
    started and the addresses there are shown; without any runs, that is said. Ctrl-C ends it.

    \b
    python -m pipeline.ui --port 5001 --open never
    """
    for ending in signals.INTERRUPTING:
        signal.signal(ending, signal.default_int_handler)
    store = os.environ.get("MLFLOW_TRACKING_URI", "")
    try:
        # Before the server starts: MLflow's would say in a traceback what is wrong with a database.
        pages = pages_to_open()
        if not pages:
            print("No runs yet: make run", flush=True)
            return
        if store.startswith(("http://", "https://")):
            show(pages, open)
            return
        free = free_port(host, port)
        if free != port:
            print(f"Port {port} is taken: using {free}.", flush=True)
        with server(host=host, port=free, store=store) as (process, address):
            here = {name: f"{address}/#{page.partition('/#')[2]}" for name, page in pages.items()}
            show(here, open)
            print("Ctrl-C ends it.", flush=True)
            code = process.wait()
        raise ServerError(f"The MLflow server ended with code {code}.")
    except ServerError as error:
        print(f"Error: {error}", file=sys.stderr, flush=True)
        raise typer.Exit(error.code) from error
    except KeyboardInterrupt:
        print("Ended.", flush=True)


def show(pages: Mapping[str, str], open: str) -> None:
    """Print addresses, and open a browser on the last where someone is there to see it."""
    for name, address in pages.items():
        print(f"{name}: {address}", flush=True)
    has_display = sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    if open == "auto" and has_display and sys.stdout.isatty():
        webbrowser.open(address)


if __name__ == "__main__":
    output.never_fails()
    environment.configure()
    ui.__doc__ = layout.help_text(ui.__doc__)
    typer.run(ui)
