"""Where a person opens what a run has logged."""

from pathlib import Path

import mlflow
import pytest

from pipeline.tracking import addresses
from pipeline.tracking.client import Run


@pytest.fixture
def run(store: Path) -> Run:
    run_id = mlflow.MlflowClient().create_run("0").info.run_id
    mlflow.MlflowClient().log_text(run_id, "it", "a page.html")
    return mlflow.MlflowClient().get_run(run_id)


def test_a_page_on_this_machine_is_opened_as_a_file(run: Run) -> None:
    line = addresses.where("Report", run, "a page.html")
    before, _, address = line.partition(": ")
    assert before == "Report (`make ui` has the rest)"
    assert address.endswith("/a%20page.html")
    assert Path(address.removeprefix("file://").replace("%20", " ")).read_text("utf-8") == "it"


def test_what_is_elsewhere_is_opened_in_the_ui(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    training, page = "?workflowType=machine_learning", f"/#/experiments/0/runs/{run.info.run_id}"
    of_ui = f", after `make ui`: http://127.0.0.1:5000{page}"
    assert addresses.where("Run", run) == f"Run{of_ui}{training}"
    report = f"Report{of_ui}/artifacts/no.html{training}"
    assert addresses.where("Report", run, "no.html") == report
    monkeypatch.setattr(addresses, "tracking_uri", lambda: "https://me:secret@host/mlflow")
    assert addresses.where("Run", run) == f"Run: https://host/mlflow{page}{training}"
    assert "(the rest is on https://host/mlflow): file:///" in addresses.where(
        "Report", run, "a page.html"
    )
