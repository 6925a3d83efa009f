"""The code that decides what a step comes to: what its module imports, directly or not."""

import ast
import hashlib
from functools import lru_cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# Rooms that carry results and do not make them, and what is declared: in a step's key by content.
CARRIERS = ("base", "comparisons", "parameters", "steps", "tracking")


@lru_cache
def modules_of(module: str) -> tuple[str, ...]:
    """The modules whose code decides the results of a step, by name.

    Args:
        module: the module with the step's work, such as ``pipeline.work.train``.

    Returns:
        It and all that it imports of this package, at its top or in a function, for types alone or
        not; without the rooms in `CARRIERS`, and what only those import.
    """
    found: dict[str, None] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in found and _is_module(name) and name.split(".")[1] not in CARRIERS:
            found[name] = None
            waiting += _imported(name)
    return tuple(sorted(found))


def code_hash(module: str) -> str:
    """Hash of what a module does, and of the files of its name beside it, such as a template.

    Comments, formatting and docstrings of Python code do not count.
    """
    path = _path(module)
    beside = sorted(set(path.parent.glob(f"{path.stem}.*")) - {path})
    parts = [_syntax(path), *(file.read_bytes() for file in beside)]
    return hashlib.sha256(b"\n".join(parts)).hexdigest()[:16]


@lru_cache
def _syntax(path: Path) -> bytes:
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            del body[0]
    return ast.dump(tree).encode()


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@lru_cache
def _imported(module: str) -> tuple[str, ...]:
    """The modules of this package that a module imports."""
    names: list[str] = []
    for node in ast.walk(ast.parse(_path(module).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            names += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    return tuple(names)


def _is_module(name: str) -> bool:
    return name.startswith(f"{PACKAGE.name}.") and _path(name).is_file()


def _path(module: str) -> Path:
    return PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
