"""One run per step: decide whether it is done; hold it; open its run; do the work; end it."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlflow.entities import Run

from pipeline.base import progress
from pipeline.comparisons.declarations import default_setting
from pipeline.steps import running
from pipeline.steps.ownership import cut_off, end_abandoned, hold
from pipeline.steps.step import Step, recorded_inputs
from pipeline.tracking import client

MOST_NAMED = 8  # modules


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What becomes of a step.

    Args:
        name: of the step.
        reused: the finished run that is used instead.
        reason: why there is none.
    """

    name: str
    reused: Run | None = None
    reason: str = ""

    def __str__(self) -> str:
        if self.reused:
            run = self.reused.info
            return f"{self.name}: reused {run.run_name} (same inputs, {run.run_id})"
        return f"{self.name}: to run ({self.reason})"


def decide(step: Step, *, reuse: str, experiment: str | None) -> Decision:
    """Whether a step is done: the one place that says so, for a plan and for a run.

    Args:
        step: what decides the result.
        reuse: ``auto``, or ``never`` to run it again in any case.
        experiment: whose runs are looked at; None: there is none yet.
    """
    if reuse == "never":
        return Decision(name=step.name, reason="reuse=never")
    if experiment is None:
        return Decision(name=step.name, reason="no finished run of it yet")
    if step.waits_for:
        return Decision(name=step.name, reason=step.waits_for)
    finished = f"tags.step_key = '{step.key}' and attributes.status = 'FINISHED'"
    if found := _newest(finished, experiment):
        return Decision(name=step.name, reused=found)
    return Decision(name=step.name, reason=_explain_miss(step, experiment))


def once(step: Step, *, reuse: str, announce: bool = True) -> Run:
    """The run of a step: the finished one, or one made now by this process alone.

    Args:
        step: what decides the result.
        reuse: ``auto``, or ``never`` to run it again in any case.
        announce: whether to say what is reused or why it is not; not where `main` has done so.
    """
    end_abandoned(client.experiment_id())
    if found := _reused(step, reuse=reuse, announce=announce):
        return found
    # Before it is held: to other hosts, a step runs from the moment on that it has a run.
    after = [once(one, reuse="auto", announce=announce) for one in step.after()]
    with hold(step) as waited:
        # Another process may have finished it just before.
        found = _reused(step, reuse=reuse, announce=waited)
        return found or _run(step, after, anew=reuse == "never")


def _reused(step: Step, *, reuse: str, announce: bool) -> Run | None:
    decision = decide(step, reuse=reuse, experiment=client.experiment_id())
    if announce:
        progress.update(message=str(decision))
    if decision.reused:
        running.link_adopted_run(
            step.entry_point,
            decision.reused,
            verb="reused",
            note="is finished and has the same inputs.",
        )
    return decision.reused


def _run(step: Step, after: Sequence[Run], *, anew: bool) -> Run:
    """Run a step, in the run that was cut off if there is one and it can go on."""
    with running.step_run(
        step.entry_point,
        {**step.parameters(), **step.logged()},
        name=step.name,
        step=step,
        tags=step.tags(),
        reopened=cut_off(step) if step.resumes else None,
    ) as run:
        step.work(run, after, anew=anew)
    step.clean_up(run.run_id)
    return client.get_run(run.run_id)


def _explain_miss(step: Step, experiment: str) -> str:
    """Why no finished run of a step can be reused: what differs from the nearest one."""
    same = [f"tags.step = '{step.entry_point}'", "attributes.status = 'FINISHED'"]
    for name in ("variant", "seed"):
        if name in step.parameters():
            same.append(f"params.{name} = '{step.parameters()[name]}'")
    nearest = _newest(" and ".join(same), experiment)
    if nearest is None:
        return "no finished run of it yet"
    before, now = recorded_inputs(nearest.data.tags), step.inputs
    if not before:
        return "its inputs changed"
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    modules = [name.removeprefix("code of ") for name in changed if name.startswith("code of ")]
    changes = [
        f"{name} changed{_from_to(name, before.get(name), now.get(name))}"
        for name in changed
        if not name.startswith("code of ")
    ]
    if modules:
        few = len(modules) <= MOST_NAMED
        changes.append(
            f"code of {', '.join(modules) if few else f'{len(modules)} modules'} changed"
        )
    return "; ".join(changes) or "its run was not finished"


def _from_to(name: str, before: str | None, now: str | None) -> str:
    kind, _, setting = name.partition(" ")
    if kind not in ("parameter", "variant", "version"):
        return ""
    default = default_setting(setting) if kind == "variant" else None
    return " from {} to {}".format(*(default if one is None else one for one in (before, now)))


def _newest(filter_string: str, experiment: str) -> Run | None:
    found = client.connect().search_runs(
        [experiment], filter_string, max_results=1, order_by=["attributes.start_time DESC"]
    )
    return found[0] if found else None
