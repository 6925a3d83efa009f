"""One owner of a step in a tracking store, whatever folder, container or machine it is in.

MLflow has no locks, and nothing that is set only if it was not set before. What it has, tags that
are read and written, is enough for Lamport's bakery (A new solution of Dijkstra's concurrent
programming problem, 1974): everybody takes a number higher than all others, and the lowest is next.
"""

import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import mlflow

from pipeline.base import progress
from pipeline.steps.owners import heartbeat, is_there, owner_tags, silence
from pipeline.tracking import client
from pipeline.tracking.names import HIDDEN
from pipeline.tracking.outages import not_waiting

PREFIX = f"{HIDDEN}claim."  # of tags of the experiment
LONGEST_PAUSE = 2.0  # seconds between two looks at the others
_WHO = "process {pid} on {host}"
FORGOTTEN_AFTER = 24 * 3600.0  # seconds without a heartbeat


class LostClaimError(RuntimeError):
    """Another process has taken a step over, as this one was not heard of for too long."""


class HeldError(RuntimeError):
    """Another process holds what this one was not to wait for: who."""


class Claim:
    """The claim of this process to a step: a tag of the experiment that it alone writes.

    It says a number (0 while one is chosen) and whether the step is held. A claim whose process is
    gone, or which has had no heartbeat for some time, counts no more. If that was wrong, its
    process finds out: whoever holds a step looks whether another one does, too.
    """

    def __init__(self, key: str, name: str):
        self._name = name
        self._experiment = client.experiment_id()
        self._of_step = f"{PREFIX}{key[:32]}."
        self._tag = self._of_step + secrets.token_hex(8)
        self._number, self._holds, self._ended = 0, False, False
        self._writing = threading.Lock()  # the heartbeat writes, too
        self._lost = threading.Event()
        self._heard: dict[str, tuple[str, float]] = {}  # by tag: a heartbeat, and since when
        self._beating: set[str] = set()  # tags of those whose heartbeat was seen to go on
        self.waited = False  # for another process, which may have done the work

    def acquire(self, *, wait: bool = True) -> None:
        """Wait until the step is this process's.

        Raises:
            HeldError: where it is not to wait, and a process that surely is there comes first.
        """
        self._write()
        self._number = 1 + max((one["number"] for one in self._others().values()), default=0)
        self._write()
        pause = 0.05
        while not self._is_next(others := self._others(), say=wait):
            if not wait and (first := self._surely_first(others)):
                raise HeldError(first)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def check(self) -> None:
        """Raise LostClaimError where the heartbeat found that another process holds the step."""
        if self._lost.is_set():
            raise LostClaimError

    def confirm(self) -> None:
        """Ask the store, and raise LostClaimError where another process holds the step."""
        if any(one["holds"] for one in self._others().values()):
            self._lost.set()
        self.check()

    def beat(self, _now: str) -> None:
        """Tell that this process is there, and look whether it has been taken for dead."""
        with not_waiting():
            self._write()
            if self._holds:
                with suppress(LostClaimError):
                    self.confirm()

    def release(self) -> None:
        """Let go of the step; where the server is away, the claim ends with its heartbeat."""
        with self._writing:
            self._ended = True
            with not_waiting(), suppress(Exception):
                client.connect().delete_experiment_tag(self._experiment, self._tag)

    def _is_next(self, others: Mapping[str, Mapping[str, Any]], *, say: bool) -> bool:
        holders = [one for one in others.values() if one["holds"]]
        if any(self._is_before(tag, one) for tag, one in others.items()):
            if holders and say and not self.waited:
                who = _WHO.format(**holders[0])
                progress.update(message=f"{self._name}: waiting for {who}, which runs it now.")
            self.waited |= bool(holders)
            return False
        self._holds = True
        self._write()
        # Another one, which this process was taken for dead by, may have begun just now.
        self._holds = not any(one["holds"] for one in self._others().values())
        if not self._holds:
            self._write()
        return self._holds

    def _is_before(self, tag: str, other: Mapping[str, Any]) -> bool:
        return other["holds"] or (other["number"], tag) < (self._number, self._tag)

    def _surely_first(self, others: Mapping[str, Mapping[str, Any]]) -> str:
        """Who comes before this process and is surely there; empty where nobody is known to be.

        One that cannot be looked up is, when a heartbeat of it has followed another. Who is still
        choosing a number may come later.
        """
        return next(
            (
                _WHO.format(**one)
                for tag, one in others.items()
                if one["number"] and self._is_before(tag, one)
                if is_there(one) or tag in self._beating
            ),
            "",
        )

    def _write(self) -> None:
        with self._writing:
            if self._ended:
                return
            said = {"number": self._number, "holds": self._holds, **owner_tags()}
            connection = client.connect()
            connection.set_experiment_tag(self._experiment, self._tag, json.dumps(said))

    def _others(self) -> dict[str, dict[str, Any]]:
        """What the others who claim the step say, by their tags; without those who are gone."""
        tags = client.connect().get_experiment(self._experiment).tags
        alive = {}
        for tag in [one for one in tags if one.startswith(PREFIX) and one != self._tag]:
            claim, of_step = _read(tags[tag]), tag.startswith(self._of_step)
            if claim is None or (self._is_gone(tag, claim) if of_step else _is_forgotten(claim)):
                with suppress(mlflow.MlflowException):  # another process has deleted it
                    client.connect().delete_experiment_tag(self._experiment, tag)
            elif of_step:
                alive[tag] = claim
        return alive

    def _is_gone(self, tag: str, claim: Mapping[str, str]) -> bool:
        now = time.monotonic()
        beat, since = self._heard.get(tag, ("", now))
        if beat != claim["heartbeat"]:
            self._beating |= {tag} if beat else set()
            self._heard[tag] = claim["heartbeat"], (since := now)
        gone = is_there(claim) is False or now - since > silence()
        if gone and claim["holds"]:
            who = _WHO.format(**claim)
            progress.update(message=f"{self._name}: taken over from {who}, which is gone.")
        return gone


def _read(said: str) -> dict[str, Any] | None:
    """A claim by its tag; None where that was not written by one."""
    with suppress(ValueError, KeyError, TypeError):
        claim = json.loads(said)
        known = int(claim["number"]), float(claim["heartbeat"]), claim["holds"]
        return claim if known and {"host", "pid"} <= claim.keys() else None
    return None


def _is_forgotten(claim: Mapping[str, str]) -> bool:
    return time.time() - float(claim["heartbeat"]) > FORGOTTEN_AFTER


@contextmanager
def hold(key: str, name: str, *, wait: bool = True) -> Iterator[Claim]:
    """Be the one process that runs the step with a key and a name; yields its claim.

    Raises:
        HeldError: where it is not to wait, and another one does.
    """
    claim = Claim(key, name)
    try:
        with heartbeat(claim.beat):
            claim.acquire(wait=wait)
            yield claim
    finally:
        claim.release()
