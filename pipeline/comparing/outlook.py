"""How far a comparison is while it runs, and how much time is left of all of it."""

import time
from contextlib import suppress
from dataclasses import replace

from pipeline.base import InputError, TrackingUnavailableError
from pipeline.base.phrases import counted, minutes
from pipeline.base.progress import Sink, Update
from pipeline.comparing.comparison import DecidedSteps, Wanted
from pipeline.comparing.plan import Measured, forecast, planned
from pipeline.steps.plan_text import Planned, time_left
from pipeline.tracking.outages import not_waiting

SECONDS_BETWEEN = 20.0  # measurements: each reads runs, while the processors are busy
LEAST = 0.1  # of the time expected of a step, while it runs longer than that


class Outlook:
    """Follows the news of the steps, and tells of all of them with each.

    Every round of seeds is counted by itself: how many follow is not known before it has ended.
    """

    def __init__(self, of: Wanted, experiment: str, sink: Sink):
        self._of, self._experiment, self._sink = of, experiment, sink
        self._round, self._steps = 0, DecidedSteps(trainings=(), decisions={})
        self._timed: list[Planned] = []
        self._later: tuple[int, float | None] = 0, 0.0  # trainings of rounds to come, seconds
        self._begun: dict[str, float] = {}
        self._took: dict[str, float] = {}  # by the steps that have ended
        self._measured = 0.0

    def begin(self, steps: DecidedSteps) -> None:
        """The next round, or all steps there are."""
        self._round, self._steps = self._round + 1, steps
        self._begun, self._took = {}, {}
        self._measure()
        self._sink(self.news())

    def end(self) -> None:
        """No step follows, but to compare."""
        self._sink(Update(step=self.news()["step"], state="finished"))

    def ended(self, name: str) -> None:
        """A step has ended, by its own news or without any: its time tells of those to come."""
        self._end(name)
        if time.monotonic() - self._measured > SECONDS_BETWEEN:
            with not_waiting(), suppress(InputError, TrackingUnavailableError):
                self._measure()

    def follow(self, news: Update) -> None:
        """Show a piece of news, and how far all steps are."""
        self._sink(news)
        if name := news.get("step"):
            if news.get("state", "running") != "running":
                self._end(name)
            elif name not in self._begun or "done" not in news:  # again, after its worker died
                self._begun[name] = time.monotonic()
            self._sink(self.news())

    def news(self) -> Update:
        """How far all steps are."""
        left = [one for one in self._timed if one.is_left]
        done = sum(one.decision.name in self._took for one in left)
        name = f"round {self._round}" if self._of.asked.seeds is None else "all steps"
        return Update(step=name, done=done, total=len(left), left=self._left(left))

    def _end(self, name: str) -> None:
        now = time.monotonic()
        self._took.setdefault(name, now - self._begun.get(name, now))

    def _measure(self) -> None:
        self._measured = time.monotonic()
        self._timed = planned(self._steps, Measured(self._experiment))
        number, seconds = forecast(self._of, self._steps, self._timed)
        of_round = sum(one.estimate.expected for one in self._timed if one.estimate)
        later = max(0.0, seconds - of_round / self._of.workers()) if seconds is not None else None
        self._later = max(0, number - len(self._steps.missing)), later

    def _left(self, steps: list[Planned]) -> str:
        """The time that is left, in words; of the first round it is not known what follows."""
        pace = self._pace(steps)
        running = [self._rest(one, pace) for one in steps if one.decision.name not in self._took]
        of_round, (trainings, later) = time_left(running, self._of.workers()), self._later
        if of_round is None or later is None:
            return ""
        more = f", {counted(trainings, 'more training')} expected" if trainings else ""
        return f"{minutes(of_round[0] + pace * later)} left{more}"

    def _pace(self, steps: list[Planned]) -> float:
        """How long the steps took that have ended, as a share of what was expected of them."""
        known = [one for one in steps if one.estimate and self._took.get(one.decision.name)]
        expected = sum(one.estimate.expected for one in known if one.estimate)
        return sum(self._took[one.decision.name] for one in known) / expected if expected else 1.0

    def _rest(self, step: Planned, pace: float) -> Planned:
        """A step with what is left of its time."""
        name, estimate, now = step.decision.name, step.estimate, time.monotonic()
        if estimate is None:
            return step
        whole = pace * estimate.expected
        rest = max(whole - (now - self._begun.get(name, now)), LEAST * whole)
        return replace(step, estimate=estimate._replace(expected=rest))
