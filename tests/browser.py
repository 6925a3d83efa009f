"""A real browser on the MLflow UI, for tests; and the README's pictures of a finished store.

    python tests/browser.py STORE PICTURES

starts the UI on STORE/mlflow.db, saves the views there, and writes PICTURES/*.png.
"""

import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page

PICTURES = {
    "comparison": "Comparison",
    "leaderboard": "Leaderboard",
    "curves_by_epoch": "Learning curves by epoch",
    "curves_by_seconds": "Learning curves by seconds",
    "search": "Learning-rate search",
}
WIDTH, HEIGHT = 1600, 1000
TIMEOUT = 60_000  # milliseconds: a first page takes seconds on an idle machine
# MLflow asks for the user's account although there are no accounts; and browsers report as an error
# that a page goes on laying itself out in the next frame.
HARMLESS = ("/mlflow/users/current", "ResizeObserver loop completed")
# The UI puts its assistant beside the first page that a browser sees.
NO_ASSISTANT = """
if (window === top) localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')
"""
# Per chart: its kind, the runs that it shows, and their colours. A smoothed curve has two traces.
CHARTS = """
() => [...document.querySelectorAll('.js-plotly-plot')].map(plot => {
    const traces = (plot.data || []).filter(trace => (trace.x || []).length);
    const lines = traces.length && traces[0].mode !== 'markers' && traces[0].type !== 'bar';
    return {
        kind: traces.length ? (lines ? 'LINE' : traces[0].type === 'bar' ? 'BAR' : 'SCATTER') : '',
        runs: lines ? new Set(traces.map(trace => trace.uuid)).size
            : traces.reduce((sum, trace) => sum + trace.x.length, 0),
        colors: [...new Set(traces.filter(trace => trace.hoverinfo !== 'skip')
            .flatMap(trace => [].concat(trace.marker?.color ?? [])))].sort(),
    };
})
"""

COLUMNS = """
() => [...document.querySelectorAll('.ag-header-cell[col-id]')]
    .sort((one, other) => one.getBoundingClientRect().x - other.getBoundingClientRect().x)
    .map(cell => cell.getAttribute('col-id'))
"""


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Browser:
    """One page of a browser, with the errors that its console has shown.

    Args:
        page: Playwright's page.
    """

    def __init__(self, page: "Page"):
        self.page = page
        self.errors: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _on_console(self, message: "ConsoleMessage") -> None:
        text = f"{message.text} {message.location.get('url', '')}"
        if message.type == "error" and not any(harmless in text for harmless in HARMLESS):
            self.errors.append(text)

    def open(self, address: str, *, height: int = HEIGHT) -> None:
        """Open an address anew; a page that differs in its fragment alone would not be loaded."""
        self.page.set_viewport_size({"width": WIDTH, "height": height})
        self.page.goto("about:blank")
        self.errors.clear()
        self.page.goto(address)

    def open_view(self, address: str, *, runs: int, height: int = HEIGHT) -> None:
        """Open a saved view and wait until its runs are there."""
        self.open(address, height=height)
        text = f"{runs} matching run{'s' if runs != 1 else ''}"
        self.page.get_by_text(text, exact=True).wait_for()

    def charts(self, expected: list[int] | None = None) -> list[dict[str, Any]]:
        """The charts in the order of the page: kind, number of runs shown, and their colours.

        Args:
            expected: the numbers to wait for, as long as that may take; None: until nothing
                changes for a second.
        """
        deadline, since = time.monotonic() + TIMEOUT / 1000, time.monotonic()
        before: list[dict[str, Any]] = []
        while True:
            charts = self.page.evaluate(CHARTS)
            since = since if charts == before and charts else time.monotonic()
            ready = time.monotonic() - since > 1
            if expected is not None:
                ready = [chart["runs"] for chart in charts] == expected
            if ready or time.monotonic() > deadline:
                return charts
            before = charts
            self.page.wait_for_timeout(250)

    def rows(self, expected: int) -> list[str]:
        """The runs and groups of the table, from the top, once there are so many."""
        rows = self.page.locator(".ag-row:has([col-id='attributes.`Run Name`'])")
        rows.nth(expected - 1).wait_for()
        placed = [
            (int(row.get_attribute("row-index") or -1), row.inner_text()) for row in rows.all()
        ]
        lines = [text.strip().split("\n") for _, text in sorted(placed)]
        # A button and a run's colour come before the name.
        return [next(line for line in row if not line.startswith(("Pin ", "#"))) for row in lines]

    def columns(self) -> list[str]:
        """The ids of the table's columns that are in sight, from the left."""
        return self.page.evaluate(COLUMNS)

    def picture(self, path: Path) -> None:
        """Save what is seen."""
        self.page.screenshot(path=path)


@contextmanager
def opened() -> Iterator[Browser]:
    """Chromium without a window.

    Raises:
        FileNotFoundError: there is no chromium on the path.
    """
    from playwright.sync_api import sync_playwright

    program = shutil.which("chromium")
    if program is None:
        raise FileNotFoundError("chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program)
        context = chromium.new_context(viewport={"width": WIDTH, "height": HEIGHT})
        context.set_default_timeout(TIMEOUT)
        context.add_init_script(NO_ASSISTANT)
        yield Browser(context.new_page())
        chromium.close()


def run_address(server: str, experiment: str, run_id: str) -> str:
    """The address of a run's page, among the pages for training rather than for GenAI."""
    return f"{server}/#/experiments/{experiment}/runs/{run_id}?workflowType=machine_learning"


def report_address(server: str, experiment: str, run_id: str) -> str:
    """The address of the report among the artifacts of a comparison."""
    artifact = "artifacts/report.html?workflowType=machine_learning"
    return f"{server}/#/experiments/{experiment}/runs/{run_id}/{artifact}"


def take_pictures(
    browser: Browser, urls: Mapping[str, str], *, run_url: str, report_url: str, directory: Path
) -> None:
    """Save a picture of every view, of a run's page, and of the report where MLflow shows it."""
    for file_name, view in PICTURES.items():
        browser.open(urls[view])
        browser.page.get_by_text("matching runs").wait_for()
        if "compareRunsMode=CHART" in urls[view]:
            browser.charts()
        else:
            browser.rows(1)
        browser.picture(directory / f"{file_name}.png")
    browser.open(run_url)
    browser.page.get_by_text("test_accuracy").first.wait_for()
    browser.page.wait_for_timeout(1000)
    browser.picture(directory / "run.png")
    browser.open(report_url, height=2150)  # down to the answers
    browser.page.frame_locator("iframe").get_by_role("heading").first.wait_for()
    browser.page.locator("iframe").screenshot(path=directory / "report.png")


def main(store: Path, pictures: Path) -> None:
    """The README's pictures, from the newest comparison of a store."""
    import mlflow

    from pipeline.tracking import client, views
    from pipeline.tracking.server import server

    pictures.mkdir(parents=True, exist_ok=True)
    database = f"sqlite:///{store.resolve()}/mlflow.db"
    with server(host="127.0.0.1", port=free_port(), store=database) as (_, address):
        mlflow.set_tracking_uri(address)
        experiments = mlflow.MlflowClient().search_experiments()
        newest = views.newest_training_run([one.experiment_id for one in experiments])
        assert newest, f"no finished training run in {database}"
        experiment = newest.info.experiment_id
        compared = next(client.finished_runs("compare", experiment)).info.run_id
        with opened() as browser:
            take_pictures(
                browser,
                views.write_views(experiment),
                run_url=run_address(address, experiment, newest.info.run_id),
                report_url=report_address(address, experiment, compared),
                directory=pictures,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
