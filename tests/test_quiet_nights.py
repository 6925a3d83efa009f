"""Twenty nights on one store on which nothing happens that decides results: none rings.

`make faults` runs twenty; with FAULTS=1 they are three.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from browser import free_port
from receivers import receiver
from teams import Team, cloned, made, tracking_server

from pipeline.nights.hook import VARIABLE

pytestmark = pytest.mark.faults
NIGHTS = 20 if int(os.environ.get("FAULTS", "1")) > 1 else 3
MORE_SEEDS = {1: 3, 4: 4, 9: 5, 16: 6}  # at most, from which night on
UNDER_LOAD, RESTARTED, COMMENTED, CLONED = 7, 11, 13, 15


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    begun = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in begun:
            process.kill()
            process.wait()


def only_comments(team: Team) -> None:
    for path in (team.directory / "pipeline").rglob("*.py"):
        path.write_text(f"{path.read_text('utf-8')}\n# Nothing but a comment.\n", "utf-8")
    team.commit("Comments alone")


def test_quiet_nights_are_quiet(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    port, seeds = free_port(), 0
    # Two networks so alike that their question stays undecided.
    team = made(tmp_path / "team", change="units=52", margin=0.0001)
    with receiver() as received, ExitStack() as running:
        where = {"MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}", VARIABLE: received.address}
        team = replace(team, environment=where)
        for night in range(1, NIGHTS + 1):
            if night in (1, RESTARTED):
                running.close()
                running.enter_context(tracking_server(tmp_path / "server", port=port))
            if night == COMMENTED:
                only_comments(team)
            if night == CLONED:
                team = cloned(team, tmp_path / "clone")
            seeds = MORE_SEEDS.get(night, seeds)
            with busy_processes(2 if night == UNDER_LOAD else 0):
                told = team.night("--max-seeds", str(seeds))
            score = f"quiet night {night}: exit {told.code}, {told.seconds:.0f} s"
            record_property("told", score)
            print(f"{score}\n{told.output}")
            assert (told.code, received.bodies) == (0, []), told.output
        check(team)


def check(team: Team) -> None:
    """Every night has a point in the trend, and every training had its turn."""
    nights = team.runs("nightly")
    assert [run.data.tags["alarm"] for run in nights] == NIGHTS * ["no"]
    for run in team.runs("trend"):
        points = team.client.get_metric_history(run.info.run_id, "test_accuracy")
        assert [point.step for point in points] == list(range(1, NIGHTS + 1))
    replays = team.runs("replay")
    assert [run.data.tags["replay"] for run in replays] == (NIGHTS - 1) * ["equal"]
    of_each = Counter(run.data.tags["replayed_run"] for run in replays)
    trainings = [run.info.run_id for run in team.runs("train")]
    if 1 + len(trainings) < NIGHTS:
        assert of_each.keys() == set(trainings)
    # One that was trained later has had fewer turns since.
    in_turn = [run.data.tags["replayed_run"] for run in replays]
    assert len({*in_turn[:6]}) == len(in_turn[:6])
