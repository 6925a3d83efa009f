"""Many machines: what a step costs a hundred workers, and a Dask scheduler of one's own.

The hundred are simulated: they keep scheduler and tracking server busy as real ones do, artifacts
sent through the server included. All is on this machine.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from subprocess import DEVNULL, Popen
from urllib.parse import urlsplit

import pandas as pd
import psutil
from mlflow import MlflowClient

from benchmarks import harness, outcomes
from benchmarks.jobs import LEARNING_RATE
from benchmarks.simulated import serve, simulate, used
from benchmarks.store import GIVEN
from pipeline import command
from pipeline.base import progress
from pipeline.nights.record import REPLAY
from pipeline.parameters import parameter
from pipeline.tracking import server

PEER, IDLE = "a local cluster", "a night with nothing to do"
WORKERS = 2  # of both
HOST = "127.0.0.1"
NIGHT = harness.entry_point("nightly", **GIVEN)
PROCESSES = 4  # that share the simulated workers: one alone would be busy with its interpreter lock
# As docs/team.md tells a team to.
OF_SCHEDULER = {"DASK_DISTRIBUTED__SCHEDULER__WORKER_SATURATION": "inf"}
OF_WORKERS = {"DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False"}


class Cluster(harness.OnData):
    """What is measured."""

    only: tuple[str, ...] = parameter.asked(
        "all",
        "Some, separated by commas, or all: overhead, scheduler, night.",
        many=True,
        words={"all": ("overhead", "scheduler", "night")},
    )
    workers: tuple[int, ...] = parameter.asked(
        "20,100", "Simulated workers, separated by commas.", int, many=True
    )
    trainings: int = parameter.asked(2, "Trainings of each simulated worker.", int)
    epoch_seconds: float = parameter.asked(1.35, "How long an epoch is simulated.", float, least=0)
    server_workers: int = parameter.asked(4, "Workers of the tracking server.", int)
    store: str = parameter.asked(
        "sqlite", "The tracking server's database: sqlite, or the URL of an empty one."
    )
    epochs: int = parameter.asked(30, "Epochs of each training.", int)
    rounds: int = harness.rounds(3)


def cluster(asked: Cluster) -> None:
    """Measure the overhead of a step with many workers, of a scheduler, and an idle night."""
    parts = {"overhead": _overhead, "scheduler": _scheduler, "night": _night}
    harness.check_names("only", asked.only, parts)
    machine = harness.describe_machine()
    came_to = [parts[name](asked) for name in asked.only]
    conditions: harness.Row = {"epochs": asked.epochs, "simulated epoch s": asked.epoch_seconds}
    conditions |= {"server workers": asked.server_workers}
    outcomes.publish(
        "cluster",
        [result for results, _, _ in came_to for result in results],
        machine=machine,
        conditions=conditions | {"store": asked.store.partition(":")[0]},
        measured=pd.concat([table for _, table, _ in came_to]),
        notes=[note for _, _, notes in came_to for note in notes],
    )


CameTo = tuple[list[outcomes.Result], pd.DataFrame, list[str]]


def _overhead(asked: Cluster) -> CameTo:
    results, rows, notes = [], [], []
    for count in asked.workers:
        progress.update(message=f"{count} simulated workers")
        row = _simulated(asked, count)
        seconds, cores = row.pop("overheads"), row["cores"]
        results.append(outcomes.Result(what=f"{count} workers: s more per step", ours=seconds))
        left = f", {row['unfinished']} trainings unfinished" if row["unfinished"] else ""
        busy = ", ".join(f"{name} {used:.2f}" for name, used in cores.items())
        most = ", ".join(f"{what} {share:.0%}" for what, share in row["shares"].items())
        notes.append(
            f"{count} workers: {row['requests_per_second']:.0f} requests per second, "
            f"{row['requests_per_step']:.0f} per step, {1000 * row['latency']:.0f} ms each (99%: "
            f"{1000 * row['latency_99']:.0f} ms), of their time {most}; cores in use: {busy}; "
            f"{row['wall_seconds']:.0f} s instead of {row['least_seconds']:.0f} s{left}."
        )
        rows.append({"side": f"{count} workers", **row})
        progress.update(message=notes[-1])
    return results, pd.DataFrame(rows), notes


def _simulated(asked: Cluster, count: int) -> harness.Row:
    """What so many simulated workers come to, with a scheduler and a tracking server of theirs."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        store = f"sqlite:///{folder}/mlflow.db" if asked.store == "sqlite" else asked.store
        options = ("--workers", asked.server_workers, "--artifacts-destination", folder / "kept")
        of_server, tracking = stack.enter_context(
            server.server(
                host=HOST,
                port=server.free_port(HOST, 5600),
                store=store,
                options=[str(option) for option in options],
            )
        )
        environment = {"MLFLOW_TRACKING_URI": tracking}
        scheduler, address = stack.enter_context(_dask_scheduler(folder))
        given = {"scheduler": address, "workers": count // PROCESSES}
        workers = [
            stack.enter_context(
                _started(harness.calling(serve, given), folder, {**environment, **OF_WORKERS})
            )
            for _ in range(PROCESSES)
        ]
        busy = {"server": [of_server], "scheduler": [scheduler], "workers": workers}
        asked_for = {
            "scheduler": address,
            "workers": count // PROCESSES * PROCESSES,
            "trainings": count * asked.trainings,
            "epochs": asked.epochs,
            "epoch_seconds": asked.epoch_seconds,
            "processes": {name: [one.pid for one in of] for name, of in busy.items()}
            | {"database": _listening(asked.store)},
        }
        return harness.call(simulate, asked_for, directory=folder, environment=environment)


def _listening(store: str) -> list[int]:
    """The process of a database server on this machine."""
    port = urlsplit(store).port or (5432 if "://" in store else None)
    found = psutil.net_connections("tcp") if port else ()
    return [one.pid for one in found if one.status == "LISTEN" and one.laddr.port == port][:1]


@contextmanager
def _started(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str]
) -> Iterator["Popen[bytes]"]:
    """A process with further variables, ended on leaving."""
    inherited = {**harness.clean_environment(), **environment}
    process = Popen(arguments, cwd=folder, env=inherited, stdout=DEVNULL, stderr=DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def _dask_scheduler(folder: Path) -> Iterator[tuple["Popen[bytes]", str]]:
    """A Dask scheduler's process and address, for clients that wait for it."""
    port = str(server.free_port(HOST, 8800))
    listening = ("--host", HOST, "--port", port, "--no-dashboard")
    program = [sys.executable, "-m", "dask", "scheduler", *listening]
    with _started(program, folder, OF_SCHEDULER) as process:
        yield process, f"tcp://{HOST}:{port}"


def _scheduler(asked: Cluster) -> CameTo:
    """The same trainings on two workers of a scheduler of one's own, and of a local cluster."""
    given = {
        "variants": "elu,selu",
        "seeds": "1,2",
        "learning_rate": LEARNING_RATE,
        "epochs": asked.epochs,
        "patience": "none",
        "reuse": "never",
        "jobs": WORKERS,
        "dataset": asked.dataset,
    }

    def local(_round: int) -> harness.Row:
        with harness.project(asked.dataset) as project:
            return asdict(harness.run(harness.entry_point("main", **given), directory=project)[0])

    def own(_round: int) -> harness.Row:
        with harness.project(asked.dataset) as project, _dask_cluster() as (address, pids):
            before = used({"cluster": pids})["cluster"]
            arguments = harness.entry_point("main", scheduler=address, **given)
            usage, _ = harness.run(arguments, directory=project)
            cpu = usage.cpu_seconds + used({"cluster": pids})["cluster"] - before
            return {**asdict(usage), "cpu_seconds": cpu}

    measured = harness.in_turns({harness.OURS: own, PEER: local}, rounds=asked.rounds)
    results = [
        outcomes.result(what, measured, column, peer=PEER, at_most=1.05)
        for what, column in (("wall s", "wall_seconds"), ("CPU s", "cpu_seconds"))
    ]
    return results, measured, []


@contextmanager
def _dask_cluster() -> Iterator[tuple[str, list[int]]]:
    """The address of a scheduler with workers that have this package from nowhere, and all pids."""
    from distributed import Client

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scheduler, address = stack.enter_context(_dask_scheduler(folder))
        program = [sys.executable, "-m", "dask", "worker", "--nthreads", "1", "--no-dashboard"]
        variables, pids = {**OF_WORKERS, "PYTHONPATH": ""}, [scheduler.pid]
        for number in range(WORKERS):
            (own := folder / str(number)).mkdir()
            worker = stack.enter_context(_started([*program, address], own, variables))
            pids.append(worker.pid)
        with Client(address) as client:
            client.wait_for_workers(WORKERS, timeout=60)
        yield address, pids


def _night(asked: Cluster) -> CameTo:
    """A night with nothing to do but its replay, which is a run of its own."""
    with tempfile.TemporaryDirectory() as folder:
        harness.run(NIGHT, directory=Path(folder))

        def again(_round: int) -> harness.Row:
            usage = harness.run(NIGHT, directory=Path(folder))[0]
            seconds = _seconds_of_newest(REPLAY, Path(folder))
            without = usage.wall_seconds - seconds
            return {**asdict(usage), "replay_seconds": seconds, "without_replay": without}

        measured = harness.in_turns({IDLE: again}, rounds=asked.rounds)
    results = [
        outcomes.Result(what=f"{IDLE}: {what}", ours=measured[column].tolist(), at_most=at_most)
        for what, column, at_most in (
            ("wall s", "wall_seconds", None),
            ("wall s without its replay", "without_replay", 10),
        )
    ]
    return results, measured, []


def _seconds_of_newest(step: str, folder: Path) -> float:
    """How long the newest run of a step went on, in the store of a folder."""
    store = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (run,) = store.search_runs(["0"], f"tags.step = '{step}'", max_results=1)
    return (run.info.end_time - run.info.start_time) / 1000


if __name__ == "__main__":
    command.run(cluster)
