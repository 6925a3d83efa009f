"""Runs whose process is gone: ended, or gone on with by the process that holds their step."""

import os
import time
from contextvars import ContextVar

from mlflow.entities import Run

from pipeline.base import progress
from pipeline.parameters import ENTRY_POINTS
from pipeline.steps.owners import is_step, living, shell_is_alive
from pipeline.steps.step import Step
from pipeline.tracking import client
from pipeline.tracking.runs import end_if_running, end_run
from pipeline.training.checkpoints import Checkpoints

# Where those of the step that runs are kept, a folder or a URL; set where it runs.
checkpoints: ContextVar[str] = ContextVar("checkpoints", default="checkpoints")
GONE = "its process is gone: killed, or a machine died"


def cut_off(step: Step) -> Run | None:
    """The newest run of a step, held by this process, that was cut off and can go on."""
    for run in _unfinished(step, "!= 'FINISHED'"):
        went_on = "elapsed_seconds" in run.data.metrics
        # Without its checkpoint, what it has logged could not be gone on from.
        kept = checkpoints_of(run.info.run_id)
        if "diverged" in run.data.tags:
            continue
        if not went_on or kept.exist():
            return run
        progress.update(message=f"{step.name}: begins again, since there is nothing in {kept}.")
    return None


def checkpoints_of(run_id: str) -> Checkpoints:
    """The checkpoints of a training run."""
    return Checkpoints(f"{checkpoints.get()}/{run_id}")


def end_runs_left(step: Step) -> None:
    """Mark the runs that others left RUNNING of a step that this process holds as KILLED."""
    for run in _unfinished(step, "= 'RUNNING'"):
        if run.info.run_id != os.environ.get("MLFLOW_RUN_ID"):
            end_run(run.info.run_id, "KILLED", reason=GONE)


def _unfinished(step: Step, status: str) -> list[Run]:
    query = f"tags.step_key = '{step.key}' and attributes.status {status}"
    return client.search_runs(client.experiment_id(), query)


def end_abandoned(experiment: str) -> None:
    """Mark the runs whose process is gone as KILLED; a run of a living process is left alone."""
    running = client.search_runs(experiment, "attributes.status = 'RUNNING'")
    alive = living([run for run in running if is_step(run)])
    for run in running:
        gone = run.info.run_id not in alive if is_step(run) else _shell_is_gone(run)
        if gone:
            end_if_running(run.info.run_id, "KILLED", reason=GONE)


def _shell_is_gone(run: Run) -> bool:
    """Whether nobody works for a run that `mlflow run` opened and no step has taken over."""
    if run.data.tags.get("mlflow.project.entryPoint") not in ENTRY_POINTS:
        return False
    opened = run.info.start_time / 1000
    age = time.time() - opened
    if client.tracking_uri().startswith(("sqlite:", "file:")):  # then the run is this host's
        return age > 5 and not shell_is_alive(run.info.run_id, opened=opened)
    return age > 3600
