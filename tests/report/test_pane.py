"""The report where MLflow shows it: in a frame that opens no link by a click and saves no file."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from browser import Browser, free_port, opened, report_address
from compared_runs import evidence_of, five_variants

from pipeline.report import page
from pipeline.report.page import Origin
from pipeline.tracking import addresses
from pipeline.tracking.server import server

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def pane(store: Path) -> Iterator[Browser]:
    """A report as an artifact of a run, made where the server had another address."""
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    with mlflow.start_run(run_name="compared") as run:
        address = addresses.SERVER + addresses.run_page("0", run.info.run_id)
        evidence = evidence_of(five_variants([1, 2, 3]))
        panels = page.sections(evidence)
        some = {"epoch_seconds": panels["epoch_seconds"]}
        champion = f"**Champion** of [model]({addresses.SERVER}/#/models/the)."
        origin = Origin(run_id=run.info.run_id, address=address, champion=champion)
        mlflow.log_text(page.html_report(evidence, some, origin), "report.html")
    database = f"sqlite:///{store}/mlflow.db"
    serving = server(host="127.0.0.1", port=free_port(), store=database)
    with serving as (_, served), opened() as browser:
        browser.page.context.grant_permissions(["clipboard-read"], origin=served)
        browser.open(report_address(served, "0", run.info.run_id))
        yield browser


def test_links_lead_to_the_server_that_shows_the_report_and_what_it_cannot_do_is_copied(
    pane: Browser,
) -> None:
    report, served = pane.page.frame_locator("#html"), pane.page.url.partition("/#/")[0]
    said, clipboard = report.locator("#said"), "navigator.clipboard.readText()"
    champion, run = report.locator("#champion a"), report.locator(".origin a")
    assert champion.get_attribute("href") == f"{served}/#/models/the"
    address = run.get_attribute("href")
    run.click()
    assert "Its address is copied" in said.inner_text()
    assert pane.page.evaluate(clipboard) == address
    with pane.page.context.expect_page() as opening:
        run.click(modifiers=["ControlOrMeta"])
    opening.value.get_by_role("heading", name="compared").wait_for()
    assert opening.value.url.startswith(f"{served}/#/experiments/0/runs/")
    opening.value.close()
    report.locator("a[download='epoch_seconds.csv']").click()
    assert "Copied to the clipboard as CSV" in said.inner_text()
    header, *rows = pane.page.evaluate(clipboard).splitlines()
    assert header == "variant,series,Time per epoch (s)"
    assert len(rows) > 10
    assert pane.errors == []
