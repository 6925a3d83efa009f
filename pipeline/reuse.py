"""Reuse of finished steps: the run to use instead, or why there is none."""

import json

from mlflow.entities import Run

from pipeline import progress, tracking
from pipeline.steps import Step


def reusable(step: Step, *, name: str, reuse: str, announce: bool = True) -> Run | None:
    """The finished run to use instead of running a step again; says which, or why there is none.

    Args:
        step: what decides the result.
        name: the step's name, for the message.
        reuse: ``auto``, or ``never`` to run it again in any case.
        announce: whether to say what was found; not where `main` has said it already.
    """
    experiment = tracking.experiment_id()
    found = None if reuse == "never" else find_finished(step, experiment)
    if announce:
        progress.update(message=f"{name}: {_decision(step, found, experiment, reuse)}")
    if found is None:
        return None
    _link_adopted_run(step.entry_point, found)
    return found


def _decision(step: Step, found: Run | None, experiment: str, reuse: str) -> str:
    if found:
        return f"reused {found.info.run_name} (same inputs, {found.info.run_id})"
    reason = "reuse=never" if reuse == "never" else explain_miss(step, experiment)
    return f"to run ({reason})"


def _link_adopted_run(entry_point: str, reused: Run) -> None:
    """Link the run that `mlflow run` made to the finished run that is reused instead."""
    run = tracking.adopted_run(entry_point)
    if run is None:
        return
    run.set_tags(
        {"mlflow.runName": f"reused {reused.info.run_name}", "reused_run": reused.info.run_id}
    )
    run.set_note(
        f"Nothing was run: [{reused.info.run_name}](#/experiments/{reused.info.experiment_id}"
        f"/runs/{reused.info.run_id}) is finished and has the same inputs."
    )


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
    try:
        before = json.loads(nearest.data.tags.get("step_inputs", "{}"))
    except json.JSONDecodeError:  # MLflow cuts a tag after 8,000 characters
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
    found = tracking.client().search_runs(
        [experiment], filter_string, max_results=1, order_by=["attributes.start_time DESC"]
    )
    return found[0] if found else None
