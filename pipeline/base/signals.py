"""What happens on SIGTERM, Ctrl-C and the end of the terminal: they interrupt a command, once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

INTERRUPTING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def interrupt_on_signals(first: Callable[[], object]) -> None:
    """Let these signals raise KeyboardInterrupt with their number, after `first` is called.

    Where `nohup` lets the end of the terminal be ignored, it is.
    """

    def interrupt(received: int, _frame: object) -> NoReturn:
        # `mlflow run` answers Ctrl-C with a SIGTERM of its own: it must not cut short what the
        # first signal set off, the ending of workers and runs.
        for number in INTERRUPTING:
            signal.signal(number, signal.SIG_IGN)
        first()
        raise KeyboardInterrupt(received)

    for number in INTERRUPTING:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)


def exit_code(interrupt: KeyboardInterrupt) -> int:
    """129 for the end of the terminal, 130 for Ctrl-C and 143 for SIGTERM, as shells count."""
    return 128 + (*interrupt.args, signal.SIGINT)[0]


@contextmanager
def interrupted_afterwards() -> Iterator[None]:
    """Let signals wait for the end of what must not be cut short."""
    received: list[int] = []
    before = [signal.signal(one, lambda number, _: received.append(number)) for one in INTERRUPTING]
    try:
        yield
    finally:
        for number, handler in zip(INTERRUPTING, before, strict=True):
            signal.signal(number, handler)
    if received:
        signal.raise_signal(signal.Signals(received[0]))
