"""Finding comparisons: the files of this folder by name, and anyone's own by path."""

import dataclasses
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from pipeline.base import InputError, did_you_mean, unknown_name
from pipeline.comparisons.declarations import Comparison, Variant

DEFAULT = "twenty_layers"
_FOLDER = Path(__file__).parent
_NO_COMPARISONS = ("__init__", "declarations", "files", "settings")


def names() -> list[str]:
    """The comparisons of this folder, the default first."""
    found = sorted(path.stem for path in _FOLDER.glob("*.py") if path.stem not in _NO_COMPARISONS)
    return sorted(found, key=lambda name: name != DEFAULT)


@lru_cache
def load(comparison: str) -> Comparison:
    """The comparison of a name, or of a file.

    Args:
        comparison: one of `names`, or the path of a Python file that declares `COMPARISON`.

    Raises:
        InputError: if there is no such file, it cannot be imported, or what it declares is refused;
            the file and, where it can be told, the line are named.
    """
    if comparison in names():
        path, location = _FOLDER / f"{comparison}.py", comparison
    elif os.sep in comparison or comparison.endswith(".py"):
        path = Path(os.path.abspath(os.path.expanduser(comparison)))
        location = str(path)
    else:
        raise unknown_name("comparison", comparison, [*names(), "the path of a .py file"])
    with _refused_by_line(path):
        module = _imported(path)
    declared = getattr(module, "COMPARISON", None)
    if not isinstance(declared, Comparison):
        raise InputError(
            f"comparison {path}",
            expected="a file that declares COMPARISON = Comparison(...)",
            received="none" if declared is None else f"COMPARISON of {type(declared).__name__}",
            action="See pipeline/comparisons/twenty_layers.py for one that does.",
        )
    title = (inspect.getdoc(module) or path.stem).partition("\n")[0]
    return dataclasses.replace(declared, name=path.stem, title=title, location=location)


def find_variant(name: str, comparison: str = "auto") -> tuple[Variant, Comparison]:
    """A variant and a comparison that declares it.

    Args:
        name: of the variant.
        comparison: where to look first, as for `load`; ``auto``: in those of this folder.

    Raises:
        InputError: if none declares it, the nearest name is suggested; or if a file is refused.
    """
    given = [] if comparison == "auto" else [load(comparison)]
    known: list[str] = []
    for declared in _all(given):
        for variant in declared.variants:
            if variant.name == name:
                return variant, (given or [declared])[0]
            known.append(variant.name)
    raise unknown_name("variant", name, list(dict.fromkeys(known)))


def _all(first: list[Comparison]) -> Iterator[Comparison]:
    """Some comparisons, then those of this folder; one that is broken hides no other."""
    yield from first
    for name in names():
        try:
            yield load(name)
        except InputError:
            continue


def _imported(path: Path) -> ModuleType:
    if path.parent == _FOLDER:
        return importlib.import_module(f"{__package__}.{path.stem}")
    if not path.is_file():
        near = did_you_mean(path.name, (file.name for file in path.parent.glob("*.py")))
        raise InputError(
            "comparison",
            expected=f"the path of a Python file, or one of {', '.join(names())}",
            received=f"{path}, where there is no file",
            action=near or "Check the path.",
        )
    spec = importlib.util.spec_from_file_location(f"comparison_{abs(hash(path))}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@contextmanager
def _refused_by_line(path: Path) -> Iterator[None]:
    """Turn whatever a file raises while it is imported into a refusal that names its line."""
    try:
        yield
    except InputError as error:
        if line := _line(path, error):
            raise InputError(
                f"{error.subject}, in {path}, line {line}",
                expected=error.expected,
                received=error.received,
                action=error.action,
            ) from error
        raise
    except Exception as error:  # it is anyone's code
        line = _line(path, error)
        raise InputError(
            f"comparison {path}" + (f", line {line}" if line else ""),
            expected="a Python file that can be imported",
            received=f"{type(error).__name__}: {error}",
            action="Correct it and give the command again.",
        ) from error


def _line(path: Path, error: Exception) -> int | None:
    """The last line of a file that led to an error."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((one.lineno for one in reversed(frames) if one.filename == str(path)), None)
