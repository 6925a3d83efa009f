"""A fault a night, on what a team has: which alarm rings, and what it gives for the cause.

`make faults` has them all; with FAULTS=1 there are three.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import pytest
from browser import free_port
from conftest import shared_directory
from filelock import FileLock
from mlflow.entities import Run
from postgresql import temporary_postgresql
from receivers import Receiver, receiver
from teams import NIGHT, Team, Told, cloned, ended, made, save_digits, tracking_server

from pipeline.nights.hook import TIMEOUT, VARIABLE

pytestmark = pytest.mark.faults
in_full = pytest.mark.skipif(
    os.environ.get("FAULTS", "1") == "1", reason="FAULTS=1 stands for a short selection"
)
SEEDS = ("--seeds", "1..4")
RATE = "self.optimizer.learning_rate.assign(learning_rate)"
CHRT = ("chrt", "--rr", "1")
SECRET = "the-secret"  # in the hook's address


@pytest.fixture(scope="session")
def alone() -> Sequence[str]:
    """What a night is started through whose times are to be those of its code, on a busy machine.

    Root alone may: then no other process takes the processor from it.
    """
    with suppress(OSError):
        if subprocess.run([*CHRT, "true"], capture_output=True).returncode == 0:
            return CHRT
    return ()


@pytest.fixture(scope="session")
def team_before(tmp_path_factory: pytest.TempPathFactory, alone: Sequence[str]) -> Team:
    """A team that has had two good nights."""
    shared = shared_directory(tmp_path_factory)
    team = Team(shared / "team", options=(*NIGHT, *SEEDS))
    with FileLock(shared / "team.lock"):
        if not team.directory.exists():
            made(team.directory, change="batch_normalization=True", margin=0.01)
            for _ in range(2):
                told = team.night(through=alone)
                assert told.code == 0, told.output
            assert "equal to the last digit" in told.said
    return team


@pytest.fixture
def team(team_before: Team, tmp_path: Path) -> Team:
    """A clone of it, with a store of its own."""
    return cloned(team_before, tmp_path / "team")


@pytest.fixture
def received() -> Iterator[Receiver]:
    """What is posted to the team's chat."""
    with receiver() as listening:
        yield listening


@dataclass(frozen=True)
class Night:
    """What became of a night: for whoever started it, in the chat, and on its run."""

    told: Told
    bodies: Sequence[Any]
    run: Run
    record: Any
    page: str

    @property
    def alarms(self) -> list[tuple[str, str]]:
        """What was rung for, and why, as it was posted."""
        return [
            (one["text"], one["cause"]) for body in self.bodies for one in body.get("alarms", ())
        ]

    @property
    def note(self) -> str:
        return self.run.data.tags["mlflow.note.content"]


Record = Callable[[str, object], None]


@pytest.fixture
def night(
    team: Team, received: Receiver, record_property: Record, request: pytest.FixtureRequest
) -> Callable[..., Night]:
    """Run a night of the team, and keep the score."""

    def run(*options: str, **named: Any) -> Night:
        told = team.night(*options, **{VARIABLE: received.address, **named})
        print(told.output)
        last = team.runs("nightly")[-1]
        record, page = "{}", ""
        with suppress(Exception):  # of a night that failed
            record, page = team.read(last, "night.json"), team.read(last, "report.html")
        found = Night(told, [*received.bodies], last, json.loads(record), page)
        why = "; ".join(f"{text} {cause}" for text, cause in found.alarms)
        rung = "; ".join(found.record.get("alarms", ()))
        said = why or (f"not posted: {rung}" if rung else "quiet")
        score(record_property, request, told, said)
        return found

    return run


def score(record: Record, request: pytest.FixtureRequest, told: Told, said: str) -> None:
    name = request.node.name.removeprefix("test_").replace("_", " ")
    record("told", f"{name}: exit {told.code}, {told.seconds:.0f} s: {said}")


def posted(received: Receiver) -> str:
    return "; ".join(body["text"] for body in received.bodies) or "quiet"


def check_alarm(found: Night, expected: str, *, cause: Sequence[str]) -> None:
    """It rang for what is expected, with the cause, and says so wherever it is read."""
    assert found.told.code == 3
    assert len(found.bodies) == 1
    assert found.run.info.status == "FINISHED"
    assert found.run.data.tags["alarm"] != "no"
    assert [text for text, _ in found.alarms] == found.record["alarms"][: len(found.alarms)]
    why = next((why for alarm, why in found.alarms if expected in alarm), "")
    assert all(words in why for words in cause), (expected, cause, found.alarms)
    for shown in (found.told.said, found.note, found.page):
        assert cause[0] in shown


def check_quiet(found: Night) -> None:
    assert found.told.code == 0, found.told.output
    assert found.bodies == []
    assert found.record["alarms"] == []
    assert found.run.data.tags["alarm"] == "no"


def test_a_learning_rate_in_the_code_30_times_as_high(
    team: Team, night: Callable[..., Night]
) -> None:
    before = team.commit_now()
    team.change("pipeline/training/trainer.py", RATE, RATE.replace("(l", "(30 * l"))
    found = night()
    commits = f"(commit {before[:7]} to {team.commit_now()[:7]})"
    check_alarm(found, "plain: test accuracy", cause=("the code of training.trainer", commits))


@in_full
def test_mini_batches_that_are_no_longer_shuffled(team: Team, night: Callable[..., Night]) -> None:
    permuted = "np.random.default_rng([seed, epoch]).permutation(len(self.labels))"
    team.change("pipeline/training/blocks.py", permuted, "np.arange(len(self.labels))")
    given = zip(team.options[::2], team.options[1::2], strict=True)
    named = [f"{name.removeprefix('--').replace('-', '_')}={text}" for name, text in given]
    options = [text for one in named for text in ("-P", one)]
    command = ("mlflow", "run", ".", "--env-manager", "local", "-e", "nightly", *options)
    found = night(command=command)
    assert found.told.code == 1  # of `mlflow run`, which knows no other
    deadline = time.monotonic() + 60
    while (run := team.client.get_run(found.run.info.run_id)).info.status == "FAILED":
        assert time.monotonic() < deadline  # MLflow's doing, which is set right from outside
        time.sleep(0.2)
    found = replace(found, told=replace(found.told, code=3), run=run)
    check_alarm(found, "other: test accuracy", cause=("the code of training.blocks",))


@in_full
def test_a_package_of_an_earlier_version(night: Callable[..., Night], tmp_path: Path) -> None:
    installed, earlier = version("keras"), "3.15.0"
    install = ("uv", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "keras"))
    done = subprocess.run(
        [str(Path(sys.executable).parent / install[0]), *install[1:], f"keras=={earlier}"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"keras {earlier} is not to be had: {done.stderr.splitlines()[-1]}")
    found = night(PYTHONPATH=str(tmp_path / "keras"))
    check_quiet(found)  # it computes the same
    assert "the same to the last digit (4 seeds)" in found.page
    assert f"keras from {installed} to {earlier}" in found.page


@in_full
def test_labels_of_which_2_percent_are_others(team: Team, night: Callable[..., Night]) -> None:
    save_digits(team.directory / "digits.npz", share_of_other_labels=0.02)
    found = night()
    said = "the data (of 5,000 images 100 relabelled)"
    check_alarm(found, "plain: test accuracy", cause=(said,))


@in_full
def test_an_optimizer_whose_steps_take_longer(
    team: Team, night: Callable[..., Night], alone: Sequence[str]
) -> None:
    last = "        variable.assign_sub(change / "
    wasted = """\
        wasted = tf.ones((200, 200)) * tf.tanh(tf.reduce_sum(gradient))
        for _ in range(3):
            wasted = tf.tanh(tf.matmul(wasted, wasted))
        change += 0.0 * tf.reduce_sum(wasted)
"""
    team.change("pipeline/training/xla.py", last, wasted + last)
    found = night(through=alone)
    if "no undisturbed runs of both" in found.page:
        pytest.skip("other work disturbed the times that were to be compared")
    check_alarm(found, "an epoch took", cause=("the code of training.xla",))
    assert not any("accuracy" in text for text, _ in found.alarms)


@in_full
def test_code_that_is_written_otherwise_and_computes_the_same(
    team: Team, night: Callable[..., Night], alone: Sequence[str]
) -> None:
    file = "pipeline/training/blocks.py"
    team.change(file, "permutation = np.random", "drawn = np.random")
    team.change(file, "np.resize(permutation,", "np.resize(drawn,")
    found = night(through=alone)
    check_quiet(found)
    assert found.page.count("the same to the last digit (4 seeds)") >= 2  # of both variants
    assert "8 trainings were added" in found.page


def test_a_worker_of_another_processor(team: Team, night: Callable[..., Night]) -> None:
    def_ = "def processor(cpu_info: Path = CPU_INFO) -> str:\n"
    team.change("pipeline/steps/owners.py", def_, f'{def_}    return "A New One, AVX-1024"\n')
    found = night()
    check_quiet(found)
    assert "A New One, AVX-1024" in found.page
    assert "No training was added" in found.page


def other_keras(directory: Path) -> Path:
    """Keras as it is installed, but for what initial weights it draws; its version is the same."""
    installed = Path(mlflow.__file__).parents[1]
    for source in (installed / "keras", installed / f"keras-{version('keras')}.dist-info"):
        shutil.copytree(source, directory / source.name)
    path = directory / "keras/src/backend/tensorflow/random.py"
    text = path.read_text("utf-8")
    drawn = "_cast_seed(draw_seed(seed))\n"
    changed = text.replace(drawn, drawn.replace("\n", " + 1\n"))
    assert changed != text
    path.write_text(changed, "utf-8")
    return directory


@in_full
def test_a_library_of_the_same_version_that_computes_otherwise(
    night: Callable[..., Night], tmp_path: Path
) -> None:
    found = night(PYTHONPATH=str(other_keras(tmp_path / "libraries")))
    check_alarm(
        found, "came to other digits", cause=("Nothing that decides its result has changed",)
    )


@in_full
@pytest.mark.parametrize("answers", [False, True], ids=["closed", "silent"])
def test_a_hook_that_is_away(
    team: Team, night: Callable[..., Night], tmp_path: Path, answers: bool
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if answers else free_port()
        hook = {VARIABLE: f"http://127.0.0.1:{port}/{SECRET}"}
        found = night(PYTHONPATH=str(other_keras(tmp_path / "libraries")), **hook)
    assert found.told.code == 3
    why = f"no answer within {TIMEOUT:.0f} s" if answers else "no connection"
    assert f"The hook at 127.0.0.1 was not told: {why}." in found.told.said
    ends = found.run.info.end_time / 1000  # the run's; the process ends after the hook
    assert found.record["alarms"]
    assert time.time() - ends < TIMEOUT + 20
    assert_nowhere(SECRET, team, found)


def assert_nowhere(secret: str, team: Team, found: Night) -> None:
    assert secret not in found.told.output
    for path in (team.directory / "mlflow.db", team.directory / "optuna.db"):
        assert secret.encode() not in path.read_bytes()
    for path in Path(found.run.info.artifact_uri).rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes()


def wait_for(holds: Callable[[], object], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 600
    while not holds():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.2)


@in_full
def test_postgresql_restarted_in_the_middle(
    team: Team,
    tmp_path: Path,
    received: Receiver,
    record_property: Record,
    request: pytest.FixtureRequest,
) -> None:
    with (
        temporary_postgresql() as postgresql,
        tracking_server(tmp_path / "server", store=postgresql.uri) as at,
    ):
        where = {"MLFLOW_TRACKING_URI": at, VARIABLE: received.address}
        team = replace(team, environment=where)
        storage = ("--storage", postgresql.create_database("optuna"))
        process = team.start(*storage)
        for step in ("trial", "train"):  # Optuna's and MLflow's alone
            wait_for(partial(team.runs, step), process)
            postgresql.stop()
            time.sleep(3)
            postgresql.start()
        told = ended(process)
        print(told.output)
        score(record_property, request, told, posted(received))
        assert (told.code, received.bodies) == (0, []), told.output
        assert [run.info.status for run in team.runs("train")] == 8 * ["FINISHED"]
        assert team.runs("nightly")[-1].data.tags["alarm"] == "no"


@contextmanager
def small_disk(directory: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A disk of a size, in memory; yields what gives it another size."""
    directory.mkdir()

    def mount(options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(directory)]
        if (done := subprocess.run(command, capture_output=True, text=True)).returncode:
            pytest.skip(f"No disk can be mounted: {done.stderr.strip()}")

    mount(f"size={size}")
    try:
        yield lambda other: mount(f"remount,size={other}")
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@in_full
def test_an_object_store_that_is_full(
    team: Team,
    tmp_path: Path,
    received: Receiver,
    record_property: Record,
    request: pytest.FixtureRequest,
) -> None:
    disk = tmp_path / "disk"
    options = ("--artifacts-destination", str(disk), "--serve-artifacts")
    with (
        small_disk(disk, "6m") as resize,
        tracking_server(tmp_path / "server", *options) as address,
    ):
        where = {"MLFLOW_TRACKING_URI": address, VARIABLE: received.address}
        team = replace(team, environment={**where, "TRACKING_WAIT_SECONDS": "10"})
        told = team.night()
        print(told.output)
        score(record_property, request, told, posted(received))
        assert told.code == 1
        (body,) = received.bodies
        assert body["exit_code"] == 1
        for said in (told.said, body["text"]):
            assert "its artifact store takes nothing: full, or away" in said
            assert "make room there" in said
        resize("100m")
        after = team.night()
        print(after.output)
        score(record_property, request, after, "quiet, the night after, with room")
        assert (after.code, len(received.bodies)) == (0, 1)


def test_two_nights_at_once_and_one_that_died(
    team: Team,
    received: Receiver,
    record_property: Record,
    request: pytest.FixtureRequest,
) -> None:
    team = replace(team, environment={VARIABLE: received.address})
    # Seeds that are to be trained, so that one is at it for a while.
    more = ("--seeds", "1..6")
    first = team.start(*more)
    wait_for(lambda: _is_running(team, "train"), first)
    second = team.night(*more)
    print(second.output)
    score(record_property, request, second, "quiet, while another one runs")
    assert second.code == 0
    assert second.seconds < 60
    assert f"process {first.pid} on {socket.gethostname()}" in second.said
    assert len([run for run in team.runs("nightly") if run.info.status == "RUNNING"]) == 1
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    after = team.night(*more)
    print(after.output)
    score(record_property, request, after, "quiet, after one that died")
    assert (after.code, received.bodies) == (0, []), after.output
    runs = [run for step in ("nightly", "main", "train", "replay") for run in team.runs(step)]
    assert [run for run in runs if run.info.status == "RUNNING"] == []
    assert team.runs("nightly")[-1].data.tags["alarm"] == "no"


def _is_running(team: Team, step: str) -> bool:
    return any(run.info.status == "RUNNING" for run in team.runs(step))


@in_full
def test_code_and_data_that_changed_at_once_are_told_apart(
    team: Team, night: Callable[..., Night]
) -> None:
    team.change("pipeline/training/trainer.py", RATE, RATE.replace("(l", "(30 * l"))
    save_digits(team.directory / "digits.npz", share_of_other_labels=0.001)
    found = night("--bisect", "yes")
    check_alarm(
        found, "plain: test accuracy", cause=("the code of training.trainer", "the data (of 5,000")
    )
    said = " ".join(found.page.split())
    assert "the code is the cause" in said
    assert "the data alone is not the cause" in said
