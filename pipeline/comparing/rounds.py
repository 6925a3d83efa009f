"""Running a comparison: its steps, one round of seeds after the other, then what they come to."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from pipeline.answers import rounds
from pipeline.base import StepsFailedError, progress
from pipeline.base.phrases import counted, listed
from pipeline.comparing import compare
from pipeline.comparing.comparison import DecidedSteps, Wanted, decided
from pipeline.comparing.crew import Crew, connected
from pipeline.comparing.plan import Measured, most_seeds, planned
from pipeline.parameters import declared, mlflow_run
from pipeline.steps.plan_text import about, decided_steps, time_left
from pipeline.steps.running import pipeline_run_id, step_run
from pipeline.tracking import client
from pipeline.tracking.runs import StepRun
from pipeline.work.graph import DataSets, data_sets
from pipeline.work.search import SearchStep


class Ran(NamedTuple):
    """What a comparison came to."""

    compared: str  # the id of its run
    trainings: Sequence[client.Run]


class SomeFailedError(StepsFailedError):
    """Steps failed; the others were compared."""

    def __init__(self, failures: Mapping[str, str], ran: Ran):
        super().__init__(failures)
        self.ran = ran


def run(of: Wanted, data: DataSets | None = None) -> Ran:
    """Prepare, search, train and compare what is not done yet; the data, where it is not given.

    Raises:
        SomeFailedError: if a step failed; the others are compared.
        InputError: if a variant is to have images that there are not, or of another shape.
    """
    asked = of.asked
    if asked.scheduler != "none":
        with connected(of, 1):  # to be refused before a run is opened
            pass
    data = data or data_sets(asked, of.comparison, of.variants, asked.reuse)
    steps = decided(of, data, client.experiment_id())
    chosen = {(one.images, one.scaled_as) for one in steps.to_run}  # seeds have them in common
    for images, scaled_as in chosen:
        if scaled_as or images.per_class is not None:
            images.splits(scaled_as)  # what there is not is refused now, not by every worker
    progress.update(message=decided_steps([*steps.decisions.values()]))
    if not steps.missing:
        if asked.seeds is None:
            ended = rounds.ending(steps.answers, (), most_seeds(of), briefly=True)
            progress.say(f"No more seeds: {ended}.")
        return _compare(of, steps)
    parameters = {
        "variants": ",".join(variant.name for variant in of.variants),
        "seeds": declared(asked)["seeds"].text(asked.seeds),
        "dataset": of.comparison.data.source if asked.dataset == "auto" else asked.dataset,
        "reuse": asked.reuse,
    }
    own = data[of.data]
    name = compare.name_of(of.comparison, own.dataset)
    with step_run("main", parameters, name=name, tags=own.tags) as main_run:
        token = pipeline_run_id.set(main_run.run_id)
        try:
            return _run_steps(main_run, of, data, steps)
        finally:
            pipeline_run_id.reset(token)


def _run_steps(main_run: StepRun, of: Wanted, data: DataSets, steps: DecidedSteps) -> Ran:
    """Train what is not finished, compare what is, and fail if a step did."""
    with Crew(of, main_run) as crew:
        steps, failures = _trained(main_run, of, data, crew, steps)
    ran = _compare(of, steps, within=main_run)
    if failures:
        raise SomeFailedError(failures, ran)
    return ran


def _compare(of: Wanted, steps: DecidedSteps, within: StepRun | None = None) -> Ran:
    """Compare the trainings that have finished, if any have."""
    finished = [run for runs in steps.finished.values() for run in runs.values()]
    if not finished:
        return Ran("", finished)
    comparing = compare.step_of(
        of.comparison,
        finished,
        baseline=of.baseline,
        command=mlflow_run("main", of.asked),
        opened_for="main",
    )
    return Ran(compare.compared(comparing, of.asked.reuse, within=within), finished)


def _trained(
    main_run: StepRun, of: Wanted, data: DataSets, crew: Crew, steps: DecidedSteps
) -> tuple[DecidedSteps, dict[str, str]]:
    """The steps when no more are to run, and why some failed."""
    if of.asked.seeds is None:
        return _round_by_round(main_run, of, data, crew, steps)
    made, errors = crew.run(steps) if steps.missing else ({}, {})
    return steps.made(made), {one.name: why for one, why in errors.items()}


def _round_by_round(
    main_run: StepRun, of: Wanted, data: DataSets, crew: Crew, steps: DecidedSteps
) -> tuple[DecidedSteps, dict[str, str]]:
    """Add seeds until every primary question is decided, or there are no more of them or no time.

    With fewer trainings in a round than there are workers, some are idle.
    """
    began, number, failures, limit = time.monotonic(), 0, dict[str, str](), most_seeds(of)
    failed: set[str] = set()  # variants
    while steps.missing:
        seconds = time_left(planned(steps, Measured(main_run.experiment)), of.workers())
        if steps.answers and _is_late(of, time.monotonic() - began, seconds):
            limit = f"the next round would end later than minutes={of.asked.minutes:g} allows"
            break
        number += 1
        progress.say(f"Round {number}: {_round(steps, seconds)}.")
        made, errors = crew.run(steps)
        failures |= {one.name: why for one, why in errors.items()}
        failed |= {one.variant.name for one in steps.missing if one in errors}
        earlier = steps.made(made)
        steps = decided(of, data, main_run.experiment, earlier=earlier, failed=failed)
    ended = partial(rounds.ending, steps.answers, sorted(failed), limit)
    progress.say(f"No more seeds: {ended(briefly=True)}.")
    main_run.set_tags({"rounds": number, "rounds_ended": ended()})
    return steps, failures


def _is_late(of: Wanted, seconds: float, left: tuple[float, float] | None) -> bool:
    """Whether what is left would end later than it may."""
    expected = left[0] if left else 0
    return of.asked.minutes is not None and seconds + expected > 60 * of.asked.minutes


def _round(steps: DecidedSteps, left: tuple[float, float] | None) -> str:
    """What a round adds, why, and how long it takes."""
    added: dict[str, list[int]] = {}
    for one in steps.missing:
        added.setdefault(one.variant.name, []).append(one.seed)
    before = [one for one in steps.before if not steps.decisions[one].reused]
    searches = [one for one in before if isinstance(one, SearchStep)]
    sources = len(before) - len(searches)
    numbers = [counted(len(steps.missing), "training")]
    numbers += [f"{sources} that they start from"] if sources else []
    numbers += [counted(len(searches), "search", "searches")] if searches else []
    expects = f"about {about(left[0])}" if left else "for an unknown time"
    return f"{rounds.seeds_added(added, steps.answers)}; {listed(numbers)}, {expects}"
