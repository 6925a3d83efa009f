"""Steps and their runs, for several test modules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pipeline.steps import running
from pipeline.steps.step import Step
from pipeline.tracking import client
from pipeline.tracking.runs import StepRun, end_run


@dataclass(frozen=True, kw_only=True)
class Small(Step):
    """A step of a variant that does nothing but log that it ran."""

    entry_point: ClassVar[str] = "train"
    packages: ClassVar[tuple[str, ...]] = ("numpy",)

    given: Mapping[str, Any] = field(default_factory=lambda: {"variant": "bn", "epochs": 2})
    settings: Mapping[str, Any] = field(default_factory=dict)
    reads: Mapping[str, str] = field(default_factory=lambda: {"search": "a-key"})

    @property
    def name(self) -> str:
        return "train bn"

    @property
    def variant_settings(self) -> Mapping[str, Any]:
        return self.settings

    def parameters(self) -> Mapping[str, Any]:
        return self.given

    def upstream(self) -> Mapping[str, str]:
        return self.reads

    def work(self, run: StepRun, after: Sequence[client.Run]) -> None:
        run.log_metrics({"after": len(after)})


class SmallSearch(Small):
    """The same of another entry point."""

    entry_point: ClassVar[str] = "search"


class SmallPrepare(Small):
    """The same of another entry point."""

    entry_point: ClassVar[str] = "prepare"


def finish(step: Step | None = None, *, name: str = "train bn", **arguments: Any) -> str:
    """The id of a run that was opened and finished."""
    entry_point = step.entry_point if step else "train"
    parameters = step.parameters() if step else {}
    with running.step_run(entry_point, parameters, name=name, step=step, **arguments) as run:
        return run.run_id


def opened(entry_point: str = "train") -> StepRun:
    """A run that was opened."""
    run = client.connect().create_run("0", tags={"step": entry_point})
    return StepRun(run.info.run_id, "0")


def ended(entry_point: str = "train", status: str = "FINISHED") -> str:
    """The id of a run that was opened and has ended."""
    run_id = opened(entry_point).run_id
    end_run(run_id, status)
    return run_id


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
