"""The report of many trainings: how long it takes to make, its weight, and its first screen.

The trainings are those of one comparison, 12 seeds of each variant, and copies of these under other
seeds, which share their artifacts.
"""

import hashlib
import shutil
import sqlite3
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from benchmarks import harness, outcomes
from pipeline import command
from pipeline.base import InputError
from pipeline.parameters import Parameters, parameter

if TYPE_CHECKING:
    from mlflow.entities import Run

SEEDS = 12
GIVEN = {"dataset": "mnist_5k", "seeds": f"1..{SEEDS}", "n_trials": 4, "search_epochs": 2}
GIVEN |= {"epochs": 8}
COMPARE = harness.entry_point("compare", reuse="never")
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
LOADED = "performance.getEntriesByType('navigation')[0].loadEventEnd"
FIGURES = {
    "wall_seconds": "s to make it",
    "cpu_seconds": "CPU s to make it",
    "report_mb": "MB",
    "painted_seconds": "s to its first screen",
    "loaded_seconds": "s until all of it is shown",
}
OF_FEWEST, OF_MOST = {"report_mb": 2.0, "painted_seconds": 1.0}, {"wall_seconds": 30.0}  # at most


class Report(Parameters):
    """What is measured."""

    runs: tuple[int, ...] = parameter.asked(
        "60,1000", "How many trainings are compared, separated by commas.", int, many=True
    )
    rounds: int = harness.rounds(3)


def report(asked: Report) -> None:
    """Measure `compare` of many trainings, and a browser that opens its report."""
    browser = shutil.which("chromium")
    if browser is None:
        expected, action = "a browser on the path", "Install it: `apt-get install chromium`."
        raise InputError("chromium", expected=expected, received="none", action=action)
    machine = harness.describe_machine()
    counts = sorted(asked.runs)
    with tempfile.TemporaryDirectory() as project:
        directory = Path(project)
        harness.run(harness.entry_point("main", **GIVEN), directory=directory)
        copies, tables = Copies(directory / "mlflow.db"), []
        for count in counts:
            copies.fill(count)
            sides = {harness.OURS: lambda _: _made_and_opened(directory, browser)}
            tables.append(harness.in_turns(sides, rounds=asked.rounds).assign(runs=count))
    measured = pd.concat(tables)
    aims = {counts[-1]: OF_MOST, counts[0]: OF_FEWEST}
    outcomes.publish(
        "report",
        [
            outcomes.result(
                f"{count:,} trainings: {unit}",
                measured[measured["runs"] == count],
                column,
                at_most=aims.get(count, {}).get(column),
            )
            for count in counts
            for column, unit in FIGURES.items()
        ],
        machine=machine,
        conditions=GIVEN,
        measured=measured,
    )


def _made_and_opened(directory: Path, browser: str) -> harness.Row:
    usage, _ = harness.run(COMPARE, directory=directory)
    page = max(directory.glob("mlruns/**/report.html"), key=lambda path: path.stat().st_mtime)
    return {**asdict(usage), "report_mb": page.stat().st_size / 1e6, **_opened(page, browser)}


def _opened(page: Path, browser: str) -> harness.Row:
    """When a browser has drawn the first screen of a page, and all of it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser)
        tab = chromium.new_page()
        tab.goto(page.as_uri(), wait_until="load")
        tab.wait_for_function(f"{LOADED} > 0 && performance.getEntriesByType('paint').length > 1")
        painted, loaded = (tab.evaluate(of) / 1000 for of in (PAINTED, LOADED))
        chromium.close()
    return {"painted_seconds": painted, "loaded_seconds": loaded}


class Copies:
    """Copies of the trainings of a store, under seeds of their own, with the same artifacts.

    Args:
        database: the file of an MLflow store with the runs of one comparison.
    """

    def __init__(self, database: Path):
        import mlflow

        self._database = database
        self._client = mlflow.MlflowClient(f"sqlite:///{database}")
        self._originals = list(self._client.search_runs(["0"], "tags.step = 'train'"))
        self._histories = {
            run.info.run_id: [
                point
                for name in run.data.metrics
                for point in self._client.get_metric_history(run.info.run_id, name)
            ]
            for run in self._originals
        }
        self._count = len(self._originals)

    def fill(self, count: int) -> None:
        """Add copies until there are so many trainings."""
        for number in range(self._count, count):
            generation, place = divmod(number, len(self._originals))
            self._copy(self._originals[place], generation)
        self._count = max(count, self._count)

    def _copy(self, original: "Run", generation: int) -> None:
        from mlflow.entities import Param

        info, data = original.info, original.data
        seed = int(data.params["seed"]) + SEEDS * generation
        tags = dict(data.tags)
        tags["step_key"] = hashlib.sha256(f"{tags['step_key']}{generation}".encode()).hexdigest()
        tags["mlflow.runName"] = f"train {data.params['variant']} seed {seed}"
        run_id = self._client.create_run("0", info.start_time, tags).info.run_id
        parameters = data.params | {"seed": str(seed)}
        listed = [Param(name, value) for name, value in parameters.items()]
        self._client.log_batch(run_id, self._histories[info.run_id], listed)
        self._client.set_terminated(run_id, info.status, info.end_time)
        with sqlite3.connect(self._database) as connection:
            statement = "update runs set artifact_uri = ? where run_uuid = ?"
            connection.execute(statement, (info.artifact_uri, run_id))


if __name__ == "__main__":
    command.run(report)
