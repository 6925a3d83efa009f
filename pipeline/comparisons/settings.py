"""The checks that every declaration passes, by the types and bounds of its fields."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pipeline.base import InputError

MOST = 1_000_000  # of units, epochs, ...: more is a slip of the keyboard


def check_name(subject: str, name: object) -> None:
    # It stands in queries, file names and addresses.
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
        value, hint = getattr(declared, one.name), hints[one.name]
        expected = _expected(hint, one.metadata)
        if not _fits(value, hint, one.metadata):
            raise InputError(
                f"{one.name} {whose}",
                expected=expected,
                received=repr(value),
                action="Correct it in the file that declares it.",
            )


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The types that a hint allows."""
    return get_args(hint) if get_origin(hint) in (Union, type(int | None)) else (hint,)


def _fits(value: object, hint: Any, bounds: Mapping[str, Any]) -> bool:
    for kind in _kinds(hint):
        if get_origin(kind) is Literal and value in get_args(kind):
            return True
        if kind is int and type(value) is int:
            return bounds.get("least", 1) <= value <= bounds.get("most", MOST)
        if kind is float and type(value) in (int, float):
            return True
        if get_origin(kind) is tuple and isinstance(value, tuple | list):
            return True
        if isinstance(kind, type) and kind not in (int, float) and type(value) is kind:
            return True
    return False


def _expected(hint: Any, bounds: Mapping[str, Any]) -> str:
    words = {bool: "True or False", float: "a number", str: "a text", type(None): "None"}
    least, most = bounds.get("least", 1), bounds.get("most", MOST)
    found = []
    for kind in _kinds(hint):
        if get_origin(kind) is Literal:
            found += [repr(one) for one in get_args(kind)]
        elif kind is int:
            found.append(f"an integer from {least} to {most}")
        else:
            found.append(words.get(kind, "a tuple"))
    return " or ".join(found)


def check_all(subject: str, given: object, kind: type, least: int = 1) -> None:
    found = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else None
    if found is None or len(found) < least or not all(isinstance(one, kind) for one in found):
        raise InputError(
            f"{subject} of a comparison",
            expected=f"{'at least one' if least else 'a tuple of'} {kind.__name__}",
            received=repr(given)[:200],
            action=f"For example {subject}=({kind.__name__}(...),); mind the comma.",
        )


def check_different(subject: str, names: Sequence[str]) -> None:
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise InputError(
            f"{subject} of a comparison",
            expected="different ones",
            received=f"'{twice[0]}' twice",
            action="Give one of them another name, or leave it out.",
        )
