"""What Keras has by names: what is declared as text becomes its objects and functions."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from pipeline.base import InputError, did_you_mean
from pipeline.comparisons.expressions import called_name, evaluated


def keras_object(
    text: str,
    module: ModuleType,
    *,
    subject: str,
    expected: str,
    own: Mapping[str, Callable[..., Any]] | None = None,
    **settings: Any,
) -> Any:
    """An initializer, optimizer, ... of Keras, or a function with its settings, from a declaration.

    Args:
        text: a name, or a call of one with settings.
        module: of Keras, with its `get`.
        subject, expected: of the refusal.
        own: what is not Keras's, by name.
        settings: given besides those of the text, where what is called takes them.

    Raises:
        InputError: if there is no such name, or it does not take these settings.
    """

    known = {one.lower(): found for one, found in vars(module).items() if _is_meant(one, found)}
    known |= own or {}

    def made(name: str) -> Callable[..., Any]:
        # Initializers and optimizers are classes: HeNormal is what Keras itself calls he_normal.
        found = known.get(name) or known[name.replace("_", "")]
        taken = inspect.signature(found).parameters
        given = {key: value for key, value in settings.items() if key in taken}
        called = functools.partial(found, **given)
        return called if inspect.isclass(found) else functools.partial(functools.partial, called)

    with refused_if_unknown(subject, expected, text, sorted(known)):
        return evaluated(text, value=lambda name: made(name)(), function=made)


def _is_meant(name: str, found: object) -> bool:
    """Whether something in a module of Keras can be declared by its name."""
    own = name.startswith("_") or name in ("get", "serialize", "deserialize")
    return callable(found) and not own


@contextmanager
def refused_if_unknown(
    subject: str, expected: str, received: str, names: list[str]
) -> Iterator[None]:
    """Turn what Keras says of a name that it does not know, or cannot use, into a refusal."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        name = called_name(received)
        meant = did_you_mean(name, names) if name not in names else ""
        reason = str(error).partition("\n")[0]
        raise InputError(
            subject,
            expected=expected,
            received=repr(received),
            action=meant or f"Correct it where the variant is declared ({reason}).",
        ) from error
