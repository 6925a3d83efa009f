"""A step: what decides its result, its code included, the key that names it, and its work."""

import ast
import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pipeline.comparisons import Variant
from pipeline.tracking.names import hidden, revealed

if TYPE_CHECKING:
    from mlflow.entities import Run

    from pipeline.tracking.runs import StepRun


@dataclass(frozen=True, kw_only=True)
class Step(ABC):
    """One entry point's run. What differs between steps is here; `running.once` runs them all.

    `entry_point` names what the run is of, `packages` those whose versions may change the result;
    with `resumes`, a run that was cut off goes on. `kept` are the files, artifacts of the run or of
    its ``model/``, without which a finished one is not used but made again.
    """

    entry_point: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    resumes: ClassVar[bool] = False
    kept: ClassVar[tuple[str, ...]] = ()

    @property
    def opened_for(self) -> str:
        """The entry point whose run is its own, where `mlflow run` has opened one."""
        return self.entry_point

    @property
    @abstractmethod
    def name(self) -> str:
        """What its run is called."""

    @abstractmethod
    def parameters(self) -> Mapping[str, Any]:
        """The parameters that change the result, in full."""

    @property
    def variant_settings(self) -> Mapping[str, Any]:
        """The settings of its variant that are not the defaults, and decide the result."""
        return {}

    def upstream(self) -> Mapping[str, str]:
        """Step keys (or fingerprints) of what it reads, by what they are."""
        return {}

    def after(self) -> Sequence["Step"]:
        """The steps whose runs it reads."""
        return ()

    @property
    def waits_for(self) -> str:
        """Why its key cannot be told yet; empty where it can."""
        return ""

    @property
    def checkpoints(self) -> str:
        """Where what it goes on from is kept, a folder or a URL."""
        return "checkpoints"

    def logged(self) -> Mapping[str, Any]:
        """Parameters that its run logs besides those that change the result."""
        return {}

    def tags(self) -> Mapping[str, Any]:
        """The tags of its run."""
        return {}

    @abstractmethod
    def work(self, run: "StepRun", after: Sequence["Run"]) -> None:
        """Do it, given its run, and those of `after`."""

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Every input by a name a person can read, for the key and for explaining a miss."""
        given = self.parameters()
        others = {name: one for name, one in self.variant_settings.items() if name not in given}
        return {
            **{f"parameter {name}": str(value) for name, value in given.items()},
            **{f"variant {name}": str(value) for name, value in others.items()},
            **self.makers(),
            **self.upstream(),
        }

    @classmethod
    def makers(cls) -> dict[str, str]:
        """The inputs that all steps of its kind share: its code, and the versions of packages."""
        return {
            **{f"code of {name}": code_hash(name) for name in modules_of(cls.__module__)},
            **{f"version of {name}": version(name) for name in cls.packages},
        }

    @cached_property
    def key(self) -> str:
        """SHA-256 over the entry point and all inputs."""
        return self._key_of(self.inputs)

    @cached_property
    def replicates_key(self) -> str:
        """The same but for its seed: that of all steps which differ from it in the seed alone."""
        return self._key_of(
            {name: one for name, one in self.inputs.items() if name != "parameter seed"}
        )

    def _key_of(self, inputs: Mapping[str, str]) -> str:
        canonical = json.dumps([self.entry_point, inputs], sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


def recorded_inputs(tags: Mapping[str, str], kind: str = "") -> dict[str, str]:
    """The inputs of a run, by its tags; of a kind such as ``version of ``, which names begin with.

    There are none where they were not recorded whole.
    """
    try:
        inputs = json.loads(revealed(tags).get("step_inputs", "{}"))
    except json.JSONDecodeError:  # MLflow cuts a tag after 8,000 characters
        return {}
    return {
        name.removeprefix(kind): value for name, value in inputs.items() if name.startswith(kind)
    }


def resolved_parameters(run: "Run") -> dict[str, str]:
    """The parameters of a step's run; `mlflow run` has logged them as given, such as ``auto``."""
    return {**run.data.params, **recorded_inputs(run.data.tags, "parameter ")}


def settings_tag(variant: Variant, given: Mapping[str, Any]) -> dict[str, str]:
    """The tag that tells what a run's variant was, and which of its settings were given."""
    said = json.dumps({"variant": dataclasses.asdict(variant), "given": dict(given)})
    return hidden({"settings": said})


def recorded_settings(tags: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `settings_tag` was given; empty for a run from before this was recorded."""
    recorded = json.loads(revealed(tags).get("settings", "{}"))
    return recorded.get("variant", {}), recorded.get("given", {})


def is_training_of(variant: Variant, tags: Mapping[str, str]) -> bool:
    """Whether a run with the variant's name trained it as it is declared, or as it was told to.

    A run from before that was recorded is taken by its name.
    """
    trained = recorded_variant(tags)
    if trained is None:
        return True
    names = {*trained.content("train"), *variant.content("train"), "learning_rate_of"}
    changed = {name for name in names if getattr(trained, name) != getattr(variant, name)}
    return changed <= recorded_settings(tags)[1].keys()


def recorded_variant(tags: Mapping[str, str]) -> Variant | None:
    """The variant of a run, as far as it is declared like this today; None of an older run."""
    settings, _ = recorded_settings(tags)
    known = [one.name for one in dataclasses.fields(Variant)]
    given = {name: settings[name] for name in known if name in settings}
    return Variant(**given) if given else None


PACKAGE = Path(__file__).parents[1]
# Rooms that carry results and do not make them, and what is declared: in a step's key by content.
CARRIERS = ("base", "comparisons", "parameters", "steps", "tracking")


@lru_cache
def modules_of(module: str) -> tuple[str, ...]:
    """The modules whose code decides what the work in one, ``pipeline.work.train``, comes to.

    It and all that it imports of this package, at its top or in a function, for types alone or not;
    without the rooms in `CARRIERS`, and what only those import.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        package, _, room = name.partition(".")
        carries = room.partition(".")[0] in CARRIERS
        if package == PACKAGE.name and not carries and name not in found and _path(name).is_file():
            found.add(name)
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
        match body := getattr(node, "body", None):
            case [ast.Expr(value=ast.Constant(value=str())), *_]:
                del body[0]
    return ast.dump(tree).encode()


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


def _path(module: str) -> Path:
    return PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")
