"""What must not be cut short is not, and is interrupted afterwards."""

import os
import signal

import pytest

from pipeline.base.signals import exit_code, interrupt_on_signals, interrupted_afterwards


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_waits_for_the_end_of_what_must_not_be_cut_short(
    number: signal.Signals, code: int
) -> None:
    happened: list[str] = []
    interrupt_on_signals(lambda: happened.append("told"))

    def act() -> None:
        with interrupted_afterwards():
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            happened.append("whole")

    with pytest.raises(KeyboardInterrupt) as interrupt:
        act()
    assert happened == ["whole", "told"]
    assert exit_code(interrupt.value) == code
    os.kill(os.getpid(), signal.SIGTERM)  # once: what the first set off is not cut short


def test_under_nohup_the_end_of_the_terminal_is_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupt_on_signals(lambda: None)
    os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_without_a_signal_nothing_happens() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with interrupted_afterwards():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
    assert exit_code(KeyboardInterrupt()) == 130
