"""What a night comes to, against the last good one: found, recorded, logged and shown."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import chain, groupby
from typing import Any

from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from pipeline.answers.night import Finding, NightReport
from pipeline.base.phrases import counted
from pipeline.comparing import artifacts, rounds
from pipeline.comparing.comparison import Wanted
from pipeline.nights import trend
from pipeline.nights.bisection import Tonight, bisected
from pipeline.nights.causes import trained_of
from pipeline.nights.past import Past
from pipeline.nights.record import FILE, Night
from pipeline.nights.regressions import Regressions, regressions
from pipeline.parameters import Nightly
from pipeline.report import night
from pipeline.tracking import addresses, client
from pipeline.tracking.night_views import write_night_views
from pipeline.tracking.runs import RUN_NOTE_LENGTH, StepRun

PAGE = "report.html"


def concluded(
    of: Wanted, asked: Nightly, run: StepRun, before: Past, again: Finding, ran: rounds.Ran
) -> NightReport:
    """Judge what a night has trained against the last good one, and log what it came to.

    Args:
        of, asked: what was asked for.
        run: of the night.
        before: the nights before.
        again: what came of its replay.
        ran: its comparison.
    """
    own, compared = client.get_run(run.run_id), client.get_run(ran.compared)
    nights = trend.tags(of.comparison.name, own.data.tags["dataset"])
    began = datetime.fromtimestamp(own.info.start_time / 1000, UTC)
    tonight = _recorded(own, nights, ran)
    since_good = _since_good(of, asked, run, before, tonight)
    found = [*since_good.findings, again, _added(before, tonight)]
    found.sort(key=lambda one: not one.is_alarm)
    findings = [_with_first(one, before.bad) if one.is_alarm else one for one in found]
    alarms = [one for one in findings if one.is_alarm]
    tonight = replace(
        tonight,
        against=since_good.against,
        decided=since_good.decided,
        digits_since=before.digits_since,
        alarms=[one.text for one in alarms],
        about=[one.about for one in alarms],
    )
    colors = {variant.name: variant.color for variant in of.comparison.variants}
    trend.log(run, ran.compared, of=nights, colors=colors, alarm=bool(alarms))
    report = NightReport(
        comparison=tonight.comparison,
        dataset=tonight.dataset,
        began=began,
        minutes=(datetime.now(UTC) - began).total_seconds() / 60,
        findings=findings,
        links=_links(own, compared),
        trend=trend.table(run.experiment, nights),
        colors=colors,
    )
    run.log_text(night.html(report), PAGE)
    run.set_note(night.note(report, RUN_NOTE_LENGTH))
    run.log_text(tonight.text(), FILE)
    # Last: with these, it is a night that those after it are judged by.
    run.set_tags({**night.tags(report), "verdict": _verdict(compared)})
    return report


def _recorded(own: client.Run, nights: dict[str, str], ran: rounds.Ran) -> Night:
    by_variant = groupby(ran.trainings, key=lambda one: one.data.params["variant"])
    return Night(
        run_id=own.info.run_id,
        began=own.info.start_time / 1000,
        comparison=nights["comparison"],
        dataset=nights["dataset"],
        compared=ran.compared,
        commit=own.data.tags.get(MLFLOW_GIT_COMMIT, ""),
        trained={variant: trained_of([*runs]) for variant, runs in by_variant},
    )


def _since_good(
    of: Wanted, asked: Nightly, run: StepRun, before: Past, tonight: Night
) -> Regressions:
    """What is other than on the last good night, and why."""
    good = before.good
    if good is None:
        said = "those before all rang" if before.bad else "this is the first"
        text = f"There is no good night to compare with: {said}."
        return Regressions(findings=[Finding(text=text)])
    known: dict[str, Any] = {"compared": tonight.compared, "trained": tonight.trained}
    found = regressions(good, **known, commit=tonight.commit, bad=before.bad)
    if asked.bisect == "no":
        return found
    causes = (
        bisected(Tonight(of=of, run=run, good=then, **known), [name])
        for name, then in found.regressed.items()
    )
    return replace(found, findings=[*found.findings, *chain.from_iterable(causes)])


def _with_first(alarm: Finding, bad: Sequence[Night]) -> Finding:
    """An alarm with the date of the first of some nights that rang for the same."""
    first = next((one for one in bad if alarm.about in one.about), None)
    since = f"{datetime.fromtimestamp(first.began, UTC):%Y-%m-%d}" if first else ""
    return replace(alarm, since=since)


def _added(before: Past, tonight: Night) -> Finding:
    """How many trainings are new since the night before."""
    last = before.last
    known = {run_id for one in last.trained.values() for run_id in one.run_ids} if last else set()
    added = {
        name: len({*one.run_ids} - known)
        for name, one in tonight.trained.items()
        if {*one.run_ids} - known
    }
    if not added:
        return Finding(text="No training was added.")
    total = counted(sum(added.values()), "training")
    of = ", ".join(f"{name} {number}" for name, number in added.items())
    return Finding(text=f"{total} {'were' if sum(added.values()) > 1 else 'was'} added: {of}.")


def _verdict(compared: client.Run) -> str:
    """What the comparison answers, in a sentence; empty where that is gone."""

    def first(content: bytes) -> str:
        return content.decode().partition("\n\n")[0].replace("`", "")

    run_id, of = compared.info.run_id, str(compared.info.run_name)
    return artifacts.read(run_id, "comparison.md", first, of=of) or ""


def _links(own: client.Run, compared: client.Run) -> dict[str, str]:
    """Whole addresses: a message is read anywhere."""
    server = addresses.server_address()
    return {
        "This night": server + addresses.artifact_page(own, PAGE),
        "Comparison": server + addresses.artifact_page(compared, PAGE),
        **write_night_views(own),
    }
