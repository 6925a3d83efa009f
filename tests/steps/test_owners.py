import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import PROJECT
from mlflow.entities import Run, RunData, RunInfo, RunTag

from pipeline.base import progress
from pipeline.steps import owners


def owner(**changes: object) -> dict[str, str]:
    return owners.owner_tags() | {name: str(value) for name, value in changes.items()}


def run_of(run_id: str, tags: dict[str, str]) -> Run:
    """A run with an owner, which is known to nobody but this process."""
    info = RunInfo(run_id, "0", "me", "RUNNING", 0, None, "active")
    return Run(info, RunData(tags=[RunTag(*one) for one in tags.items()]))


def is_alive(tags: dict[str, str]) -> bool:
    """Whether the owner is known by now, so that no heartbeat has to be listened for."""
    return owners.living([run_of("run", tags)]) == {"run"}


@contextmanager
def sleeping_process(**environment: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(60)"], env={**os.environ, **environment}
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


CPU_INFO = """\
processor\t: 0
cpu family\t: 25
model\t\t: {model}
model name\t: AMD EPYC
flags\t\t: fpu avx {flags} pku

processor\t: 1
cpu family\t: 25
model\t\t: 99
model name\t: another
flags\t\t: fpu
"""


@pytest.mark.parametrize(
    ("model", "flags", "name"),
    [
        (17, "avx2 avx512f avx512bw", "AMD EPYC, family 25 model 17, AVX-512"),
        (1, "avx2", "AMD EPYC, family 25 model 1, AVX2"),
        (0, "avx512_unknown", "AMD EPYC, family 25 model 0, no AVX2"),
    ],
)
def test_processors_of_one_name_are_told_apart(
    tmp_path: Path, model: int, flags: str, name: str
) -> None:
    (tmp_path / "cpuinfo").write_text(CPU_INFO.format(model=model, flags=flags))
    assert owners.processor(tmp_path / "cpuinfo") == name


@pytest.mark.parametrize("cpu_info", ["processor\t: 0\nBogoMIPS\t: 50.00\n\n", None])
def test_a_processor_that_is_not_described_has_the_name_that_python_knows(
    tmp_path: Path, cpu_info: str | None
) -> None:
    if cpu_info:
        (tmp_path / "cpuinfo").write_text(cpu_info)
    known = platform.processor() or platform.machine()
    assert owners.processor(tmp_path / "cpuinfo") == known


def test_this_process_is_alive() -> None:
    assert is_alive(owner())


def test_a_process_that_ended_is_not_alive() -> None:
    with sleeping_process() as process:
        tags = owner(pid=process.pid, process_started=time.time())
        assert is_alive(tags)
    assert not is_alive(tags)


def test_another_process_with_the_same_id_is_not_the_owner() -> None:
    earlier = float(owner()["process_started"]) - 3600
    assert not is_alive(owner(process_started=earlier))


def test_where_a_process_cannot_be_looked_up_a_young_heartbeat_tells_of_life() -> None:
    with sleeping_process() as process:
        gone = {"pid": process.pid, "process_started": time.time()}
    assert is_alive(owner(process_table="of another container", **gone))
    before_it_was_recorded = owner(**gone)
    del before_it_was_recorded["process_table"]
    assert is_alive(before_it_was_recorded)


def test_a_container_of_the_same_host_name_has_a_process_table_of_its_own() -> None:
    print_table = "from pipeline.steps import owners; print(owners.process_table())"
    command = [sys.executable, "-c", print_table]
    apart = ["unshare", "--pid", "--fork", "--mount-proc"]
    here, there = (
        subprocess.run([*how, *command], capture_output=True, text=True, cwd=PROJECT)
        for how in ([], apart)
    )
    if there.returncode:
        pytest.skip(f"no process namespaces here: {there.stderr}")
    assert here.stdout.strip() == owners.process_table()
    assert there.stdout.strip() != here.stdout.strip()


def test_old_heartbeats_of_other_hosts_are_watched_all_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owners, "HEARTBEAT_SECONDS", 0.1)
    later = {"silent": "1.0", "beating": "2.0", "silent too": "1.0"}
    runs = [
        run_of(run, owner(process_table=run, host=f"{run} host", heartbeat="1.0")) for run in later
    ]
    monkeypatch.setattr(
        owners.client, "get_run", lambda run: run_of(run, {"heartbeat": later[run]})
    )
    said: list[str] = []
    started = time.monotonic()
    with progress.sending_to(lambda news: said.append(news["message"])):
        assert owners.living(runs) == {"beating"}
    assert 0.3 < time.monotonic() - started < 0.6
    (message,) = said
    assert message.startswith("Runs of beating host, silent host, silent too host have not been")


def test_a_shell_is_alive_while_a_process_works_for_its_run() -> None:
    run_id = f"run-{os.getpid()}-{time.time_ns()}"
    with sleeping_process(MLFLOW_RUN_ID=run_id):
        assert owners.shell_is_alive(run_id, opened=0)
        assert not owners.shell_is_alive(f"{run_id}-other", opened=0)
    assert not owners.shell_is_alive(run_id, opened=0)


def test_a_shell_may_have_opened_the_runs_that_are_younger_than_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "mlflow"
    program.write_text("import time\ntime.sleep(60)\n")
    before = time.time() - 1
    shell = subprocess.Popen([sys.executable, program, "run", "."])
    try:
        assert owners.shell_is_alive("a-run", opened=time.time() + 1)
        assert not owners.shell_is_alive("a-run", opened=before)
    finally:
        shell.kill()
        shell.wait()
    assert not owners.shell_is_alive("a-run", opened=time.time() + 1)


def test_the_heart_beats_until_the_end_and_survives_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(owners, "HEARTBEAT_SECONDS", 0.01)
    beats: list[str] = []

    def beat(now: str) -> None:
        beats.append(now)
        if len(beats) == 1:
            raise ConnectionError("away")

    with owners.heartbeat(beat):
        while len(beats) < 3:
            time.sleep(0.01)
    time.sleep(0.05)
    count = len(beats)
    time.sleep(0.1)
    assert len(beats) == count
    assert beats == sorted(beats)
