"""The errors, each of which tells a person what was wrong and what to do."""

import difflib
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any


class InputError(ValueError):
    """Something the caller gave cannot be used; the message says why and what to do about it.

    The subject is what was wrong, e.g. ``"variant"`` or ``"data set /data/cifar10.npz"``.
    """

    def __init__(self, subject: str, *, expected: str, received: str, action: str):
        self.subject = subject
        self.expected = expected
        self.received = received
        self.action = action
        super().__init__(f"{subject}: expected {expected}; received {received}. {action}")

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions with keyword-only arguments do not unpickle by default.
        named = {"expected": self.expected, "received": self.received, "action": self.action}
        return partial(type(self), **named), (self.subject,)


class DivergenceError(ArithmeticError):
    """Training reached a loss that is not finite."""


MOST_NAMED = 20  # names that a refusal lists


class TrackingUnavailableError(ConnectionError):
    """The tracking server did not take everything, for a reason; what was trained is kept."""

    def __str__(self) -> str:
        return (
            f"The tracking server did not take everything: {super().__str__()}. What was trained "
            "is kept: the same command, once the server is well, logs the rest without training "
            "again."
        )


class RunDeletedError(RuntimeError):
    """A run, by its id, was deleted while something was to be written to it."""

    def __init__(self, run_id: str):
        self.run_id = run_id
        super().__init__(run_id)

    def __str__(self) -> str:
        return (
            f"The run {self.run_id} was deleted while it was written to. Give the same command "
            "again: what is missing is made again."
        )


class StepsFailedError(RuntimeError):
    """Some steps of a comparison failed, by their names for a reason; the others were compared."""

    def __init__(self, failures: Mapping[str, str]):
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in failures.items()))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the known name nearest to a misspelt one, as a sentence (empty if none is near)."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean '{near[0]}'?" if near else ""


def unknown_name(subject: str, name: str, known: Iterable[str], elsewhere: str = "") -> InputError:
    """An error for a name that is not among the known ones, with the nearest suggested.

    Args:
        elsewhere: what to do where it is none of the names that are meant.
    """
    names = list(dict.fromkeys(known))
    near = did_you_mean(name, names)
    if len(names) > MOST_NAMED:
        names[MOST_NAMED:] = [f"{len(names) - MOST_NAMED} more"]
    action = " ".join(filter(None, [near, elsewhere])) or "Choose one of the names above."
    expected = f"one of {', '.join(names)}"
    return InputError(subject, expected=expected, received=repr(name), action=action)
