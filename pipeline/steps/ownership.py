"""Who runs a step: one process at a time; whether it is still there, and on what processor."""

import os
import platform
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from itertools import pairwise
from pathlib import Path

import psutil
from filelock import FileLock, Timeout
from mlflow.entities import Run

from pipeline.base import progress
from pipeline.parameters import ENTRY_POINTS
from pipeline.steps.step import Step
from pipeline.tracking import client

HEARTBEAT_SECONDS = 20.0  # after three without one, its process is in doubt
# The folder of those of the step that runs; set where it runs.
checkpoints: ContextVar[Path] = ContextVar("checkpoints", default=Path("checkpoints"))
CPU_INFO = Path("/proc/cpuinfo")  # of Linux


def owner_tags() -> dict[str, str]:
    """The tags that say which process a run belongs to, and what it runs on."""
    return {
        "host": socket.gethostname(),
        "pid": str(os.getpid()),
        "process_started": str(psutil.Process().create_time()),
        "heartbeat": str(time.time()),
        "processor": processor(),
    }


@cache  # every trial asks, and the system describes every core anew
def processor(cpu_info: Path = CPU_INFO) -> str:
    """The processor, told from others of its name by what decides how fast it trains.

    In a cloud, generations of which one is twice as fast as another are all called "AMD EPYC".
    """
    of_first_core = cpu_info.read_text().partition("\n\n")[0] if cpu_info.exists() else ""
    pairs = (line.partition(":") for line in of_first_core.splitlines())
    known = {name.strip(): value.strip() for name, _, value in pairs}
    if not {"model name", "cpu family", "model", "flags"} <= known.keys():
        return platform.processor() or platform.machine()
    flags = known["flags"].split()
    vectors = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else "no AVX2"
    return f"{known['model name']}, family {known['cpu family']} model {known['model']}, {vectors}"


def living(runs: Sequence[Run]) -> set[str]:
    """The ids of those of some runs whose process is still there.

    On this host, a process is looked up. On another, a heartbeat younger than three beats tells it
    is; older ones are watched for as long, all at once, since clocks differ and servers pause.
    """
    tags = {run.info.run_id: run.data.tags for run in runs}
    alive = {run_id for run_id in tags if _is_alive_by_now(tags[run_id])}
    here, silence = socket.gethostname(), 3 * HEARTBEAT_SECONDS
    silent = [run_id for run_id in tags if run_id not in alive and tags[run_id]["host"] != here]
    if silent:
        hosts = ", ".join(sorted({tags[run_id]["host"] for run_id in silent}))
        news = f"Runs of {hosts} have not been heard of lately"
        progress.update(message=f"{news}: waiting {silence:.0f} s for a sign of life.")
        time.sleep(silence)
    now = {run_id: client.get_run(run_id).data.tags["heartbeat"] for run_id in silent}
    return alive | {run_id for run_id in silent if now[run_id] != tags[run_id]["heartbeat"]}


def _is_alive_by_now(tags: Mapping[str, str]) -> bool:
    if tags["host"] != socket.gethostname():
        return abs(time.time() - float(tags["heartbeat"])) < 3 * HEARTBEAT_SECONDS
    try:
        process = psutil.Process(int(tags["pid"]))
        # A process id is given out again; a start time moves a little when the clock is set.
        same = abs(process.create_time() - float(tags["process_started"])) < 5
        return same and process.status() != "zombie"
    except psutil.NoSuchProcess:
        return False


def shell_is_alive(run_id: str, *, opened: float) -> bool:
    """Whether a process on this host works for a run that `mlflow run` opened, at such a time."""
    here, store = os.getcwd(), os.environ.get("MLFLOW_TRACKING_URI", "")
    for process in psutil.process_iter(["cmdline", "environ", "cwd", "create_time"]):
        environment = process.info["environ"] or {}
        names = [os.path.basename(argument) for argument in (process.info["cmdline"] or [])[:4]]
        # Which run it opened cannot be seen from outside: any younger one on this store may be it.
        may_be = ("mlflow", "run") in pairwise(names) and process.info["create_time"] < opened
        of_store = process.info["cwd"] == here or environment.get("MLFLOW_TRACKING_URI") == store
        if environment.get("MLFLOW_RUN_ID") == run_id or (may_be and of_store):
            return True
    return False


@contextmanager
def heartbeat(beat: Callable[[str], None]) -> Iterator[None]:
    """Write a heartbeat in the background, so that other hosts see that this process is alive.

    An error, such as a server that is away, is left to the next one.
    """
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            with suppress(Exception):
                beat(str(time.time()))

    threading.Thread(target=run, name="heartbeat", daemon=True).start()
    try:
        yield
    finally:
        ended.set()


@contextmanager
def hold(step: Step) -> Iterator[bool]:
    """Be the one process that runs a step; yields whether another one had to be waited for.

    A lock on a file, which ends with its process, decides on this host; runs with a living owner
    tell of other hosts.
    """
    checkpoints.get().mkdir(parents=True, exist_ok=True)
    lock = FileLock(checkpoints.get() / f"{step.key[:32]}.lock")
    waited = False
    try:
        lock.acquire(timeout=0)
    except Timeout:
        running = _unfinished(step, "= 'RUNNING'")
        holder = _described(running[0]) if running else "another process on this machine"
        progress.update(message=f"{step.name}: waiting for {holder}, which runs it now.")
        lock.acquire()
        waited = True
    try:
        while other := _running_elsewhere(step):
            if not waited:
                progress.update(message=f"{step.name}: waiting for {_described(other)}.")
            waited = True
            time.sleep(HEARTBEAT_SECONDS)
        yield waited
    finally:
        lock.release()


def _described(run: Run) -> str:
    tags = run.data.tags
    return f"process {tags['pid']} on {tags['host']} (run {run.info.run_id})"


def _running_elsewhere(step: Step) -> Run | None:
    """A run of the step whose owner is alive on another host (here, the lock decides)."""
    here, running = socket.gethostname(), _unfinished(step, "= 'RUNNING'")
    elsewhere = [run for run in running if run.data.tags["host"] != here]
    alive = living(elsewhere)
    return next((run for run in elsewhere if run.info.run_id in alive), None)


def cut_off(step: Step) -> Run | None:
    """The newest run of a step, held by this process, that was cut off and can go on."""
    for run in _unfinished(step, "!= 'FINISHED'"):
        went_on = "elapsed_seconds" in run.data.metrics
        # Without its checkpoint, what it has logged could not be gone on from.
        can_go_on = checkpoint_directory(run.info.run_id).exists() or not went_on
        if "diverged" in run.data.tags:
            continue
        if can_go_on:
            return run
        kept = f"{checkpoints.get().absolute()} has nothing of run {run.info.run_id}"
        progress.update(message=f"{step.name}: begins again, since {kept}.")
    return None


def checkpoint_directory(run_id: str) -> Path:
    """Where a training run keeps its checkpoints, on the machine that trains."""
    return checkpoints.get() / run_id


def _unfinished(step: Step, status: str) -> list[Run]:
    query = f"tags.step_key = '{step.key}' and attributes.status {status}"
    return client.search_runs(client.experiment_id(), query)


def end_abandoned(experiment: str) -> None:
    """Mark the runs whose process is gone as KILLED; a run of a living process is left alone."""
    running = client.search_runs(experiment, "attributes.status = 'RUNNING'")
    alive = living([run for run in running if "heartbeat" in run.data.tags])
    for run in running:
        is_step = "heartbeat" in run.data.tags
        gone = run.info.run_id not in alive if is_step else _shell_is_gone(run)
        if gone:
            reason = "its process is gone: killed, or a machine died"
            client.end_if_running(run.info.run_id, "KILLED", reason=reason)


def _shell_is_gone(run: Run) -> bool:
    """Whether nobody works for a run that `mlflow run` opened and no step has taken over."""
    if run.data.tags.get("mlflow.project.entryPoint") not in ENTRY_POINTS:
        return False
    opened = run.info.start_time / 1000
    age = time.time() - opened
    if client.tracking_uri().startswith(("sqlite:", "file:")):  # then the run is this host's
        return age > 5 and not shell_is_alive(run.info.run_id, opened=opened)
    return age > 3600
