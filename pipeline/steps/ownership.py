"""Who runs a step: the process behind a run, whether it is still there, and its processor."""

import os
import platform
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from pathlib import Path

import psutil

from pipeline.base import progress

HEARTBEAT_SECONDS = 20.0
CPU_INFO = Path("/proc/cpuinfo")  # of Linux


def owner_tags() -> dict[str, str]:
    """The tags that say which process a run belongs to."""
    return {
        "host": socket.gethostname(),
        "pid": str(os.getpid()),
        "process_started": str(psutil.Process().create_time()),
        "heartbeat": str(time.time()),
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


def living(
    owners: Mapping[str, Mapping[str, str]], read_heartbeat: Callable[[str], str]
) -> set[str]:
    """The runs whose process is still there.

    On this host, a process is looked up. On another, a heartbeat younger than three beats tells it
    is; older ones are watched for as long, all at once, since clocks differ and servers pause.

    Args:
        owners: by run, its tags.
        read_heartbeat: reads the heartbeat of a run anew.
    """
    alive = {run for run, tags in owners.items() if _is_alive_by_now(tags)}
    here = socket.gethostname()
    silent = [run for run, tags in owners.items() if run not in alive and tags["host"] != here]
    if silent:
        hosts = ", ".join(sorted({owners[run]["host"] for run in silent}))
        progress.update(
            message=f"Runs of {hosts} have not been heard of lately: "
            f"waiting {longest_silence():.0f} s for a sign of life."
        )
        time.sleep(longest_silence())
    return alive | {run for run in silent if read_heartbeat(run) != owners[run]["heartbeat"]}


def longest_silence() -> float:
    """Seconds without a heartbeat after which its process is in doubt."""
    return 3 * HEARTBEAT_SECONDS


def _is_alive_by_now(tags: Mapping[str, str]) -> bool:
    if tags["host"] == socket.gethostname():
        return _process_is_alive(int(tags["pid"]), float(tags["process_started"]))
    return abs(time.time() - float(tags["heartbeat"])) < longest_silence()


def _process_is_alive(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        # A process id is given out again; a start time moves a little when the clock is set.
        return abs(process.create_time() - started) < 5 and process.status() != "zombie"
    except psutil.NoSuchProcess:
        return False


def shell_is_alive(run_id: str, *, opened: float) -> bool:
    """Whether a process on this host works for a run that `mlflow run` opened.

    Args:
        run_id: a run that no step has taken over yet.
        opened: when the run was opened, in seconds since the epoch.
    """
    for process in psutil.process_iter(["cmdline", "environ", "cwd", "create_time"]):
        environment = process.info["environ"] or {}
        if environment.get("MLFLOW_RUN_ID") == run_id:
            return True
        names = [os.path.basename(argument) for argument in (process.info["cmdline"] or [])[:4]]
        # Which run it opened cannot be seen from outside: any younger one on this store may be it.
        if (
            ("mlflow", "run") in pairwise(names)
            and process.info["create_time"] < opened
            and (
                process.info["cwd"] == os.getcwd()
                or environment.get("MLFLOW_TRACKING_URI")
                == os.environ.get("MLFLOW_TRACKING_URI", "")
            )
        ):
            return True
    return False


@contextmanager
def heartbeat(beat: Callable[[str], None]) -> Iterator[None]:
    """Beat in the background, so that other hosts see that this process is alive.

    Args:
        beat: writes a heartbeat; an error, such as a server that is away, is left to the next one.
    """
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(HEARTBEAT_SECONDS):
            try:
                beat(str(time.time()))
            except Exception:
                continue

    thread = threading.Thread(target=run, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
