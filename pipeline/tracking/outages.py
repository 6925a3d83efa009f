"""Calls to a tracking server that may be away for a while: they wait and are made again."""

import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Generic, TypeVar

from pipeline.base import InputError, TrackingUnavailableError, hide_passwords, progress
from pipeline.tracking.refusals import reason, refusal

Result = TypeVar("Result")
Item = TypeVar("Item")

WAIT = "TRACKING_WAIT_SECONDS"
LONGEST_PAUSE = 15.0  # seconds between two attempts
GATHERED_SECONDS, MOST_AT_ONCE = 0.25, 100  # epochs; MLflow takes 1,000 metrics at once
MOMENT = 5.0  # seconds for what is on its way, of which nobody is told
_OUTAGES = (
    "TEMPORARILY_UNAVAILABLE",
    "SERVICE_UNDER_MAINTENANCE",
    "DEADLINE_EXCEEDED",
    "REQUEST_LIMIT_EXCEEDED",
)
_SAME_ROW = ("UNIQUE constraint failed", "duplicate key value", "Duplicate entry")
MOST_MEETINGS = 5

# Nobody waits for a server that never answered: its address is wrong, or it was not started.
_answered = threading.Event()
expect_server = _answered.set  # where another process has had its answers
_waits: ContextVar[bool] = ContextVar("waits", default=True)
set_waiting = _waits.set  # from here on; False where the process has been told to end


def has_answered() -> bool:
    """Whether the server has answered this process, or the one that started it."""
    return _answered.is_set()


@contextmanager
def not_waiting() -> Iterator[None]:
    """Fail at once where the server is away."""
    token = _waits.set(False)
    try:
        yield
    finally:
        _waits.reset(token)


def wait_seconds() -> float:
    """Seconds that a step waits for a server that is away: TRACKING_WAIT_SECONDS, or 15 minutes.

    Raises:
        InputError: if the variable is no number of seconds.
    """
    given = os.environ.get(WAIT, "900")
    with suppress(ValueError):
        if 0 <= float(given) <= threading.TIMEOUT_MAX:
            return float(given) if _waits.get() else 0.0
    expected, received = "a number of seconds, 0 or more", repr(given)
    action = "Leave it unset to wait for up to 15 minutes."
    raise InputError(WAIT, expected=expected, received=received, action=action)


def is_away(error: Exception) -> bool:
    """Whether an error means that the server, or the database behind it, is away."""
    import requests
    from mlflow.exceptions import MlflowException, RestException

    if isinstance(error, requests.RequestException):
        return error.response is None or error.response.status_code >= 500
    if not isinstance(error, MlflowException):
        waited = isinstance(error, TrackingUnavailableError)  # in a call inside this one
        return isinstance(error, ConnectionError) and not waited
    if "QueuePool limit" in str(error):  # more is asked for than it has connections to its database
        return True  # which MLflow takes for a bad request
    if "sqlite3." in str(error):  # this host's own: full or read-only, it would not come back
        return "locked" in str(error)
    # MLflow gives this code to its own refusals, too, which the server has no part in.
    from_server = isinstance(error, RestException) or str(error).startswith("API request to")
    return error.error_code in _OUTAGES or (error.error_code == "INTERNAL_ERROR" and from_server)


def _met_another(error: Exception) -> bool:
    """Whether another process wrote the same, a tag or a data set, just before.

    MLflow looks whether a row is there before it adds one: with it there, it changes that.
    """
    is_known = getattr(error, "error_code", "") == "RESOURCE_ALREADY_EXISTS"
    return not is_known and any(one in str(error) for one in _SAME_ROW)


def again_while_away(
    call: Callable[[], Result], wait: Callable[[Exception, float], object], *, pause: float = 1.0
) -> Result:
    """Make a call, which may be made twice, again and again while the server is away.

    In between, `wait` is given what went wrong and seconds to wait, which double from `pause` up to
    `LONGEST_PAUSE`; it raises where the call is not to be made again. What the server refuses is
    raised as a `refusal`.
    """
    meetings = 0
    while True:
        try:
            result = call()
        except Exception as error:
            meetings += _met_another(error)
            if _met_another(error) and meetings <= MOST_MEETINGS:
                continue
            if refused := refusal(error):
                raise refused from error
            if not is_away(error):
                raise
            wait(error, min(pause, LONGEST_PAUSE))
            pause *= 2
        else:
            _answered.set()
            return result


def patiently(function: Callable[..., Result], *arguments: Any, **named: Any) -> Result:
    """Call a function of the tracking server with some arguments, waiting while that is away.

    Raises:
        TrackingUnavailableError: if the server is still away after `wait_seconds`.
        InputError: if it has never answered this process.
    """
    deadline: float | None = None

    def wait(error: Exception, pause: float) -> None:
        nonlocal deadline
        why, now = _why(error), time.monotonic()
        if not _answered.is_set():
            raise _never_answered(why) from error
        if deadline is None:
            deadline = now + wait_seconds()
            if deadline > now:
                _say_that_it_waits(why)
        if now >= deadline:
            raise TrackingUnavailableError(why) from error
        time.sleep(min(pause, deadline - now))

    return again_while_away(partial(function, *arguments, **named), wait)


def _why(error: Exception) -> str:
    """What an error says; and whether it is what keeps artifacts that is away, not the server.

    Of a disk or a bucket that is full, MLflow's server tells its log alone.
    """
    why = reason(error)
    if "/mlflow-artifacts/" in str(error) and _takes_runs():
        log = "make room there; the server's log says more"
        return f"it answers, but its artifact store takes nothing: full, or away ({why}); {log}"
    return why


def _takes_runs() -> bool:
    import mlflow

    with suppress(Exception):
        mlflow.MlflowClient().search_experiments(max_results=1)
        return True
    return False


def _say_that_it_waits(why: str) -> None:
    waiting = f"waiting for it for up to {wait_seconds():.0f} s ({why})."
    progress.update(message=f"The tracking server does not answer; {waiting}")


def _never_answered(why: str) -> InputError:
    import mlflow

    received = f"{hide_passwords(mlflow.get_tracking_uri())}, which does not ({why})"
    expected = "the address of a tracking server that answers"
    action = "Start the server, or correct the address."
    return InputError("MLFLOW_TRACKING_URI", expected=expected, received=received, action=action)


class Publisher(Generic[Item]):
    """Sends items, the metrics of epochs, in order and in the background until the server has them.

    Training does not wait for the server: while it is away, metrics queue up. `send` sends some
    and raises where the server did not take them; then they are sent again, also where that was
    wrong.
    """

    def __init__(self, send: Callable[[list[Item]], object], *, retry_seconds: float = 1.0):
        self._send = send
        self._retry_seconds = retry_seconds
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self.put = self._queue.put  # queues an item
        self._gave_up = threading.Event()
        self._error: Exception | None = None
        self._sent = 0
        # In the context of this thread, which knows where news of the progress go.
        run = partial(copy_context().run, self._run)
        self._thread = threading.Thread(target=run, name="publisher", daemon=True)
        self._thread.start()

    def close(self, *, timeout: float) -> None:
        """Wait until everything is sent, for at most so many seconds in which nothing is.

        Raises:
            TrackingUnavailableError: if the server is away until then; else what it refused with.
        """
        self.put(None)
        self._thread.join(min(timeout, MOMENT))
        before = -1
        # As long as some arrive, the server is slow, not away.
        while self._thread.is_alive() and timeout > MOMENT and self._sent > before:
            if before < 0:
                self._say_what_is_left()
            before = self._sent
            self._thread.join(timeout)
        if self._thread.is_alive():
            self._gave_up.set()
            why = reason(self._error) if self._error else f"it took nothing for {timeout:g} s"
            raise TrackingUnavailableError(why) from self._error
        if self._error:
            raise self._error

    def _say_what_is_left(self) -> None:
        if self._error:
            _say_that_it_waits(reason(self._error))
        else:
            text = f"waiting for it to take the last {self._queue.qsize()} epochs."
            progress.update(message=f"The tracking server is slow: {text}")

    def give_up(self) -> None:
        """Send no more, and do not wait."""
        self._gave_up.set()
        self.put(None)

    def _run(self) -> None:
        ended = False
        try:
            while not ended:
                items, ended = self._gathered()
                if self._gave_up.is_set() or not items:
                    return
                again_while_away(partial(self._send, items), self._wait, pause=self._retry_seconds)
                if self._error:
                    progress.update(message="The tracking server is back: metrics are sent again.")
                self._error = None
                self._sent += len(items)
        except Exception as error:  # the server refuses some, or is given up
            self._error = error

    def _gathered(self) -> tuple[list[Item], bool]:
        """What is put within a moment of the first, and whether there is no more to come.

        Epochs of a few milliseconds would often wait for a thread that sends them one by one.
        """
        found: list[Item] = []
        last = math.inf
        while len(found) < MOST_AT_ONCE:
            left = max(0.0, last - time.monotonic()) if found else None
            try:
                item = self._queue.get(timeout=left)
            except queue.Empty:
                break
            if item is None:
                return found, True
            last = last if found else time.monotonic() + GATHERED_SECONDS
            found.append(item)
        return found, False

    def _wait(self, error: Exception, pause: float) -> None:
        if self._error is None:
            kept = f"training goes on, its metrics are kept ({reason(error)})."
            progress.update(message=f"The tracking server does not answer: {kept}")
        self._error = error
        if self._gave_up.wait(pause):
            raise error
