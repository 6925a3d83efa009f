"""All benchmarks, one after the other: `python -m benchmarks`, or `make bench`."""

import subprocess
import sys

from benchmarks import harness
from pipeline import command
from pipeline.base import StepsFailedError, progress
from pipeline.parameters import parameter

# By name: whether it is measured on a data set of choice.
BENCHMARKS = {
    "throughput": True,
    "digits": False,
    "costs": True,
    "limit": True,
    "search": True,
    "rates": True,
    "verdicts": False,
    "regressions": False,
    "mc_dropout": True,
    "tracking": True,
    "recipe": True,
    "jobs": True,
    "cluster": True,
    "startup": True,
    "memory": True,
    "opening": True,
    "growth": False,
    "store": False,
    "report": False,
}


class Benchmarks(harness.OnData):
    """What is measured."""

    only: tuple[str, ...] = parameter.asked(
        "all",
        "The names of some, separated by commas, or all.",
        many=True,
        words={"all": tuple(BENCHMARKS)},
    )


def benchmarks(asked: Benchmarks) -> None:
    """Measure everything; each benchmark also runs alone: `python -m benchmarks.throughput`.

    Takes hours on CIFAR-10. Leave the machine alone meanwhile. Each writes its measurements to
    benchmarks/results.
    """
    harness.check_names("only", asked.only, BENCHMARKS)
    failures = {}
    for name in asked.only:
        progress.update(message=f"--- {name}")
        given = ("--dataset", harness.absolute(asked.dataset)) if BENCHMARKS[name] else ()
        module = [sys.executable, "-m", f"benchmarks.{name}"]
        code = subprocess.run([*module, *given], cwd=harness.PROJECT).returncode
        if code:
            failures[name] = f"exit code {code}"
    if failures:
        raise StepsFailedError(failures)


if __name__ == "__main__":
    command.run(benchmarks)
