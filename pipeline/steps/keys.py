"""Step keys: what decides the result of a step, and the hash that names it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from pipeline.steps.code import code_hash

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True, kw_only=True)
class Step:
    """What decides the result of one entry point's run, and the key that names it.

    Args:
        entry_point: name of the entry point.
        parameters: the canonical parameters that change the result.
        sources: the modules whose code produces the result, by name; see `modules_of`.
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
            **{f"code of {name}": code_hash(name) for name in self.sources},
            **{f"version of {name}": version(name) for name in self.packages},
            **dict(self.upstream),
        }

    @cached_property
    def key(self) -> str:
        """SHA-256 over the entry point and all inputs."""
        canonical = json.dumps([self.entry_point, self.inputs], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


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
