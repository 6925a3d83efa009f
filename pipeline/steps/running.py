"""One run per step: decide whether it is done; hold it; open its run; do the work; end it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from mlflow.entities import Run
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_SOURCE_NAME

from pipeline.base import (
    DivergenceError,
    InputError,
    RunDeletedError,
    TrackingUnavailableError,
    markdown,
    progress,
)
from pipeline.steps import claims, owners, resuming
from pipeline.steps.claims import Claim, LostClaimError
from pipeline.steps.differences import differences, from_to, named_modules
from pipeline.steps.step import Step, recorded_inputs, recorded_settings
from pipeline.tracking import client, introduction, names
from pipeline.tracking.addresses import run_page
from pipeline.tracking.outages import not_waiting
from pipeline.tracking.runs import Ownership, StepRun, adopted_run, end_run

NOT_YET = "no finished run of it yet"

# The run of `main` that a step belongs to, where there is one; set where the step runs.
pipeline_run_id: ContextVar[str | None] = ContextVar("pipeline_run_id", default=None)
# Whether a step may take the run that `mlflow run` has opened. One that comes before what was asked
# for may not, though it may be of the same entry point.
_adopts: ContextVar[bool] = ContextVar("adopts", default=True)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What becomes of a step: the finished run that is used instead, or why there is none."""

    name: str
    reused: Run | None = None
    reason: str = ""

    def __str__(self) -> str:
        if self.reused:
            name = self.reused.info.run_name  # a person may have changed it
            of = f" {name}" if name != self.name else ""
            return f"{self.name}: reused{of} (same inputs)"
        return f"{self.name}: to run ({self.reason})"


def decide(step: Step, reuse: str, *, experiment: str | None) -> Decision:
    """Whether a step is done: the one place that says so, for a plan and for a run.

    With reuse ``never`` it is not; nor where there is no experiment (None) yet.
    """
    reason = "reuse=never" if reuse == "never" else step.waits_for if experiment else NOT_YET
    if reason or experiment is None:
        return Decision(name=step.name, reason=reason)
    finished = f"tags.step_key = '{step.key}' and attributes.status = 'FINISHED'"
    if found := _newest(finished, experiment):
        if missing := client.missing_artifact(found, step.kept):
            reason = f"{missing} of {found.info.run_name} ({found.info.run_id}) is gone"
            return Decision(name=step.name, reason=reason)
        return Decision(name=step.name, reused=found)
    return Decision(name=step.name, reason=_explain_miss(step, experiment))


def once(
    step: Step,
    reuse: str,
    *,
    announce: bool = True,
    within: StepRun | None = None,
    asked_for: bool = True,
) -> Run:
    """The run of a step: the finished one, or one made now by this process alone.

    Announces what is reused, or why it is not, unless `main` has done so. A step that is made now
    takes the run that it is made `within`, or else that which `mlflow run` has opened if the step
    is what a person `asked_for`, and not one that comes before it.
    """
    token = _adopts.set(asked_for)
    try:
        return _once(step, reuse, announce, within)
    finally:
        _adopts.reset(token)


def _once(step: Step, reuse: str, announce: bool, within: StepRun | None) -> Run:
    resuming.checkpoints.set(step.checkpoints)
    resuming.end_abandoned(client.experiment_id())
    if found := _reused(step, reuse, within, announce=announce):
        return found
    after = [once(one, "auto", announce=announce, asked_for=False) for one in step.after()]
    deleted: str | None = None
    while True:
        with claims.hold(step.key, step.name) as claim:
            # Another process may have finished it just before.
            if found := _reused(step, reuse, within, announce=claim.waited):
                return found
            resuming.end_runs_left(step)
            try:
                return _made(step, after, claim, deleted, within)
            except LostClaimError:
                news = "another process took it over, since this one was not heard of"
            except RunDeletedError as error:
                deleted, within = error.run_id, None
                news = f"the run {deleted} was deleted: what is missing is made again"
        progress.update(message=f"{step.name}: {news}.")


def _made(
    step: Step, after: Sequence[Run], claim: Claim, deleted: str | None, within: StepRun | None
) -> Run:
    """The finished run of a step that this process holds; it goes on where a deleted one was."""
    if within:
        _become(within, step)
        step.work(within, after)
        claim.confirm()
        end_run(within.run_id, "FINISHED")
        return client.get_run(within.run_id)
    with step_run(
        step.entry_point,
        {**step.parameters(), **step.logged()},
        name=step.name,
        step=step,
        tags=step.tags(),
        reopened=resuming.cut_off(step) if step.resumes else None,
        claim=claim,
    ) as run:
        if deleted and client.get_run(deleted).data.tags.get("step_key") == step.key:
            resuming.checkpoints_of(deleted).move_to(resuming.checkpoints_of(run.run_id))
        step.work(run, after)
    resuming.checkpoints_of(run.run_id).delete()
    return client.get_run(run.run_id)


def _become(run: StepRun, step: Step) -> None:
    """Make a run that is open the step's."""
    run.set_tags({"step": step.entry_point, **_keys(step), **step.tags()})
    run.log_parameters({**step.parameters(), **step.logged()})


def _keys(step: Step) -> dict[str, str]:
    return {"step_key": step.key, **names.hidden({"step_inputs": json.dumps(step.inputs)})}


def _reused(step: Step, reuse: str, within: StepRun | None = None, *, announce: bool) -> Run | None:
    decision = decide(step, reuse, experiment=client.experiment_id())
    if announce:
        progress.say(str(decision))
    if found := decision.reused:
        opened = within or _adopted(step.opened_for)
        _link(opened, found, "reused", "is finished and has the same inputs.")
    return found


def _explain_miss(step: Step, experiment: str) -> str:
    """Why no finished run of a step can be reused: what differs from the nearest one."""
    given = step.parameters()
    alike = ("variant", "seed", "comparison")
    same = [f"params.{name} = '{given[name]}'" for name in alike if name in given]
    same += [f"tags.step = '{step.entry_point}'", "attributes.status = 'FINISHED'"]
    nearest = _newest(" and ".join(same), experiment)
    if nearest is None:
        return NOT_YET
    before, now = recorded_inputs(nearest.data.tags), step.inputs
    if not before:
        return "its inputs changed"
    found = differences(before, now)
    others = found.others
    if not recorded_settings(nearest.data.tags)[0]:  # made before variants counted by content
        others = [name for name in others if not name.startswith("variant ")]
    changes = [f"{name} changed{from_to(name, before, now)}" for name in others]
    if found.modules:
        changes.append(f"code of {named_modules(found.modules)} changed")
    return "; ".join(changes) or "its inputs changed"


def _newest(query: str, experiment: str) -> Run | None:
    search, order = client.connect().search_runs, ["attributes.start_time DESC"]
    return next(iter(search([experiment], query, max_results=1, order_by=order)), None)


@contextmanager
def step_run(
    entry_point: str,
    parameters: Mapping[str, Any],
    *,
    name: str,
    step: Step | None = None,
    tags: Mapping[str, Any] | None = None,
    reopened: Run | None = None,
    claim: Ownership | None = None,
) -> Iterator[StepRun]:
    """Open a step's run; it ends FINISHED, KILLED on an interrupt, or FAILED with the reason.

    Under `mlflow run` the run of this entry point exists already and is adopted.

    Args:
        entry_point, parameters, name, tags: of the run, in full.
        step: what decides the result, for reuse; None: the run is never reused.
        reopened: the run that was cut off and goes on.
        claim: of this process to the step, where another one may want to run it.

    Raises:
        LostClaimError: if another process has taken the step over; the run may be its own by now.
        TrackingUnavailableError: if the tracking server did not take everything.
    """
    main = {"pipeline_run": pipeline} if (pipeline := pipeline_run_id.get()) else {}
    opened_for = step.opened_for if step else entry_point
    run = _open(opened_for, name, reopened, {"step": entry_point, **main, **owners.of_run()})
    run.set_tags({**(_keys(step) if step else {}), **(tags or {})})
    try:
        with owners.heartbeat(run.beat):
            run.claim = claim
            run.log_parameters(parameters)
            yield run
            run.flush()
            if claim:
                claim.confirm()
        end_run(run.run_id, "FINISHED")
    except BaseException as error:
        _end_cut_short(run, error)
        raise
    finally:
        run.stop_publishing()


def _end_cut_short(run: StepRun, error: BaseException) -> None:
    """End a run that an error has cut short, unless it is another process's by now."""
    status, reason = "FAILED", f"{type(error).__name__}: {error}"
    if isinstance(error, DivergenceError):
        resuming.checkpoints_of(run.run_id).delete()  # they would only diverge again
        run.flush()
        run.set_tags({"diverged": error})
    elif isinstance(error, KeyboardInterrupt):
        status, reason = "KILLED", "interrupted"
    elif isinstance(error, LostClaimError):
        status, reason = "KILLED", "another process took the step over"
        if not owners.is_mine(client.get_run(run.run_id).data.tags):
            return
    # Without waiting for the server: where it is away, the next command ends the run.
    with not_waiting(), suppress(TrackingUnavailableError, InputError, RunDeletedError):
        end_run(run.run_id, status, reason=reason)


def _open(opened_for: str, name: str, reopened: Run | None, tags: Mapping[str, str]) -> StepRun:
    """The run of a step, with some tags from the beginning.

    By these it is known what becomes of it where its process is cut off right here.
    """
    if reopened:
        _link(_adopted(opened_for), reopened, "continued", "was cut off and goes on.")
        run = StepRun(reopened.info.run_id, reopened.info.experiment_id)
        run.reopen(tags)
        return run
    adopted, experiment = _adopted(opened_for), client.experiment_id()
    introduction.introduce(experiment)
    if adopted:
        adopted.set_tags({**names.named(adopted.run_id, name), **tags})
        return adopted
    tags = {**resolve_tags(), MLFLOW_SOURCE_NAME: f"pipeline.{opened_for}", **tags}
    created = client.connect().create_run(experiment, run_name=name, tags=tags)
    return StepRun(created.info.run_id, experiment)


def _adopted(opened_for: str) -> StepRun | None:
    return adopted_run(opened_for) if _adopts.get() else None


def _link(opened: StepRun | None, run: Run, verb: str, note: str) -> None:
    """Point a run that was opened for what another one holds, if there is one, to that."""
    found = run.info
    if opened is None or opened.run_id == found.run_id:
        return
    name = f"{verb} {found.run_name}"
    named = names.named(opened.run_id, name, instead_of=found.run_name)
    opened.set_tags({**named, f"{verb}_run": found.run_id})
    address = run_page(found.experiment_id, found.run_id).removeprefix("/")
    opened.set_note(f"[{markdown.escaped(found.run_name)}]({address}) {note}")
