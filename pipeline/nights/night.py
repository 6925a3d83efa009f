"""A night: what it trains again, reruns and adds, and what it comes to."""

import os
from datetime import UTC, datetime
from hashlib import sha256

from pipeline.base import InputError, layout, progress
from pipeline.comparing import rounds
from pipeline.comparing.comparison import Wanted
from pipeline.comparing.plan import say_plan
from pipeline.nights import hook, trend
from pipeline.nights.conclusion import concluded
from pipeline.nights.past import past
from pipeline.nights.replay import replay
from pipeline.parameters import Nightly
from pipeline.report import night
from pipeline.steps import claims
from pipeline.steps.running import pipeline_run_id, step_run
from pipeline.tracking import names
from pipeline.tracking.night_views import NIGHTLY
from pipeline.tracking.runs import adopted_run
from pipeline.work.graph import DataSets, data_sets


def run(of: Wanted, asked: Nightly) -> int:
    """Bring a comparison up to date, check that nothing has changed, and tell people if it has.

    Returns the exit code: 3 for an alarm, else 0; also where another night is running.

    Raises:
        InputError: if the data set is not named: what is not to be had falls back to digits.
        SomeFailedError: if a step failed; what the others come to is judged, and told.
    """
    source = asked.data_of(of.comparison).source
    if source == "auto":
        raise InputError(
            "dataset",
            expected="a data set by its name or path, since auto may fall back to digits",
            received=repr(source),
            action="For example: -P dataset=cifar10",
        )
    if asked.plan == "only":
        say_plan(of)
        return 0
    source = os.path.abspath(source) if source.endswith(".npz") else source
    about = f"{of.comparison.name} on {source}"
    try:
        with claims.hold(key(of.comparison.name, source), f"night of {about}", wait=False) as claim:
            return _held(of, asked, claim)
    except claims.HeldError as other:
        _leave(f"Another night of {about} is running ({other}): this one has nothing to do.")
    except claims.LostClaimError:
        _leave(f"Another process took the night of {about} over, as this one was not heard of.")
    return 0


def key(comparison: str, source: str) -> str:
    """By which one process at a time has the night of a comparison on data from a source."""
    return sha256(f"night of {comparison} on {source}".encode()).hexdigest()


def _leave(why: str) -> None:
    progress.say(why)
    if opened := adopted_run(NIGHTLY):
        opened.set_tags(names.named(opened.run_id, "left to another night"))
        opened.set_note(why)


def _held(of: Wanted, asked: Nightly, claim: claims.Claim) -> int:
    """The night of the process that holds it."""
    began = datetime.now(UTC)
    given = {name: getattr(asked, name) for name in ("dataset", "minutes", "bisect")}
    parameters = {"comparison": of.comparison.name, **given}
    name = f"night of {began:%Y-%m-%d}"
    with step_run(NIGHTLY, parameters, name=name, claim=claim) as opened:
        token = pipeline_run_id.set(opened.run_id)
        try:
            data = data_sets(asked, of.comparison, of.variants, asked.reuse)
            own = data[of.data]
            nights = trend.tags(of.comparison.name, own.dataset)
            opened.set_tags({**nights, **own.tags})
            before = past(opened.experiment, nights)
            again = replay(of, opened, data, before)
            ran, failed = _compared(of, data)
            claim.confirm()
            report = concluded(of, asked, opened, before, again, ran)
        finally:
            pipeline_run_id.reset(token)
        progress.update(message=f"\n{night.screen(report, layout.width())}")
        hook.tell(report)
        if failed:
            raise failed
    return hook.EXIT_ALARM if report.alarms else 0


def _compared(of: Wanted, data: DataSets) -> tuple[rounds.Ran, rounds.SomeFailedError | None]:
    """The comparison, and what is to be raised when the others of its steps are judged."""
    try:
        return rounds.run(of, data), None
    except rounds.SomeFailedError as error:
        if not error.ran.compared:
            raise
        return error.ran, error
