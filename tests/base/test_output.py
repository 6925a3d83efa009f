"""Whatever becomes of what a command prints, the command comes to its end."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from conftest import PROJECT

from pipeline.base import output

PROGRAM = textwrap.dedent("""
    import contextlib, os, sys
    from pipeline.base import output, progress

    output.never_fails()
    print("an en dash \N{EN DASH}")
    with open("written", "w") as file:  # takes the lowest number that is free
        for number in (1, 2):  # as C++ libraries do, past Python
            with contextlib.suppress(OSError):
                os.write(number, b"past Python\\n")
        for _ in range(2000):
            with progress.display():
                progress.update(message="a line of a length that fills a pipe sooner or later")
            print("a warning", file=sys.stderr)
    os.system("echo of a child; echo warning of a child >&2")
    with open("finished", "w") as file:
        file.write("yes")
""")


def printing(directory: Path, shell: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the program as `$program`, in a shell's words."""
    (directory / "program.py").write_text(PROGRAM, "utf-8")
    ran = subprocess.run(
        ["bash", "-c", shell],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **environment}
        | {"program": f"{sys.executable} program.py"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (directory / "finished").read_text() == "yes"
    assert (directory / "written").read_text() == ""
    return ran


@pytest.mark.parametrize(
    "shell",
    [
        "$program | head -1; exit ${PIPESTATUS[0]}",
        "$program 2>&1 | head -1; exit ${PIPESTATUS[0]}",
        "$program >&-",
        "$program >&- 2>&- <&-",
        "$program >/dev/full",
        "$program >/dev/full 2>&1",
    ],
)
def test_output_that_nobody_takes_is_lost_and_the_work_goes_on(tmp_path: Path, shell: str) -> None:
    ran = printing(tmp_path, shell)
    assert ran.returncode == 0, ran.stderr
    assert "Error" not in ran.stderr


def test_what_a_terminal_cannot_show_is_replaced(tmp_path: Path) -> None:
    ran = printing(tmp_path, "$program", PYTHONIOENCODING="ascii")
    assert ran.returncode == 0
    assert ran.stdout.startswith("past Python\nan en dash \\u2013\na line")
    assert ran.stdout.endswith("of a child\n")


def test_what_a_terminal_would_obey_is_shown_instead() -> None:
    assert output.printable("a\x1b[2Jb\n\u202etxt\u2066 é 汉") == (
        "a\\x1b[2Jb\\n\\u202etxt\\u2066 é 汉"
    )
    assert output.printable("one\ntwo\r", lines=True) == "one\ntwo\\r"
