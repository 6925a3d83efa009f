"""Step keys: what decides the result of a step, and the hash that names it."""

import ast
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.entities import Run

# The modules of `pipeline` that decide what a training comes to.
TRAINING_SOURCES = (
    "environment",
    "variants",
    "data",
    "models",
    "xla_layers",
    "schedules",
    "optimizers",
    "blocks",
    "callbacks",
    "training",
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """What decides the result of one entry point's run, and the key that names it.

    Args:
        entry_point: name of the entry point.
        parameters: the canonical parameters that change the result.
        sources: the modules of `pipeline` whose code produces the result, and other files of it
            by their full names.
        packages: the packages whose versions may change the result.
        upstream: step keys (or fingerprints) of what the step reads, by what they are.
    """

    entry_point: str
    parameters: Mapping[str, Any]
    sources: Sequence[str]
    packages: Sequence[str]
    upstream: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Every input by a name a person can read, for the key and for explaining a miss."""
        return {
            **{f"parameter {name}": str(value) for name, value in self.parameters.items()},
            **{f"code of pipeline.{name}": _source_hash(_source(name)) for name in self.sources},
            **{f"version of {name}": version(name) for name in self.packages},
            **dict(self.upstream),
        }

    @cached_property
    def key(self) -> str:
        """SHA-256 over the entry point and all inputs."""
        canonical = json.dumps([self.entry_point, self.inputs], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


def _source(name: str) -> Path:
    return Path(__file__).with_name(name if "." in name else f"{name}.py")


def recorded_inputs(tags: Mapping[str, str], kind: str = "") -> dict[str, str]:
    """The inputs that a run was made from, by its tags; none where they were not recorded whole.

    Args:
        tags: of the run.
        kind: what their names begin with, such as ``version of``; it is left out of the result.
    """
    try:
        inputs = json.loads(tags.get("step_inputs", "{}"))
    except json.JSONDecodeError:  # MLflow cuts a tag after 8,000 characters
        return {}
    return {
        name.removeprefix(kind): value for name, value in inputs.items() if name.startswith(kind)
    }


def resolved_parameters(run: "Run") -> dict[str, str]:
    """The parameters of a step's run, resolved.

    Where `mlflow run` opened the run, it has logged them as it was given them, such as ``auto``,
    and they cannot be logged anew.
    """
    return {**run.data.params, **recorded_inputs(run.data.tags, "parameter ")}


@lru_cache
def _source_hash(source: Path) -> str:
    """Hash of a file; of a module, of what it does: no comments, formatting and docstrings."""
    if source.suffix != ".py":
        return hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    tree = ast.parse(source.read_text("utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_docstring(body[0]):
            del body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
