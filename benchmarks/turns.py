"""Processes that take turns, epoch by epoch, and the clock of each."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from itertools import product
from typing import IO, Any

from benchmarks import harness
from pipeline.base import progress

TURN_ENDED = "turn ended\n"
Side = tuple[Callable[..., harness.Row], Mapping[str, Any]]  # a top-level function, its arguments


def alternate(
    sides: Mapping[str, Side],
    *,
    turns: int,
    environment: Mapping[str, str] | None = None,
) -> dict[str, harness.Row]:
    """Call functions in a process each, which take turns: while one works, the others wait.

    So a slow spell of the machine, which may last for minutes, meets all of them. A function calls
    `end_turn` where its turn ends; what comes before the first call, such as compiling, is done by
    all at once.

    Args:
        sides: by name.
        turns: of each; the functions call `end_turn` once more than that.
        environment: as for `run`.

    Returns:
        By name, what the functions returned.
    """
    with ExitStack() as stack:
        processes = {
            side: stack.enter_context(
                _TurnTaker(
                    harness.calling(function, arguments),
                    environment={**harness.clean_environment(), **(environment or {})},
                    errors=stack.enter_context(tempfile.TemporaryFile("w+")),
                )
            )
            for side, (function, arguments) in sides.items()
        }
        for process in processes.values():
            process.until_turn_ends()
        for number, (side, process) in product(range(1, turns + 1), processes.items()):
            progress.update(step="measuring", text=f"{side}, {number} of {turns}")
            process.go_on()
            process.until_turn_ends()
        progress.update(step="measuring", state="finished", text=f"{turns} turns")
        return {side: process.result() for side, process in processes.items()}


class _TurnTaker:
    """A process of `alternate`, as its parent sees it; ended when the parent is done with it."""

    def __init__(self, command: list[str], *, environment: Mapping[str, str], errors: IO[str]):
        self._errors = errors
        self._process = subprocess.Popen(
            command,
            cwd=harness.PROJECT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

    def __enter__(self) -> "_TurnTaker":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def go_on(self) -> None:
        """Let it have its turn."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def until_turn_ends(self) -> None:
        """Wait for `end_turn`."""
        assert self._process.stdout
        if self._process.stdout.readline() != TURN_ENDED:
            raise self._failed()

    def result(self) -> harness.Row:
        """What the function returned."""
        printed, _ = self._process.communicate("\n")
        if self._process.returncode:
            raise self._failed()
        return json.loads(printed)

    def _failed(self) -> RuntimeError:
        self._process.kill()  # it may have printed something else, and wait for its turn
        self._process.wait()
        self._errors.seek(0)
        return RuntimeError(f"{self._process.args!r}: {self._errors.read()[-4000:]}")


def end_turn() -> None:
    """End this process's turn, if it takes turns, and wait for the next."""
    sys.stdout.write(TURN_ENDED)
    sys.stdout.flush()
    sys.stdin.readline()


class Clock:
    """Wall and CPU seconds of every epoch but the first, which holds tracing and compilation.

    Other sides' turns are no wall time of an epoch; what threads do meanwhile is CPU time of it.

    Args:
        alternating: whether every epoch is a turn of `alternate`.
    """

    def __init__(self, *, alternating: bool):
        self._waited = 0.0
        self._alternating = alternating
        self._epochs: list[tuple[float, float]] = []
        self._started = (time.perf_counter(), time.process_time())

    def worked(self) -> float:
        """Seconds on a clock that stands still while others have their turn."""
        return time.perf_counter() - self._waited

    def epoch_ended(self) -> None:
        """Note what the epoch took; the next one starts when it is this process's turn again."""
        wall, cpu = time.perf_counter(), time.process_time()
        self._epochs.append((wall - self._started[0], cpu - self._started[1]))
        if self._alternating:
            end_turn()
        self._started = (time.perf_counter(), cpu)
        self._waited += self._started[0] - wall

    def seconds(self) -> harness.Row:
        """Lists with a figure per timed epoch."""
        walls, cpus = zip(*self._epochs[1:], strict=True)
        return {"epoch_wall_seconds": walls, "epoch_cpu_seconds": cpus}
