"""What Keras has by names: what is declared as text becomes its objects and functions."""

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from pipeline.base import InputError, did_you_mean
from pipeline.comparisons.expressions import evaluated


def keras_object(
    text: str,
    module: ModuleType,
    *,
    kind: type | None = None,
    subject: str,
    expected: str,
    own: Mapping[str, Callable[..., Any]] | None = None,
    **settings: Any,
) -> Any:
    """An initializer, optimizer, ... of Keras, or a function with its settings, from a declaration.

    Args:
        text: a name, or a call of one with settings.
        module: of Keras.
        kind: that it has to be of; left out, a function will do.
        subject, expected: of the refusal.
        own: what is not Keras's, by name: called to give the object.
        settings: given besides those of the text, where what is called takes them.

    Raises:
        InputError: if there is no such name, or it does not take these settings.
    """
    known = {name.lower(): found for name, found in declarable(module).items()} | dict(own or {})

    def made(name: str) -> Callable[..., Any]:
        # Initializers and optimizers are classes: HeNormal is what Keras itself calls he_normal.
        found = known.get(name) or known.get(name.lower().replace("_", ""))
        if found is None:
            raise KeyError(name)
        taken = inspect.signature(found).parameters
        given = {key: value for key, value in settings.items() if key in taken}
        called = functools.partial(found, **given)
        is_made = inspect.isclass(found) or name in (own or {})
        return called if is_made else functools.partial(functools.partial, called)

    with refused_if_unknown(subject, expected, text, sorted(known)):
        found = evaluated(text, value=lambda name: made(name)(), function=made)
        if not (isinstance(found, kind) if kind else callable(found)):
            raise TypeError(f"it gives {found!r}")
        return found


def declarable(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """What a module of Keras has that can be declared, by name."""
    others = ("get", "serialize", "deserialize")
    return {
        name: found
        for name, found in vars(module).items()
        if callable(found) and not name.startswith("_") and name not in others
    }


@contextmanager
def refused_if_unknown(
    subject: str, expected: str, received: str, names: list[str]
) -> Iterator[None]:
    """Turn what Keras says of a name that it does not know, or cannot use, into a refusal."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of what it calls, with settings that are anyone's
        unknown = str(error.args[0]) if isinstance(error, KeyError) else ""
        reason = f"{unknown!r} is unknown" if unknown else str(error).partition("\n")[0]
        meant = did_you_mean(unknown, names)
        raise InputError(
            subject,
            expected=expected,
            received=repr(received),
            action=meant or f"Correct it where the variant is declared ({reason}).",
        ) from error
