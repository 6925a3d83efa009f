"""One parameter: how it is declared, read from its text, refused, and written as text again."""

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, ClassVar, dataclass_transform

from pipeline.base import InputError, unknown_name

MOST = 1_000_000  # of epochs, trials, ...: more is a slip of the keyboard
MOST_ITEMS = 1_000  # of a list: of seeds, no question takes more than some dozens
REQUIRED = MISSING


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter."""

    help: str  # what it means, for ``--help`` and docs/parameters.md
    kind: type = str  # of its value: str, int or float
    value: str = ""  # what a text is, for ``--help``: a path, a name, ...
    least: float = 1  # the lowest and the highest number accepted
    most: float = MOST
    words: Mapping[str, Any] = field(default_factory=dict)  # accepted instead, and what they mean
    choices: tuple[str, ...] = ()  # the only texts accepted; empty: any
    many: bool = False  # whether it takes a list, separated by commas; of integers ranges, too

    @property
    def plain(self) -> type:
        """The type of its command-line option: of a number only where it takes nothing else."""
        return str if self.words or self.many else self.kind

    @property
    def metavar(self) -> str:
        """What it takes, in a word for ``--help``."""
        numbers = {int: "whole number", float: "number"}
        noun = self.value or numbers.get(self.kind, "text")
        return "|".join(self.choices) or noun + "s" * (self.many and not self.value)

    def read(self, name: str, value: Any) -> Any:
        """The value that a text stands for; a value that is one already stays.

        Raises:
            InputError: if it is none that is accepted.
        """
        if isinstance(value, str) and value in self.words:
            return self.words[value]
        if value in self.words.values():
            return value
        if self.many:
            return self._read_list(name, value) if isinstance(value, str) else tuple(value)
        if self.choices and value not in self.choices:
            raise unknown_name(name, value, self.choices)
        return value if self.kind is str else self._number(name, value)

    def text(self, value: Any) -> str:
        """The text that stands for a value."""
        for word, meaning in self.words.items():
            if value is meaning:
                return word
        if isinstance(value, tuple):
            return ",".join(map(str, value))
        return repr(value) if isinstance(value, float) else str(value)

    def _read_list(self, name: str, text: str) -> tuple[Any, ...]:
        items = [item.strip() for item in text.split(",") if item.strip()]
        parts = [self._items(name, item) for item in items]
        count = sum(map(len, parts))
        read = tuple(one for part in parts for one in part) if count <= MOST_ITEMS else ()
        if not read or len(set(read)) < count:
            example = "elu,bn" if self.kind is str else "1,2,3 or 1..5"
            raise InputError(
                name,
                expected=f"different items, at most {MOST_ITEMS}, separated by commas",
                received=str(count) if count > MOST_ITEMS else repr(text),
                action=f"For example: -P {name}={example}",
            )
        return read

    def _items(self, name: str, text: str) -> Sequence[Any]:
        """What an item of a list stands for: itself, or of 1..5 the integers from 1 to 5."""
        if self.kind is str:
            return (text,)
        first, dots, last = text.partition("..")
        low = self._number(name, first)
        high = self._number(name, last) if dots else low
        if low > high:
            raise InputError(
                name,
                expected="a range from the lower integer to the higher",
                received=repr(text),
                action=f"Give it as -P {name}={high}..{low}",
            )
        return range(low, high + 1)

    def _number(self, name: str, value: Any) -> Any:
        try:
            parsed = self.kind(value)
        except (ValueError, OverflowError):
            parsed = math.nan
        if not self.least <= parsed <= self.most or parsed == math.inf:
            noun = "an integer" if self.kind is int else "a number"
            words = "".join(f"{word} or " for word in self.words if not self.many)
            raise InputError(
                name,
                expected=f"{words}{noun} from {self.least} to {self.most}",
                received=repr(value),
                action=f"Give it as --{name.replace('_', '-')} or -P {name}=...",
            )
        return parsed


def asked(default: Any, help_text: str, kind: type = str, **details: Any) -> Any:
    """The declaration of a parameter, as a field of its group; see `Parameter`."""
    return field(default=default, metadata={"": Parameter(help=help_text, kind=kind, **details)})


def auto(help_text: str, otherwise: str, kind: type = str, **details: Any) -> Any:
    """The declaration of a parameter that is `auto`, None, where it is not given."""
    return asked("auto", f"{help_text} auto: {otherwise}.", kind, words={"auto": None}, **details)


def again(group: "type[Parameters]", name: str, *, default: Any) -> Any:
    """The declaration of a group's parameter with another default."""
    return field(default=default, metadata={"": declared(group)[name]})


def declared(of: "Parameters | type[Parameters]") -> dict[str, Parameter]:
    """The parameters of an entry point or a group, by the names of their fields."""
    return {one.name: one.metadata[""] for one in fields(of)}


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclass(frozen=True, kw_only=True)
class Parameters:
    """The parameters of an entry point or a group, given as texts or as values.

    Every subclass is a frozen dataclass of keywords.

    Raises:
        InputError: if one is none that is accepted.
    """

    # Names on the command line, where they are not those of the fields.
    called: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)

    def __post_init__(self) -> None:
        for name, parameter in declared(self).items():
            value = parameter.read(self.called.get(name, name), getattr(self, name))
            object.__setattr__(self, name, value)

    @classmethod
    def panel(cls, field: str) -> str:
        """The title of the group that a field is declared in."""
        group = next(one for one in cls.__mro__ if field in inspect.get_annotations(one))
        return (group.__doc__ or "").rstrip(".")

    @classmethod
    def options(cls) -> Iterator[tuple[str, str, Any, Parameter]]:
        """Of every parameter: its field, its name on the command line, default, declaration."""
        for one in fields(cls):
            yield one.name, cls.called.get(one.name, one.name), one.default, one.metadata[""]
