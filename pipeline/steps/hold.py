"""One process at a time runs a step; runs whose process is gone are ended, or gone on with."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from mlflow.entities import Run

from pipeline.base import progress
from pipeline.parameters import ENTRY_POINTS
from pipeline.steps import ownership
from pipeline.steps.step import Step
from pipeline.tracking import client, step_runs

CHECKPOINTS = Path("checkpoints")


@contextmanager
def hold(step: Step) -> Iterator[bool]:
    """Be the one process that runs a step; yields whether another one had to be waited for.

    A lock on a file, which ends with its process, decides on this host; runs with a living owner
    tell of other hosts.
    """
    CHECKPOINTS.mkdir(exist_ok=True)
    lock = FileLock(CHECKPOINTS / f"{step.key[:32]}.lock")
    waited = False
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.update(message=f"{step.name}: waiting for {_holder(step)}, which runs it now.")
        lock.acquire()
        waited = True
    try:
        while other := _running_elsewhere(step):
            if not waited:
                progress.update(message=f"{step.name}: waiting for {_described(other)}.")
            waited = True
            time.sleep(ownership.HEARTBEAT_SECONDS)
        yield waited
    finally:
        lock.release()


def _holder(step: Step) -> str:
    running = _unfinished(step, "attributes.status = 'RUNNING'")
    return _described(running[0]) if running else "another process on this machine"


def _described(run: Run) -> str:
    tags = run.data.tags
    return f"process {tags['pid']} on {tags['host']} (run {run.info.run_id})"


def _running_elsewhere(step: Step) -> Run | None:
    """A run of the step whose owner is alive on another host (here, the lock decides)."""
    here = ownership.owner_tags()["host"]
    running = _unfinished(step, "attributes.status = 'RUNNING'")
    elsewhere = [run for run in running if run.data.tags["host"] != here]
    alive = _living(elsewhere)
    return next((run for run in elsewhere if run.info.run_id in alive), None)


def _living(runs: list[Run]) -> set[str]:
    """The ids of those of some runs whose process is still there."""
    owners = {run.info.run_id: run.data.tags for run in runs}
    return ownership.living(owners, lambda key: client.get_run(key).data.tags["heartbeat"])


def cut_off(step: Step) -> Run | None:
    """The newest run of a step that was cut off and can go on, or None.

    Args:
        step: a step whose hold this process has.
    """
    for run in _unfinished(step, "attributes.status != 'FINISHED'"):
        went_on = "elapsed_seconds" in run.data.metrics
        has_checkpoint = checkpoint_directory(run.info.run_id).exists()
        # Without its checkpoint, what it has logged could not be gone on from.
        if "diverged" not in run.data.tags and (has_checkpoint or not went_on):
            return run
    return None


def checkpoint_directory(run_id: str) -> Path:
    """Where a training run keeps its checkpoints, on the machine that trains."""
    return CHECKPOINTS / run_id


def _unfinished(step: Step, status: str) -> list[Run]:
    return client.search_runs(client.experiment_id(), f"tags.step_key = '{step.key}' and {status}")


def end_abandoned(experiment: str) -> None:
    """Mark the runs whose process is gone as KILLED; a run of a living process is left alone."""
    running = client.search_runs(experiment, "attributes.status = 'RUNNING'")
    of_steps = [run for run in running if "heartbeat" in run.data.tags]
    alive = _living(of_steps)
    abandoned = [run for run in of_steps if run.info.run_id not in alive]
    for run in running:
        shell_of = run.data.tags.get("mlflow.project.entryPoint")
        if run not in of_steps and shell_of in ENTRY_POINTS and _shell_is_gone(run):
            abandoned.append(run)
    for run in abandoned:
        step_runs.end_if_running(
            run.info.run_id, "KILLED", reason="its process is gone: killed, or a machine died"
        )


def _shell_is_gone(run: Run) -> bool:
    """Whether nobody works for a run that `mlflow run` opened and no step has taken over."""
    opened = run.info.start_time / 1000
    age = time.time() - opened
    if client.tracking_uri().startswith(("sqlite:", "file:")):  # then the run is this host's
        return age > 5 and not ownership.shell_is_alive(run.info.run_id, opened=opened)
    return age > 3600
