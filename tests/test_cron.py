"""A night that Debian's cron starts, in the bare environment that it gives to commands."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from conftest import PROJECT
from teams import NIGHT, made

pytestmark = pytest.mark.faults
CRON, FOLDER, DATA = Path("/usr/sbin/cron"), "/srv/twenty-layers", "--dataset cifar10"
# With crontabs and a pid file that no other process sees, and that are gone with it.
PRIVATE = """
mount --bind "$0/crontabs" /var/spool/cron/crontabs
mount --bind "$0/nothing" /etc/cron.d
mount --bind /dev/null /etc/crontab
mount --bind "$0/run" /run
exec /usr/sbin/cron -f -L 15
"""
WITHIN = 1200.0  # seconds, on a busy machine


@contextmanager
def cron(directory: Path, crontab: str) -> Iterator[None]:
    """Debian's cron, with one crontab of root's."""
    for name in ("crontabs", "nothing", "run"):
        (directory / name).mkdir(parents=True)
    (file := directory / "crontabs" / "root").write_text(crontab, "utf-8")
    file.chmod(0o600)
    command = ("unshare", "--mount", "sh", "-ec", PRIVATE, str(directory))
    bare = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    process = subprocess.Popen(command, env=bare, start_new_session=True)
    try:
        yield
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def line(directory: Path, at: datetime) -> str:
    """The line of `deploy/crontab`, for another time, folder and comparison."""
    lines = (PROJECT / "deploy" / "crontab").read_text("utf-8").splitlines()
    (found,) = (one for one in lines if "pipeline.nightly" in one and not one.startswith("#"))
    time_of_day, command = found[:9], found[9:]
    assert time_of_day == "0 2 * * *"
    assert FOLDER in command
    assert command.endswith(DATA)
    command = command.replace(FOLDER, str(directory)).replace(DATA, " ".join(NIGHT))
    told = f"{command} --seeds 1,2 > output 2>&1; echo $? > exit_code"
    return f"{at.minute} {at.hour} * * *{told}\n"


@pytest.mark.skipif(not CRON.exists(), reason="Debian's cron is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="cron takes crontabs from root alone")
def test_a_night_that_cron_starts(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("no mount can be made that others do not see")
    team = made(tmp_path / "team", change="batch_normalization=True", margin=0.01)
    (team.directory / ".venv").symlink_to(sys.prefix)
    at = datetime.now() + timedelta(seconds=65)  # cron reads crontabs at the turn of a minute
    ended = team.directory / "exit_code"
    with cron(tmp_path / "cron", line(team.directory, at)):
        deadline = time.monotonic() + WITHIN
        while not (ended.exists() and ended.read_text("utf-8")):
            assert time.monotonic() < deadline
            time.sleep(0.5)
    said = (team.directory / "output").read_text("utf-8")
    assert ended.read_text("utf-8").strip() == "0", said
    assert [run.data.tags["alarm"] for run in team.runs("nightly")] == ["no"]
    assert len(team.runs("train")) == 4
    assert (team.directory / "optuna.db").exists()
