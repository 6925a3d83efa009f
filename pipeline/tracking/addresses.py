"""Where a person opens a run: pages of the MLflow UI, and files of a store on this machine."""

from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from mlflow.entities import Run

from pipeline.tracking.store import tracking_uri

TRAINING = "?workflowType=machine_learning"  # among the UI's pages for training; those for GenAI
# come first, and of an experiment they show nothing of ours.
SERVER = "http://127.0.0.1:5000"  # where `make ui` answers


def server_address() -> str:
    """The address of the MLflow UI, without the credentials of a tracking server's."""
    parts = urlsplit(tracking_uri())
    if parts.scheme not in ("http", "https"):
        return SERVER
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def run_page(experiment: str, run_id: str) -> str:
    """The page of a run in the MLflow UI, as a fragment of the server's address."""
    return f"/#/experiments/{experiment}/runs/{run_id}{TRAINING}"


def artifact_page(run: Run, path: str) -> str:
    """The page of a run that opens on an artifact."""
    page = run_page(run.info.experiment_id, run.info.run_id).removesuffix(TRAINING)
    return f"{page}/artifacts/{quote(path)}{TRAINING}"


def runs_page(experiment: str, query: str) -> str:
    """The table of the runs that a query finds."""
    shown = f"searchFilter={quote(query)}&workflowType=machine_learning"
    return f"/#/experiments/{experiment}/runs?{shown}"


def view_page(experiment: str, view_id: str, opens_on: str) -> str:
    """The page of a saved view, which opens on its CHART or its TABLE."""
    shown = f"viewStateShareKey={view_id}&compareRunsMode={opens_on}"
    return f"/#/experiments/{experiment}/runs?{shown}&workflowType=machine_learning"


def local_file(run: Run, path: str) -> Path | None:
    """The file that an artifact is in, where the artifact store is a folder of this machine."""
    root = urlsplit(run.info.artifact_uri)
    if root.scheme not in ("", "file"):
        return None
    file = Path(unquote(root.path), path)
    return file if file.exists() else None


def where(what: str, run: Run, path: str = "") -> str:
    """Where a run, or a page among its artifacts, is opened, in a line for a person."""
    server, after = server_address(), ", after `make ui`"
    if path and (file := local_file(run, path)):
        rest = "`make ui` has the rest" if server == SERVER else f"the rest is on {server}"
        return f"{what} ({rest}): {file.resolve().as_uri()}"
    page = artifact_page(run, path) if path else run_page(run.info.experiment_id, run.info.run_id)
    return f"{what}{after * (server == SERVER)}: {server}{page}"
