"""Workers that simulate trainings: these sleep for an epoch's time, and log what real ones do.

They are threads of a few processes, and leave out what each would do on a machine of its own:
computing, the drawing of figures, the writing of large checkpoints.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from threading import Timer
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import psutil

from benchmarks import harness
from benchmarks.store import CURVES
from pipeline.steps.step import Step

if TYPE_CHECKING:
    from pipeline.tracking.runs import StepRun

# Bytes of the artifacts of a training of alpha_dropout on CIFAR-10.
ARTIFACTS = (
    *(83950, 230760, 2304, 59575, 180, 2832, 96590, 84147, 158, 162547, 68044, 23061),
    *(200128, 200128, 100128),
)
MODEL = (74, 1207, 122, 131507, 187, 32267, 0, 7902, 2564, 0, 3005, 0, 16, 2, 2260925)
METRICS = ("val_accuracy", "val_loss", "train_accuracy", "train_loss", *CURVES[4:])
MOST = 4  # kinds of requests
LONGEST = 480.0  # seconds, in which those that have not ended are left
LATENCIES: list[tuple[str, float]] = []  # what was asked for, and seconds, of this process


def serve(scheduler: str, workers: int) -> harness.Row:
    """Be so many workers of a scheduler, until this process is ended."""
    import requests
    from distributed import Worker

    send = requests.Session.send

    def timed(session: requests.Session, request: Any, **named: Any) -> requests.Response:
        started = time.perf_counter()
        try:
            return send(session, request, **named)
        finally:
            _, _, of, *what = request.path_url.partition("?")[0].strip("/").split("/")
            asked = "/".join(what[:2]) if of == "mlflow" else of
            LATENCIES.append((asked, time.perf_counter() - started))

    requests.Session.send = timed  # type: ignore[method-assign, assignment]

    async def all_workers() -> None:
        async with AsyncExitStack() as stack:
            named = [f"{os.getpid()}-{number}" for number in range(workers)]
            begun = [Worker(scheduler, nthreads=1, name=name, memory_limit=0) for name in named]
            every = [await stack.enter_async_context(one) for one in begun]
            await asyncio.gather(*(one.finished() for one in every))

    asyncio.run(all_workers())
    return {}


def ready() -> None:
    """Import what steps import, which a worker does once."""
    import pipeline.steps.running
    import pipeline.training.checkpoints  # noqa: F401


def latencies() -> list[tuple[str, float]]:
    """Those of this process."""
    return LATENCIES


def simulate(
    scheduler: str,
    workers: int,
    trainings: int,
    epochs: int,
    epoch_seconds: float,
    processes: Mapping[str, Sequence[int]],
) -> harness.Row:
    """Submit trainings as `main` does: what they, and the processes meanwhile, came to.

    Those that have not ended after `LONGEST` are left.
    """
    from pipeline.steps import workers as dask
    from pipeline.steps.running import step_run

    steps = [
        Sleeping(seed=seed, epochs=epochs, seconds=epoch_seconds, workers=workers)
        for seed in range(1, trainings + 1)
    ]
    with dask.connect(1, scheduler) as client, step_run("main", {}, name="main") as run:
        client.wait_for_workers(workers)
        client.run(ready)
        queue = dask.Submitter(client, run)
        before, started = used(processes), time.perf_counter()
        futures = {
            one.name: queue.submit(taken, {"step": one}, priority=-one.seed) for one in steps
        }
        (limit := Timer(LONGEST, client.cancel, [[*futures.values()]])).start()
        results, errors = dask.gather(futures)
        limit.cancel()
        wall, after = time.perf_counter() - started, used(processes)
        if not results or not all("CancelledError" in one for one in errors.values()):
            raise RuntimeError(str(errors))
        one_of_each = {pid: address for address, pid in client.run(os.getpid).items()}
        sent = client.run(latencies, workers=[*one_of_each.values()])
    asked_for = pd.DataFrame([one for of in sent.values() for one in of], columns=["what", "s"])
    each = asked_for.s.tolist()
    shares = asked_for.groupby("what").s.sum().sort_values(ascending=False) / asked_for.s.sum()
    return {
        "overheads": [seconds - epochs * epoch_seconds for seconds in results.values()],
        "unfinished": len(errors),
        "wall_seconds": wall,
        "least_seconds": trainings / workers * epochs * epoch_seconds,
        "requests_per_step": len(each) / trainings,
        "requests_per_second": len(each) / wall,
        "latency": median(each),
        "latency_99": quantiles(each, n=100)[-1],
        "shares": shares.head(MOST).to_dict(),
        "cores": {name: (after[name] - before[name]) / wall for name in processes},
    }


def used(processes: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """CPU seconds of processes and all that they have started, by name."""
    return {name: sum(map(_with_children, pids)) for name, pids in processes.items()}


def _with_children(pid: int) -> float:
    process, seconds = psutil.Process(pid), 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):  # it has just ended: its parent's time has it soon
            seconds += sum(one.cpu_times()[:4])  # of those that have ended, too
    return seconds


def taken(step: "Sleeping") -> float:
    """Run a step in a worker; the seconds that it took."""
    from pipeline.steps.running import once

    started = time.perf_counter()
    once(step, "auto", announce=False)
    return time.perf_counter() - started


@dataclass(frozen=True, kw_only=True)
class Sleeping(Step):
    """A training that sleeps, and logs what a real one does."""

    entry_point: ClassVar[str] = "train"
    packages: ClassVar[tuple[str, ...]] = ("tensorflow", "keras", "numpy")
    resumes: ClassVar[bool] = True

    seed: int
    epochs: int
    seconds: float  # of an epoch
    workers: int  # in its key: those of another number, in the same store, are not reused

    @property
    def name(self) -> str:
        return f"train sleeping seed {self.seed}"

    def parameters(self) -> Mapping[str, Any]:
        of_model = {f"setting_{number}": number for number in range(8)}
        own = {"seed": self.seed, "epochs": self.epochs, "workers": self.workers}
        return {"variant": "sleeping", **own, **of_model}

    def tags(self) -> Mapping[str, Any]:
        return {f"tag_{number}": 300 * "x" for number in range(10)}

    def work(self, run: "StepRun", after: Sequence[Any]) -> None:  # noqa: ARG002
        from mlflow.entities import LoggedModelOutput

        from pipeline.steps.resuming import checkpoints_of
        from pipeline.tracking import client
        from pipeline.training.checkpoints import Checkpoint

        checkpoints = checkpoints_of(run.run_id)
        for epoch in range(1, self.epochs + 1):
            time.sleep(self.seconds)
            checkpoints.save(Checkpoint(epoch, {"small": np.zeros(1000, np.float32)}, {}))
            run.log_epoch(epoch, dict.fromkeys(METRICS, 1 / epoch))
        run.flush()
        run.log_metrics({f"figure_{number}": number for number in range(20)})
        for number, size in enumerate(ARTIFACTS):
            run.log_array(np.zeros(size, np.uint8), f"artifact-{number}.npy")
        connection = client.connect()
        model = connection.create_logged_model(run.experiment, source_run_id=run.run_id)
        with tempfile.TemporaryDirectory() as folder:
            for number, size in enumerate(MODEL):
                Path(folder, f"file-{number}").write_bytes(bytes(size))
            connection.log_model_artifacts(model.model_id, folder)
        connection.finalize_logged_model(model.model_id, "READY")
        connection.log_outputs(run.run_id, [LoggedModelOutput(model.model_id, step=0)])
        run.set_note(5000 * "x")
