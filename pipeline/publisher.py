"""Metrics on their way to the tracking server, which may be away for a while."""

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from pipeline import progress
from pipeline.errors import TrackingUnavailableError

Item = TypeVar("Item")


class Publisher(Generic[Item]):
    """Sends the metrics of epochs in order, in the background, until the server has them.

    Training does not wait for the server: while it is away, metrics queue up.

    Args:
        send: sends one item, such as an epoch's metrics; raises where the server did not take
            it.
        retry_seconds: the pause after the first failure; it doubles up to 16 times that.
    """

    def __init__(self, send: Callable[[Item], object], *, retry_seconds: float = 1.0):
        self._send = send
        self._retry_seconds = retry_seconds
        self._queue: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
        self._gave_up = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
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
        """
        self._queue.put(None)
        self._thread.join(min(timeout, 5.0))
        if self._thread.is_alive():
            progress.update(
                message=f"The tracking server does not answer ({self._error}); waiting for it for "
                f"up to {timeout:.0f} s."
            )
            self._thread.join(timeout)
        if self._thread.is_alive():
            self._gave_up.set()
            raise TrackingUnavailableError(str(self._error)) from self._error

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            pause = self._retry_seconds
            while not self._gave_up.is_set():
                try:
                    self._send(item)
                    break
                except Exception as error:
                    self._error = error
                    self._gave_up.wait(pause)
                    pause = min(2 * pause, 16 * self._retry_seconds)
