"""Calls to a tracking server that may be away for a while: they wait and are made again."""

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Generic, TypeVar

from pipeline.base import InputError, TrackingUnavailableError, hide_passwords, progress

Result = TypeVar("Result")

WAIT_VARIABLE = "TRACKING_WAIT_SECONDS"
LONGEST_PAUSE = 15.0  # seconds between two attempts
_OUTAGES = (
    "TEMPORARILY_UNAVAILABLE",
    "SERVICE_UNDER_MAINTENANCE",
    "DEADLINE_EXCEEDED",
    "REQUEST_LIMIT_EXCEEDED",
)

# Nobody waits for a server that never answered: its address is wrong, or it was not started.
_answered = threading.Event()
_waits: ContextVar[bool] = ContextVar("waits", default=True)


def wait_seconds() -> float:
    """Seconds that a step waits for a server that is away: TRACKING_WAIT_SECONDS, or 15 minutes.

    Raises:
        InputError: if the variable is no number of seconds.
    """
    given = os.environ.get(WAIT_VARIABLE, "900")
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= threading.TIMEOUT_MAX:
        raise InputError(
            WAIT_VARIABLE,
            expected="a number of seconds, 0 or more",
            received=repr(given),
            action="Leave it unset to wait for up to 15 minutes.",
        )
    return seconds if _waits.get() else 0.0


def again_while_away(
    call: Callable[[], Result], wait: Callable[[Exception, float], object], *, pause: float = 1.0
) -> Result:
    """Make a call, again and again while the server is away.

    Args:
        call: what to do; doing it twice must come to the same as doing it once.
        wait: waits for the server, given what went wrong and a number of seconds; raises where
            the call is not to be made again.
        pause: those seconds after the first failure; they double up to `LONGEST_PAUSE`.
    """
    while True:
        pause = min(pause, LONGEST_PAUSE)
        try:
            result = call()
        except Exception as error:
            if not is_away(error):
                raise
            wait(error, pause)
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
        if not _answered.is_set():
            raise _never_answered(error) from error
        reason, now = hide_passwords(str(error)), time.monotonic()
        if deadline is None:
            deadline = now + wait_seconds()
            if deadline > now:
                progress.update(message=waiting_message(reason))
        if now >= deadline:
            raise TrackingUnavailableError(reason) from error
        time.sleep(min(pause, deadline - now))

    return again_while_away(lambda: function(*arguments, **named), wait)


def waiting_message(reason: str) -> str:
    """What a person is told when a step begins to wait."""
    return (
        f"The tracking server does not answer; waiting for it for up to {wait_seconds():.0f} s "
        f"({reason})."
    )


def expect_server() -> None:
    """Wait for the server from the first call on: another process has had its answers."""
    _answered.set()


def set_waiting(waits: bool) -> None:
    """Whether to wait from here on; not where the process has been told to end."""
    _waits.set(waits)


@contextmanager
def not_waiting() -> Iterator[None]:
    """Fail at once where the server is away."""
    token = _waits.set(False)
    try:
        yield
    finally:
        _waits.reset(token)


def is_away(error: Exception) -> bool:
    """Whether an error means that the server, or the database behind it, is away."""
    import requests
    from mlflow.exceptions import MlflowException, RestException

    if isinstance(error, requests.RequestException):
        return error.response is None or error.response.status_code >= 500
    if not isinstance(error, MlflowException):
        waited = isinstance(error, TrackingUnavailableError)  # in a call inside this one
        return isinstance(error, ConnectionError) and not waited
    if "sqlite3." in str(error):  # this host's own: full or read-only, it would not come back
        return "locked" in str(error)
    if error.error_code in _OUTAGES:
        return True
    # MLflow gives this code to its own refusals, too, which the server has no part in.
    from_server = isinstance(error, RestException) or str(error).startswith("API request to")
    return error.error_code == "INTERNAL_ERROR" and from_server


def _never_answered(error: Exception) -> InputError:
    import mlflow

    return InputError(
        "MLFLOW_TRACKING_URI",
        expected="the address of a tracking server that answers",
        received=f"{hide_passwords(mlflow.get_tracking_uri())}, which does not "
        f"({hide_passwords(str(error))})",
        action="Start the server, or correct the address.",
    )


Item = TypeVar("Item")


class Publisher(Generic[Item]):
    """Sends the metrics of epochs in order, in the background, until the server has them.

    Training does not wait for the server: while it is away, metrics queue up.

    Args:
        send: sends one item, such as an epoch's metrics; raises where the server did not take
            it. An item that it did take and raised for all the same is sent again.
        retry_seconds: the pause after the first failure; it doubles up to 15 s.
    """

    def __init__(self, send: Callable[[Item], object], *, retry_seconds: float = 1.0):
        self._send = send
        self._retry_seconds = retry_seconds
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._gave_up = threading.Event()
        self._error: Exception | None = None
        # In the context of this thread, which knows where news of the progress go.
        self._thread = threading.Thread(
            target=copy_context().run, args=(self._run,), name="publisher", daemon=True
        )
        self._thread.start()

    def put(self, item: Item) -> None:
        """Queue an item."""
        self._queue.put(item)

    def close(self, *, timeout: float) -> None:
        """Wait until everything is sent.

        Args:
            timeout: seconds to wait.

        Raises:
            TrackingUnavailableError: if the server has not taken everything by then.
            Exception: what the server refused an item with, where it is there.
        """
        self._queue.put(None)
        self._thread.join(min(timeout, 5.0))
        if self._thread.is_alive() and timeout > 5.0:
            progress.update(message=waiting_message(hide_passwords(str(self._error))))
            self._thread.join(timeout - 5.0)
        if self._thread.is_alive():
            self._gave_up.set()
            raise TrackingUnavailableError(hide_passwords(str(self._error))) from self._error
        if self._error:
            raise self._error

    def give_up(self) -> None:
        """Send no more, and do not wait."""
        self._gave_up.set()
        self._queue.put(None)

    def _run(self) -> None:
        try:
            while (item := self._queue.get()) is not None and not self._gave_up.is_set():
                again_while_away(partial(self._send, item), self._wait, pause=self._retry_seconds)
                if self._error:
                    progress.update(message="The tracking server is back: metrics are sent again.")
                self._error = None
        except Exception as error:  # the server refuses the item, or is given up
            self._error = error

    def _wait(self, error: Exception, pause: float) -> None:
        if self._error is None:
            progress.update(
                message="The tracking server does not answer: training goes on, its metrics are "
                f"kept ({hide_passwords(str(error))})."
            )
        self._error = error
        if self._gave_up.wait(pause):
            raise error
