"""The run of a step: opened, told that it is alive, and ended as the step did."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from mlflow.entities import Run
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_SOURCE_NAME

from pipeline.base import DivergenceError, TrackingUnavailableError
from pipeline.steps import ownership
from pipeline.steps.step import Step
from pipeline.tracking import client
from pipeline.tracking.client import StepRun, adopted_run, end_run
from pipeline.tracking.patience import not_waiting

# The run of `main` that a step belongs to, where there is one; set where the step runs.
pipeline_run_id: ContextVar[str | None] = ContextVar("pipeline_run_id", default=None)


@contextmanager
def step_run(
    entry_point: str,
    parameters: Mapping[str, Any],
    *,
    name: str,
    step: Step | None = None,
    tags: Mapping[str, Any] | None = None,
    parent_run_id: str | None = None,
    reopened: Run | None = None,
) -> Iterator[StepRun]:
    """Open the run of a step; it ends FINISHED, KILLED on an interrupt, or FAILED with the reason.

    Under `mlflow run` the run of this entry point exists already and is adopted.

    Args:
        entry_point: name of the entry point.
        parameters: what the entry point was called with, and what that was resolved to.
        name: the run's name in the UI.
        step: what decides the result, for reuse; None: the run is never reused.
        tags: further tags.
        parent_run_id: the run under which this one is nested.
        reopened: the run that was cut off and goes on.

    Raises:
        TrackingUnavailableError: if the tracking server did not take everything.
    """
    run = _open(entry_point, name, reopened)
    run.set_tags(
        {
            "mlflow.runName": name,
            "step": entry_point,
            **ownership.owner_tags(),
            "processor": ownership.processor(),
            **({"step_key": step.key, "step_inputs": json.dumps(step.inputs)} if step else {}),
            **({"pipeline_run": pipeline_run_id.get()} if pipeline_run_id.get() else {}),
            **({MLFLOW_PARENT_RUN_ID: parent_run_id} if parent_run_id else {}),
            **(tags or {}),
        }
    )
    try:
        with ownership.heartbeat(run.beat):
            run.log_parameters(parameters)
            yield run
            run.flush()
        end_run(run.run_id, "FINISHED")
    except KeyboardInterrupt:
        _end_badly(run.run_id, "KILLED", reason="interrupted")
        raise
    except DivergenceError as error:
        run.flush()
        run.set_tags({"diverged": error})
        end_run(run.run_id, "FAILED", reason=f"{type(error).__name__}: {error}")
        raise
    except BaseException as error:
        _end_badly(run.run_id, "FAILED", reason=f"{type(error).__name__}: {error}")
        raise
    finally:
        run.stop_publishing()


def _end_badly(run_id: str, status: str, *, reason: str) -> None:
    """End a run, without waiting for the server: where it is away, the next command ends it."""
    with not_waiting(), suppress(TrackingUnavailableError):
        end_run(run_id, status, reason=reason)


def _open(entry_point: str, name: str, reopened: Run | None) -> StepRun:
    if reopened is None:
        return adopted_run(entry_point) or _create(entry_point, name)
    link_adopted_run(entry_point, reopened, verb="continued", note="was cut off and goes on.")
    run = StepRun(reopened.info.run_id, reopened.info.experiment_id)
    run.reopen(ownership.owner_tags())
    return run


def link_adopted_run(entry_point: str, run: Run, *, verb: str, note: str) -> None:
    """Point the run that `mlflow run` opened, if it did, to the one that holds the results.

    Args:
        entry_point: name of the entry point.
        run: the run with the results.
        verb: ``reused`` or ``continued``, for the name and the tag.
        note: what follows the linked name of the run in the note.
    """
    adopted = adopted_run(entry_point)
    if adopted is None or adopted.run_id == run.info.run_id:
        return
    adopted.set_tags(
        {"mlflow.runName": f"{verb} {run.info.run_name}", f"{verb}_run": run.info.run_id}
    )
    address = f"#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
    adopted.set_note(f"[{run.info.run_name}]({address}) {note}")


def _create(entry_point: str, name: str) -> StepRun:
    experiment = client.experiment_id()
    # Its owner from the beginning: a run without one that was cut off here would stay RUNNING.
    tags = {
        **resolve_tags(),
        MLFLOW_SOURCE_NAME: f"pipeline.{entry_point}",
        **ownership.owner_tags(),
    }
    run = client.connect().create_run(experiment, run_name=name, tags=tags)
    return StepRun(run.info.run_id, experiment)
