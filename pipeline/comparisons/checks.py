"""The checks that every declaration passes, by the types and bounds of its fields."""

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pipeline.base import InputError

MOST = 1_000_000  # of units, epochs, ...: more is a slip of the keyboard
AS_TEXT = "Write what it computes as text, such as activation='x * tanh(softplus(x))'."


def check_name(subject: str, name: object) -> None:
    """Refuse a name that could not stand in queries, file names and addresses."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,49}", name):
        raise InputError(
            f"name of a {subject}",
            expected="up to 50 letters, digits and _ . -, a letter or digit first",
            received=repr(name),
            action="For example bn_swish.",
        )


def check_settings(whose: str, declared: Any) -> None:
    """Refuse a setting whose type or value is not what its declaration says."""
    hints = get_type_hints(type(declared))
    for one in dataclasses.fields(declared):
        value = getattr(declared, one.name)
        allowed = list(_allowed(value, hints[one.name], one.metadata))
        if not any(fits for fits, _ in allowed):
            raise InputError(
                f"{one.name} {whose}",
                expected=" or ".join(words for _, words in allowed),
                received=repr(value),
                action=AS_TEXT if callable(value) else "Correct it in the file that declares it.",
            )


def _allowed(value: Any, hint: Any, bounds: Mapping[str, Any]) -> Iterator[tuple[bool, str]]:
    """For all that a type allows: whether a value is that, and what it is in words."""
    least, most = bounds.get("least", 1), bounds.get("most", MOST)
    for kind in get_args(hint) if type(None) in get_args(hint) else (hint,):
        if get_origin(kind) is Literal:
            yield from ((value == one, repr(one)) for one in get_args(kind))
        elif get_origin(kind) is tuple:
            yield isinstance(value, tuple | list), "a tuple"
        elif kind is int:
            fits = type(value) is int and least <= value <= most
            yield fits, f"an integer from {least} to {most}"
        elif kind is float:
            yield type(value) in (int, float), "a number"
        elif kind is str:
            pattern = bounds.get("pattern", "(?s).*")
            words = "a colour such as #0072B2" if "pattern" in bounds else "a text"
            yield type(value) is str and bool(re.fullmatch(pattern, value)), words
        else:
            yield type(value) is kind, "True or False" if kind is bool else "None"


def check_all(subject: str, given: object, kind: type, least: int = 1) -> None:
    """Refuse what is no sequence of declarations of a kind."""
    found = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else None
    if found is None or len(found) < least or not all(isinstance(one, kind) for one in found):
        raise InputError(
            f"{subject} of a comparison",
            expected=f"{'at least one' if least else 'a tuple of'} {kind.__name__}",
            received=_kinds(given),
            action=f"For example {subject}=({kind.__name__}(...),); mind the comma.",
        )


def _kinds(given: object) -> str:
    """What it is, or what is in it."""
    if isinstance(given, Sequence) and not isinstance(given, str):
        kinds = dict.fromkeys(type(one).__name__ for one in given)
        return f"a {type(given).__name__} of {' and '.join(kinds) or 'nothing'}"
    return f"a {type(given).__name__}"


def check_different(subject: str, names: Sequence[str]) -> None:
    """Refuse two of one name."""
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise InputError(
            f"{subject} of a comparison",
            expected="different ones",
            received=f"'{twice[0]}' twice",
            action="Give one of them another name, or leave it out.",
        )
