"""Steps and their runs, for several test modules."""

from typing import Any

from pipeline.steps import running
from pipeline.steps.keys import Step
from pipeline.tracking import client


def make_step(**changes: Any) -> Step:
    usual: dict[str, Any] = {
        "entry_point": "train",
        "parameters": {"variant": "bn", "epochs": 2},
        "sources": ("pipeline.base.errors", "pipeline.data.npz"),
        "packages": ("numpy",),
        "upstream": {"search": "a-key"},
    }
    return Step(**{**usual, **changes})


def finish(step: Step | None = None, *, name: str = "train bn", **arguments: Any) -> str:
    """The id of a run that was opened and finished."""
    entry_point = step.entry_point if step else "train"
    parameters = step.parameters if step else {}
    with running.step_run(entry_point, parameters, name=name, step=step, **arguments) as run:
        return run.run_id


def status_of(run_id: str) -> str:
    return client.get_run(run_id).info.status


def opened_by_mlflow_run(entry_point: str, *, experiment: str, **parameters: str) -> str:
    """A run as `mlflow run -e <entry_point>` opens it before it starts the command."""
    connection = client.connect()
    tags = {"mlflow.project.entryPoint": entry_point}
    run_id = connection.create_run(experiment, tags=tags).info.run_id
    for name, value in parameters.items():
        connection.log_param(run_id, name, value)
    return run_id
