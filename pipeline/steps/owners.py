"""Which process a run or a claim belongs to, whether it is still there, and on what processor."""

import os
import platform
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from itertools import pairwise
from pathlib import Path

import psutil
from mlflow.entities import Run

from pipeline.base import progress
from pipeline.tracking import client
from pipeline.tracking.names import hidden, revealed

HEARTBEAT_SECONDS = 20.0  # after three without one, its process is in doubt
CPU_INFO = Path("/proc/cpuinfo")  # of Linux
BOOT_ID, PROCESS_SPACE = Path("/proc/sys/kernel/random/boot_id"), "/proc/self/ns/pid"


def owner_tags() -> dict[str, str]:
    """The tags that say which process a run belongs to, and what it runs on."""
    return {
        "host": socket.gethostname(),
        "process_table": process_table(),
        "pid": str(os.getpid()),
        "process_started": str(psutil.Process().create_time()),
        "heartbeat": str(time.time()),
        "processor": processor(),
    }


def of_run() -> dict[str, str]:
    """The same as tags of a run; the UI shows those that a person reads."""
    tags = owner_tags()
    return {name: tags.pop(name) for name in ("host", "processor")} | hidden(tags)


def is_step(run: Run) -> bool:
    """Whether a process has told that a run is its own."""
    return "heartbeat" in revealed(run.data.tags)


def process_table() -> str:
    """Where this process has its id: the boot of a machine and, of a container, its own processes.

    Containers and cloned machines can have one host name, and the same ids for other processes.
    """
    try:
        return f"{BOOT_ID.read_text().strip()} {os.readlink(PROCESS_SPACE)}"
    except OSError:  # not Linux
        return f"{socket.gethostname()} {uuid.getnode()}"


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


def is_mine(owner: Mapping[str, str]) -> bool:
    """Whether the tags of a run say that it is this process's."""
    owner = revealed(owner)
    return (owner["process_table"], owner["pid"]) == (process_table(), str(os.getpid()))


def silence() -> float:
    """Seconds without a heartbeat after which a process that cannot be looked up is in doubt."""
    return 3 * HEARTBEAT_SECONDS


def living(runs: Sequence[Run]) -> set[str]:
    """The ids of those of some runs whose process is still there.

    Where it can be, a process is looked up. Elsewhere a young heartbeat tells that it is; those
    with an old one are watched for as long, all at once, since clocks differ and servers pause.
    """
    tags = {run.info.run_id: revealed(run.data.tags) for run in runs}
    silent = {run_id for run_id in tags if is_there(tags[run_id]) is None}
    alive = {run_id for run_id in tags.keys() - silent if is_there(tags[run_id])}
    alive |= {run_id for run_id in silent if abs(time.time() - _beat(tags[run_id])) < silence()}
    if in_doubt := silent - alive:
        hosts = ", ".join(sorted({tags[run_id]["host"] for run_id in in_doubt}))
        news = f"Runs of {hosts} have not been heard of lately"
        progress.update(message=f"{news}: waiting {silence():.0f} s for a sign of life.")
        time.sleep(silence())
    now = {run_id: revealed(client.get_run(run_id).data.tags) for run_id in in_doubt}
    return alive | {one for one in in_doubt if _beat(now[one]) != _beat(tags[one])}


def _beat(owner: Mapping[str, str]) -> float:
    return float(owner["heartbeat"])


def is_there(owner: Mapping[str, str]) -> bool | None:
    """Whether the process with some `owner_tags` is there; None where it cannot be looked up."""
    if owner.get("process_table") != process_table():
        return None
    try:
        process = psutil.Process(int(owner["pid"]))
        # A process id is given out again; a start time moves a little when the clock is set.
        same = abs(process.create_time() - float(owner["process_started"])) < 5
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
