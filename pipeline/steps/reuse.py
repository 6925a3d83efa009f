"""One run per step: a finished one is reused, one that was cut off goes on, no two at a time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from mlflow.entities import Run

from pipeline.base import progress
from pipeline.steps import ownership, running
from pipeline.steps.keys import Step, recorded_inputs
from pipeline.tracking import client, step_runs

CHECKPOINTS = Path("checkpoints")


def once(
    step: Step, *, name: str, reuse: str, run: Callable[[], str], announce: bool = True
) -> str:
    """The id of the step's run: the finished one, or one made now by this process alone.

    Args:
        step: what decides the result.
        name: the step's name, for messages.
        reuse: ``auto``, or ``never`` to run it again in any case.
        run: runs the step and returns the id of its run.
        announce: whether to say what is reused or why it is not.
    """
    end_abandoned(client.experiment_id())
    if found := reusable(step, name=name, reuse=reuse, announce=announce):
        return found.info.run_id
    with _hold(step, name) as waited:
        # Another process may have finished it just before.
        found = reusable(step, name=name, reuse=reuse, announce=waited)
        return found.info.run_id if found else run()


@contextmanager
def _hold(step: Step, name: str) -> Iterator[bool]:
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
        progress.update(message=f"{name}: waiting for {_holder(step)}, which runs it now.")
        lock.acquire()
        waited = True
    try:
        while other := _running_elsewhere(step):
            if not waited:
                progress.update(message=f"{name}: waiting for {_described(other)}.")
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
        if run not in of_steps and shell_of in step_runs.ENTRY_POINTS and _shell_is_gone(run):
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


def reusable(step: Step, *, name: str, reuse: str, announce: bool = True) -> Run | None:
    """The finished run to use instead of running a step again; says which, or why there is none.

    Args:
        step: what decides the result.
        name: the step's name, for the message.
        reuse: ``auto``, or ``never`` to run it again in any case.
        announce: whether to say what was found; not where `main` has said it already.
    """
    experiment = client.experiment_id()
    found = None if reuse == "never" else find_finished(step, experiment)
    if announce:
        progress.update(message=f"{name}: {_decision(step, found, experiment, reuse)}")
    if found is None:
        return None
    running.link_adopted_run(
        step.entry_point, found, verb="reused", note="is finished and has the same inputs."
    )
    return found


def _decision(step: Step, found: Run | None, experiment: str, reuse: str) -> str:
    if found:
        return f"reused {found.info.run_name} (same inputs, {found.info.run_id})"
    reason = "reuse=never" if reuse == "never" else explain_miss(step, experiment)
    return f"to run ({reason})"


def find_finished(step: Step, experiment: str) -> Run | None:
    """The newest finished run with the step's key, or None."""
    return _newest(f"tags.step_key = '{step.key}' and attributes.status = 'FINISHED'", experiment)


def explain_miss(step: Step, experiment: str) -> str:
    """Why no finished run of a step can be reused: what differs from the nearest one."""
    same = [f"tags.step = '{step.entry_point}'", "attributes.status = 'FINISHED'"]
    for name in ("variant", "seed"):
        if name in step.parameters:
            same.append(f"params.{name} = '{step.parameters[name]}'")
    nearest = _newest(" and ".join(same), experiment)
    if nearest is None:
        return "no finished run of it yet"
    before = recorded_inputs(nearest.data.tags)
    if not before:
        return "its inputs changed"
    changes = [
        f"{name} changed{_from_to(name, before.get(name), step.inputs.get(name))}"
        for name in {**before, **step.inputs}
        if before.get(name) != step.inputs.get(name)
    ]
    return "; ".join(changes) or "its run was not finished"


def _from_to(name: str, before: str | None, now: str | None) -> str:
    return f" from {before} to {now}" if name.startswith(("parameter", "version")) else ""


def _newest(filter_string: str, experiment: str) -> Run | None:
    found = client.connect().search_runs(
        [experiment], filter_string, max_results=1, order_by=["attributes.start_time DESC"]
    )
    return found[0] if found else None
