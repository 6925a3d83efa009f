"""How every benchmark measures: fresh processes in turns, their times and their memory.

A benchmark is a module with a function of the same name. Each side of it is measured in processes
of its own, the sides in turns, so that a busy spell of the machine meets all of them. Run as
`python -m benchmarks.harness <module>:<function> <JSON arguments>`, this module is such a process.
"""

import datetime
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pandas as pd

from pipeline.base import progress, unknown_name
from pipeline.comparisons import Data
from pipeline.data import sources
from pipeline.data.splits import save
from pipeline.data.splitting import split_arrays
from pipeline.parameters import Parameters, parameter

if TYPE_CHECKING:
    from mlflow.entities import Run

PROJECT = Path(__file__).parents[1]
OURS = "pipeline"
MIB = 2**20
Row = dict[str, Any]
Value = TypeVar("Value")


def data_set(default: str) -> Any:
    """The parameter that says on which data set a benchmark measures."""
    return parameter.asked(default, "The data set, as the pipeline takes it.")


def rounds(default: int) -> Any:
    """The parameter that says how often a benchmark measures each side."""
    return parameter.asked(default, "Turns of each side.", int)


class OnData(Parameters):
    """What is measured."""

    dataset: str = data_set("auto")


@dataclass(frozen=True)
class Usage:
    """What a process and the processes that it waited for have used.

    Args:
        wall_seconds: from its start to its end.
        cpu_seconds: of all threads, user and system.
        peak_mib: most memory resident at once in one process, shared pages included.
    """

    wall_seconds: float
    cpu_seconds: float
    peak_mib: float


def run(
    command: Sequence[str],
    *,
    directory: Path = PROJECT,
    environment: Mapping[str, str] | None = None,
    errors: bool = False,
) -> tuple[Usage, str]:
    """Run a command to its end; returns what it used and what it printed.

    Args:
        command: the program and its arguments.
        directory: its working directory.
        environment: variables besides those of `clean_environment`.
        errors: whether what it printed includes its standard error.

    Raises:
        RuntimeError: if it fails; the message holds the end of what it printed.
    """
    with tempfile.TemporaryDirectory() as measured:
        usage_file = Path(measured) / "usage.json"
        launcher = [sys.executable, "-S", str(PROJECT / "benchmarks" / "launcher.py")]
        finished = subprocess.run(
            [*launcher, str(usage_file), *command],
            cwd=directory,
            env={**clean_environment(), **(environment or {})},
            capture_output=True,
            text=True,
        )
        if finished.returncode:
            printed = finished.stdout + finished.stderr
            raise RuntimeError(f"{' '.join(command)}: {printed[-4000:]}")
        usage = Usage(**json.loads(usage_file.read_text("utf-8")))
    return usage, finished.stdout + finished.stderr if errors else finished.stdout


def entry_point(name: str, **parameters: object) -> list[str]:
    """The command of an entry point; `dataset` may be a relative path."""
    options = [
        text
        for parameter, value in parameters.items()
        for text in (f"--{parameter.replace('_', '-')}", absolute(str(value)))
    ]
    return [sys.executable, "-m", f"pipeline.{name}", *options]


def absolute(dataset: str) -> str:
    """A data set as it is called in any directory."""
    return os.path.abspath(dataset) if dataset.endswith(".npz") else dataset


def check_names(subject: str, names: Iterable[str], known: Collection[str]) -> None:
    """Refuse a name that is not known.

    Raises:
        InputError: with the nearest one.
    """
    for name in names:
        if name not in known:
            raise unknown_name(subject, name, known)


def clean_environment() -> dict[str, str]:
    """This process's environment without what sets TensorFlow's threads and flags, or MLflow's.

    Nor without bytecode, where every process would compile TensorFlow's modules anew.
    """
    prefixes = ("TF_", "XLA_", "OMP_", "MLFLOW_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}
    return {
        "MLFLOW_DISABLE_TELEMETRY": "true",
        **kept,
        "CUDA_VISIBLE_DEVICES": "-1",  # as the pipeline sets it, so one device for all sides
        "PYTHONPATH": str(PROJECT),
    }


def call(
    function: Callable[..., Row],
    arguments: Mapping[str, Any],
    *,
    directory: Path = PROJECT,
    environment: Mapping[str, str] | None = None,
) -> Row:
    """Call a function of a benchmark in a fresh process: what it returns, and what that used.

    Where the function itself returns a figure of `Usage`, that counts: of what it timed alone.

    Args:
        function: of a module's top level; it returns what JSON can hold.
        arguments: its keyword arguments, of types that JSON can hold.
        directory: the process's working directory.
        environment: as for `run`.
    """
    command = calling(function, arguments)
    usage, printed = run(command, directory=directory, environment=environment)
    return {**asdict(usage), **json.loads(printed.splitlines()[-1])}


def calling(function: Callable[..., Row], arguments: Mapping[str, Any]) -> list[str]:
    """The command of a process that calls a function of a benchmark and prints what it returns."""
    module = function.__globals__["__spec__"].name  # also where it is run as __main__
    target = f"{module}:{function.__name__}"
    return [sys.executable, "-m", "benchmarks.harness", target, json.dumps(dict(arguments))]


def timed(function: Callable[[], Value]) -> tuple[Value, Row]:
    """What a function returns, and the wall and CPU seconds of this process meanwhile."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = function()
    used = {"wall_seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    return value, used


def in_turns(sides: Mapping[str, Callable[[int], Row]], *, rounds: int) -> pd.DataFrame:
    """Measure each side once per round, in turns; a row per measurement.

    Args:
        sides: by name, what measures it, given the number of the round (from 1).
        rounds: how many.
    """
    rows: list[Row] = []
    turns = [(number, side) for number in range(1, rounds + 1) for side in sides]
    for done, (number, side) in enumerate(turns):
        progress.update(step="measuring", done=done, total=len(turns), text=f"{side}, {number}")
        row = {"side": side, "round": number, **sides[side](number)}
        progress.update(message=json.dumps(row))  # kept where a later side fails
        rows.append(row)
    progress.update(step="measuring", state="finished", text=f"{len(turns)} turns")
    return pd.DataFrame(rows)


@contextmanager
def prepared(dataset: str, data: Data | None = None) -> Iterator[tuple[Path, Row]]:
    """A directory with a data set, prepared as declared or by default, and its description."""
    source = sources.resolve(dataset)
    if source.warning:
        progress.update(message=f"WARNING: {source.warning}")
    splits = split_arrays(sources.load(source), data or Data())
    images = {"training": len(splits.y_train), "validation": len(splits.y_val)}
    with tempfile.TemporaryDirectory() as directory:
        save(splits, Path(directory))
        yield Path(directory), {"dataset": splits.name, "images": images}


@contextmanager
def project(dataset: str) -> Iterator[Path]:
    """A directory to run entry points in, where the data set is prepared already."""
    with tempfile.TemporaryDirectory() as directory:
        run(entry_point("prepare", dataset=dataset), directory=Path(directory))
        yield Path(directory)


def runs_in(project: Path, step: str) -> list["Run"]:
    """The runs of an entry point in a project's store."""
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    return client.search_runs(["0"], f"tags.step = '{step}'")


def describe_machine() -> Row:
    """What the times depend on, with a warning if the machine is busy."""
    from pipeline.steps import owners  # with MLflow, which the processes measured may not need

    load = os.getloadavg()[0]
    return {
        "date": datetime.datetime.now().astimezone().isoformat(timespec="minutes"),
        "processor": owners.processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "versions": {"python": platform.python_version()}
        | {name: metadata.version(name) for name in ("tensorflow", "keras", "numpy", "mlflow")},
        "load_average": load,
        "warning": f"the machine was busy at the start (load average {load:.1f}); the times are "
        "distorted. Measure again when it is idle."
        if load > 0.5
        else None,
    }


def _main() -> None:
    target, arguments = sys.argv[1:]
    module, _, function = target.partition(":")
    print(json.dumps(getattr(importlib.import_module(module), function)(**json.loads(arguments))))


if __name__ == "__main__":
    _main()
