"""All benchmarks, one after the other: `python -m benchmarks`, or `make bench`."""

import subprocess
import sys
from typing import Annotated

from typer import Option

from benchmarks import harness
from pipeline import cli, options
from pipeline.base import StepsFailedError, progress, unknown_name

# By name: whether it is measured on a data set of choice.
BENCHMARKS = {
    "throughput": True,
    "limit": True,
    "search": True,
    "mc_dropout": True,
    "tracking": True,
    "recipe": True,
    "jobs": True,
    "rerun": False,
    "startup": True,
    "memory": True,
    "growth": False,
    "compare": False,
}


def benchmarks(
    *,
    dataset: options.Dataset = "auto",
    only: Annotated[str, Option(help="The names of some, separated by commas, or all.")] = "all",
) -> None:
    """Measure everything; each benchmark also runs alone: `python -m benchmarks.throughput`.

    Takes hours on CIFAR-10. Leave the machine alone meanwhile. Each writes its measurements to
    benchmarks/results.
    """
    names = list(BENCHMARKS) if only == "all" else options.split_list("only", only)
    for name in names:
        if name not in BENCHMARKS:
            raise unknown_name("only", name, BENCHMARKS)
    failures = {}
    for name in names:
        progress.update(message=f"--- {name}")
        given = ("--dataset", harness.absolute(dataset)) if BENCHMARKS[name] else ()
        command = [sys.executable, "-m", f"benchmarks.{name}", *given]
        code = subprocess.run(command, cwd=harness.PROJECT).returncode
        if code:
            failures[name] = f"exit code {code}"
    if failures:
        raise StepsFailedError(failures)


if __name__ == "__main__":
    cli.run(benchmarks)
