"""A PostgreSQL server of a test's own, that can be stopped and started."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from browser import free_port

USER = "twenty_layers"
STARTED_WITHIN = 60.0  # seconds


def programs() -> Path:
    """The directory of PostgreSQL's programs, which Debian keeps off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path).resolve())
    if not found:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return found[-1].parent


class PostgreSQL:
    """One cluster.

    Args:
        directory: an empty directory that the account `postgres` can reach: PostgreSQL refuses to
            run as root.
        port: a free port.
        host: the address to listen on.
    """

    def __init__(self, directory: Path, port: int, host: str = "127.0.0.1"):
        self._programs = programs()
        self._directory, self._port, self._host = directory, port, host
        self._account = "postgres" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        if self._account:
            shutil.chown(directory, self._account)
        # Whoever reaches the port is let in: it is this test's alone.
        initialize = [f"{self._programs}/initdb", "--auth=trust", "--no-sync", f"--username={USER}"]
        subprocess.run(
            [*initialize, f"{directory}/data"],
            user=self._account,
            cwd=directory,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        with (directory / "data" / "pg_hba.conf").open("a") as file:
            file.write("host all all samenet trust\n")

    @property
    def uri(self) -> str:
        """The address of the database, for SQLAlchemy."""
        return f"postgresql+psycopg2://{USER}@{self._host}:{self._port}/postgres"

    def create_database(self, name: str) -> str:
        """Create another database; returns its address, for SQLAlchemy."""
        place = ("-h", self._host, "-p", str(self._port), "-U", USER)
        subprocess.run([f"{self._programs}/createdb", *place, name], check=True)
        return f"{self.uri.rpartition('/')[0]}/{name}"

    def start(self) -> None:
        """Start, and wait until it accepts connections."""
        place = ("-D", self._directory / "data", "-k", self._directory)
        listening = ("-p", str(self._port), "-c", f"listen_addresses={self._host}")
        self._process = subprocess.Popen(
            [self._programs / "postgres", *place, *listening],
            user=self._account,
            cwd=self._directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        ready = [f"{self._programs}/pg_isready", "-q", "-h", self._host, "-p", str(self._port)]
        deadline = time.monotonic() + STARTED_WITHIN
        while subprocess.run(ready).returncode:
            assert time.monotonic() < deadline, "PostgreSQL did not start"
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop at once, ending all connections."""
        if self._process:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
            self._process = None


@contextmanager
def temporary_postgresql() -> Iterator[PostgreSQL]:
    """A server that is started, in a folder that goes with it."""
    directory = Path(tempfile.mkdtemp(prefix="postgresql-"))  # pytest's are closed to `postgres`
    database = PostgreSQL(directory, free_port())
    try:
        database.start()
        yield database
    finally:
        database.stop()
        shutil.rmtree(directory)
