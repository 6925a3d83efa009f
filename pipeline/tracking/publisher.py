"""Metrics on their way to the tracking server, which may be away for a while."""

import queue
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Generic, TypeVar

from pipeline.base import TrackingUnavailableError, hide_passwords, progress
from pipeline.tracking.patience import again_while_away, waiting_message

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
