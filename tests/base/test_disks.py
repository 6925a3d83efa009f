"""Disks that take no more, by the errors of those that write to them."""

import sqlite3
import subprocess
import sys
from errno import ENOENT, ENOSPC
from pathlib import Path
from unittest.mock import Mock

import pytest
from conftest import PROJECT

from pipeline.base import disks

# What may be written here is as little as on a disk that is full.
PROGRAM = """
import resource, signal, sqlite3, sys, numpy as np
from pipeline.base import disks
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
def numpy(): np.save("x.npy", np.zeros(100_000))
def python(): open("x", "wb").write(bytes(100_000))
def sqlite():
    with sqlite3.connect("x.db") as database:
        database.execute("CREATE TABLE x (y BLOB)")
        database.execute("INSERT INTO x VALUES (?)", [bytes(100_000)])
try:
    globals()[sys.argv[1]]()
except Exception as error:
    print(disks.failure(error))
"""


@pytest.mark.parametrize(
    ("writer", "said"),
    [
        ("numpy", " requested and "),
        ("python", "File too large"),
        ("sqlite", "disk"),
    ],
)
def test_a_disk_is_known_by_every_writers_own_error(tmp_path: Path, writer: str, said: str) -> None:
    program = [sys.executable, "-c", PROGRAM, writer]
    ran = subprocess.run(
        program, cwd=tmp_path, env={"PYTHONPATH": str(PROJECT)}, capture_output=True, text=True
    )
    assert said in ran.stdout, ran.stdout + ran.stderr
    assert ran.stdout.count("\n") == 1


def test_an_error_raised_from_that_of_a_disk_is_told_in_its_words() -> None:
    cause = sqlite3.OperationalError("(sqlite3.OperationalError) database or disk is full\n[SQL]")
    error = RuntimeError("An exception is raised during the commit.")
    error.__cause__ = cause
    said = disks.failure(error)
    assert said
    assert said.startswith("(sqlite3.OperationalError) database or disk is full")
    assert "SQL]" not in said


def test_where_there_is_little_room_is_said_unless_the_file_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(disks.shutil, "disk_usage", lambda _: Mock(free=5 * 2**20))
    monkeypatch.chdir(tmp_path)
    said = disks.failure(OSError("800 requested and 16 written"))
    assert said
    assert said.startswith(f"800 requested and 16 written (free: 5.0 MiB in {tmp_path}, ")
    named = OSError(ENOSPC, "No space left on device", "a/file")
    assert disks.failure(named) == "[Errno 28] No space left on device: 'a/file'"


@pytest.mark.parametrize("error", [OSError(ENOENT, "no file", "x"), ValueError("a defect")])
def test_other_errors_are_not_a_disks(error: Exception) -> None:
    assert disks.failure(error) is None
