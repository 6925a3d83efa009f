"""Finding comparisons: the files of this folder by name, and anyone's own by path."""

import dataclasses
import os
import runpy
import traceback
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.base import InputError, did_you_mean, unknown_name
from pipeline.comparisons.declarations import Comparison
from pipeline.comparisons.variants import Variant, check_reused

DEFAULT = "twenty_layers"
_FOLDER = Path(__file__).parent
_NO_COMPARISONS = (
    *("__init__", "declarations", "variants", "questions", "files", "checks", "colors"),
    "expressions",
)


def names() -> list[str]:
    """The comparisons of this folder, the default first."""
    found = sorted(path.stem for path in _FOLDER.glob("*.py") if path.stem not in _NO_COMPARISONS)
    return sorted(found, key=lambda name: name != DEFAULT)


def load(comparison: str) -> Comparison:
    """The comparison of a name, or of a file.

    Args:
        comparison: one of `names`, or the path of a Python file that declares `COMPARISON`.

    Raises:
        InputError: if there is no such file, it cannot be imported, or what it declares is refused;
            the file and, where it can be told, the line are named. Or if a variant starts from one
            that is nowhere declared, has other layers, or starts from it in turn; or if it is to
            have the learning rate of such a one, or of other data.
    """
    declared = _declared(comparison)
    for variant in declared.variants:
        _check_sources(variant, declared)
    return declared


def source_of(variant: Variant, comparison: Comparison) -> tuple[Variant, Comparison]:
    """The variant that another one of a comparison starts from, and the comparison it is of.

    Raises:
        InputError: as `_named`.
    """
    return _named("starts_from", variant, comparison)


def searched_for(variant: Variant, comparison: Comparison) -> tuple[Variant, Comparison]:
    """The variant by whose search one of a comparison has its learning rate: mostly itself.

    Raises:
        InputError: as `_named`.
    """
    while variant.learning_rate_of:
        variant, comparison = _named("learning_rate_of", variant, comparison)
    return variant, comparison


def named_by(variant: Variant, comparison: Comparison) -> dict[str, tuple[Variant, Comparison]]:
    """The variants that one of a comparison needs, by the setting that names them.

    Raises:
        InputError: as `_named`.
    """
    settings = (one for one in ("starts_from", "learning_rate_of") if getattr(variant, one))
    return {one: _named(one, variant, comparison) for one in settings}


def _named(setting: str, variant: Variant, comparison: Comparison) -> tuple[Variant, Comparison]:
    """The variant that a setting of another one names, and the comparison it is of.

    Raises:
        InputError: if none declares it, or the file that is named is refused.
    """
    text = getattr(variant, setting)
    file, _, name = text.rpartition(":")
    if file:
        beside = Path(comparison.location).parent  # a file names others from where it is
        try:
            places = [_declared(str(beside / file) if file.endswith(".py") else file)]
        except InputError as error:
            raise InputError(
                f"{error.subject}, in {setting} of variant '{variant.name}'",
                expected=error.expected,
                received=error.received,
                action=error.action,
            ) from error
    else:
        places = [comparison, *_of_this_folder()]
    for place in places:
        for one in place.variants:
            if one.name == name:
                return one, place
    known = dict.fromkeys(one.name for place in places for one in place.variants)
    elsewhere = f"Of another file, name that as well: {setting}='./mine.py:name'."
    raise unknown_name(f"{setting} of variant '{variant.name}'", text, known, elsewhere)


def _check_sources(
    variant: Variant, comparison: Comparison, before: tuple[tuple[str, str], ...] = ()
) -> None:
    """Refuse a variant that cannot start from what it is to, or cannot have the rate it is to.

    Before it come others that need it, each by the place that declares it and by name.
    """
    before = (*before, (comparison.location, variant.name))
    for setting, (one, place) in named_by(variant, comparison).items():
        if setting == "starts_from":
            check_reused(variant, one)
        else:
            _check_rate_of(variant, one, same_data=place.data == comparison.data)
        if (place.location, one.name) in before:
            raise InputError(
                f"{setting} of variant '{before[0][1]}'",
                expected="a variant that does not start from this one in turn, or have its rate",
                received=" -> ".join(name for _, name in (*before, ("", one.name))),
                action="Let one of them name no other.",
            )
        _check_sources(one, place, before)


def _check_rate_of(variant: Variant, other: Variant, *, same_data: bool) -> None:
    """Refuse the rate of a variant that is not searched, or is searched on other data."""
    if same_data and other.learning_rate is None:
        return
    own = f"one with learning_rate={other.learning_rate}" if same_data else "one of other data"
    raise InputError(
        f"learning_rate_of of variant '{variant.name}'",
        expected="a variant whose learning rate is searched on the same data",
        received=f"'{other.name}', {own}",
        action="Name another one, or give learning_rate instead.",
    )


def _of_this_folder() -> list[Comparison]:
    """The comparisons of this folder; one that is broken hides no other."""
    found = []
    for one in names():
        with suppress(InputError):
            found.append(_declared(one))
    return found


def _declared(comparison: str) -> Comparison:
    """What a comparison's file declares; what its variants name is not looked at."""
    if comparison in names():
        return _read(_FOLDER / f"{comparison}.py", comparison)
    path = Path(os.path.abspath(os.path.expanduser(comparison)))
    if os.sep not in comparison and path.suffix != ".py":
        raise unknown_name("comparison", comparison, [*names(), "the path of a .py file"])
    return _read(path, str(path))


@lru_cache
def _read(path: Path, location: str) -> Comparison:
    if not path.is_file():
        files = (file.name for file in path.parent.glob("*.py") if file.is_file())
        near = did_you_mean(path.name, files)
        raise InputError(
            "comparison",
            expected=f"the path of a Python file, or one of {', '.join(names())}",
            received=f"{path}, where there is no file",
            action=near or "Check the path.",
        )
    module = _run(path)
    declared = module.get("COMPARISON")
    if not isinstance(declared, Comparison):
        raise InputError(
            f"comparison {path}",
            expected="a file that declares COMPARISON = Comparison(...)",
            received="none" if declared is None else f"COMPARISON of {type(declared).__name__}",
            action="See pipeline/comparisons/twenty_layers.py for one that does.",
        )
    title = (module["__doc__"] or path.stem).strip().partition("\n")[0]
    return dataclasses.replace(declared, name=path.stem, title=title, location=location)


def find_variant(name: str, comparison: str = "auto") -> tuple[Variant, Comparison]:
    """A variant and a comparison that declares it.

    Args:
        name: of the variant.
        comparison: where to look first, as for `load`; ``auto``: in those of this folder.

    Raises:
        InputError: if none declares it, the nearest name is suggested; if a file is refused; or if
            it does not go with the data of the comparison, or with what it starts from.
    """
    given = [] if comparison == "auto" else [load(comparison)]
    everywhere = [*given, *_of_this_folder()]
    for declared in everywhere:
        for variant in declared.variants:
            if variant.name == name:
                place = (given or [declared])[0]
                place.data.check_arms(variant)
                _check_sources(variant, place)
                return variant, place
    known = dict.fromkeys(one.name for declared in everywhere for one in declared.variants)
    elsewhere = "Choose one of the names above, or give the comparison that declares it."
    raise unknown_name("variant", name, known, elsewhere)


def _run(path: Path) -> dict[str, Any]:
    """What a file declares; whatever it raises becomes a refusal that names its line."""
    try:
        return runpy.run_path(str(path))
    except Exception as error:  # it is anyone's code
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        if isinstance(error, SyntaxError) and error.filename == str(path):
            lines.append(error.lineno)
        where = f"{path}, line {lines[-1]}" if lines else str(path)
        refusal = error if isinstance(error, InputError) else None
        raise InputError(
            f"{refusal.subject}, in {where}" if refusal else f"comparison {where}",
            expected=refusal.expected if refusal else "a Python file that runs without an error",
            received=refusal.received if refusal else f"{type(error).__name__}: {error}",
            action=refusal.action if refusal else "Correct it and give the command again.",
        ) from error
