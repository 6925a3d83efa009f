import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from browser import (
    Browser,
    free_port,
    opened,
    report_address,
    run_address,
    take_pictures,
)
from conftest import Finished, copy_of
from mlflow.entities import Run

from pipeline.comparisons.twenty_layers import COMPARISON
from pipeline.tracking import client, page_state, views
from pipeline.tracking.server import server

TITLE = "Which is better?"
FINGERPRINT = "25def9b31a99ea1de1762c3b9ac20338"
OTHER = "9b3a5c0000000000000000000000ffff"


def train(dataset: str = "stripes", fingerprint: str = FINGERPRINT) -> str:
    tags = {"step": "train", "dataset": dataset, "data_fingerprint": fingerprint}
    run_id = client.connect().create_run("0", tags=tags).info.run_id
    client.connect().set_terminated(run_id)
    return run_id


def tags_of(experiment: str = "0") -> dict[str, str]:
    return client.connect().get_experiment(experiment).tags


def stored_views() -> dict[str, tuple[str, dict[str, Any], int]]:
    """What is stored, by the view's id, the latest first as in the UI's list."""
    values = {
        tag.removeprefix(page_state.VIEW_TAG): page_state.decode(value)
        for tag, value in tags_of().items()
        if tag.startswith(page_state.VIEW_TAG)
    }
    found = {key: value for key, value in values.items() if value}
    assert len(found) == len(values)
    return dict(sorted(found.items(), key=lambda item: -item[1][2]))


# --- The tags -----------------------------------------------------------------------------------


def test_the_views_come_in_order_and_say_what_data_they_show(store: Path) -> None:
    train()
    urls = views.write_views("0")
    found = stored_views()
    assert list(found) == [f"{view.id}-25def9b3" for view in views.VIEWS]
    assert [name for name, *_ in found.values()] == [f"{v.name}: stripes" for v in views.VIEWS]
    for name, state, _ in found.values():
        step = "trial" if name.startswith("Learning-rate search") else "train"
        assert f"tags.step = '{step}'" in state["searchFilter"]
        assert f"tags.data_fingerprint = '{FINGERPRINT}'" in state["searchFilter"]
        assert state["runsHiddenMode"] == "SHOW_ALL"
    assert list(urls) == [view.name for view in views.VIEWS]
    assert tags_of()["mlflow.experimentKind"] == "custom_model_development"


def test_writing_again_changes_nothing(store: Path) -> None:
    train()
    views.write_views("0")
    views.write_experiment_note("0", title=TITLE, report="elu wins", command="mlflow run .")
    once = tags_of()
    views.write_views("0")
    views.write_experiment_note("0", title=TITLE, report="elu wins", command="mlflow run .")
    assert tags_of() == once
    assert len(once) == 2 * (len(views.VIEWS) + 1) + 1


def test_our_own_view_is_updated(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train()
    with monkeypatch.context() as patch:
        patch.setattr(views, "VIEWS", (views.VIEWS[1],))
        patch.setattr(page_state, "_WIDTHS", {"seed": 999})
        views.write_views("0")
    before = stored_views()["leaderboard-25def9b3"]
    views.write_views("0")
    after = stored_views()["leaderboard-25def9b3"]
    assert before[1]["columnWidths"]["params.`seed`"] == 999
    assert after[1]["columnWidths"]["params.`seed`"] == 55
    assert after[2] == before[2]  # it keeps its place in the list


def test_a_view_that_a_person_edited_stays(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train()
    views.write_views("0")
    tag = "mlflow.sharedViewState.seeds-25def9b3"
    name, state, created = stored_views()["seeds-25def9b3"]
    edited = page_state.encode(name, state | {"orderByAsc": True}, created=created, updated=2**41)
    client.connect().set_experiment_tag("0", tag, edited)
    capsys.readouterr()
    views.write_views("0")
    assert tags_of()[tag] == edited
    assert capsys.readouterr().out == f"{tag} was edited in the UI: left as it is.\n"


@pytest.mark.parametrize("foreign", ["no view", '{"name": "Mine", "createdAt": 1, "state": "{}"}'])
def test_what_someone_else_stored_under_our_id_stays(store: Path, foreign: str) -> None:
    train()
    tag = "mlflow.sharedViewState.seeds-25def9b3"
    client.connect().set_experiment_tag("0", tag, foreign)
    views.write_views("0")
    assert tags_of()[tag] == foreign


def test_a_view_saved_in_the_ui_without_a_change_is_still_ours(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train()
    with monkeypatch.context() as patch:
        patch.setattr(page_state, "_WIDTHS", {"seed": 999})
        views.write_views("0")
    name, state, created = stored_views()["seeds-25def9b3"]
    saved = {"name": name, "createdAt": created, "updatedAt": 2**41, "state": json.dumps(state)}
    tag = "mlflow.sharedViewState.seeds-25def9b3"
    client.connect().set_experiment_tag("0", tag, json.dumps(saved))
    views.write_views("0")
    assert stored_views()["seeds-25def9b3"][1]["columnWidths"]["params.`seed`"] == 55


def test_writing_that_was_interrupted_is_made_good(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train()
    views.write_views("0")
    written = "twenty_layers.written.mlflow.sharedViewState.seeds-25def9b3"
    digest = tags_of()[written]
    client.connect().delete_experiment_tag("0", written)
    views.write_views("0")
    assert tags_of()[written] == digest


def test_every_data_set_has_views_of_its_own(store: Path) -> None:
    train()
    first = views.write_views("0")
    train("digits", OTHER)
    second = views.write_views("0")
    found = stored_views()
    assert len(found) == 2 * len(views.VIEWS)
    assert not set(first.values()) & set(second.values())
    assert found["seeds-9b3a5c00"][0] == "Seeds: digits"
    assert f"'{OTHER}'" in found["seeds-9b3a5c00"][1]["searchFilter"]
    assert f"'{FINGERPRINT}'" in found["seeds-25def9b3"][1]["searchFilter"]


def test_without_training_runs_the_views_show_all_data(store: Path) -> None:
    views.write_views("0")
    found = stored_views()
    assert list(found) == [view.id for view in views.VIEWS]
    assert "data_fingerprint" not in found["comparison"][1]["searchFilter"]


def test_a_kind_that_the_experiment_has_stays(store: Path) -> None:
    client.connect().set_experiment_tag("0", "mlflow.experimentKind", "regression")
    views.write_views("0")
    assert tags_of()["mlflow.experimentKind"] == "regression"


# --- Addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("sqlite:///mlflow.db", "http://127.0.0.1:5000"),
        ("http://mlflow.team:8080", "http://mlflow.team:8080"),
        ("https://me:secret@mlflow.team:8443/tracking/", "https://mlflow.team:8443/tracking"),
        ("https://me:se@cret@mlflow.team", "https://mlflow.team"),
    ],
)
def test_views_open_on_the_server_in_force_without_its_password(
    uri: str, server: str, store: Path
) -> None:
    mlflow.set_tracking_uri(uri)
    urls = views.view_urls("7", None)
    assert urls["Leaderboard"] == (
        f"{server}/#/experiments/7/runs?viewStateShareKey=leaderboard"
        "&compareRunsMode=TABLE&workflowType=machine_learning"
    )
    assert "compareRunsMode=CHART" in urls["Comparison"]


def test_the_address_to_open_is_that_of_the_newest_comparison(store: Path) -> None:
    assert views.address_to_open() == "http://127.0.0.1:5000"
    shown = client.get_run(train())
    assert views.address_to_open() == views.view_urls("0", shown)["Comparison"]
    assert len(stored_views()) == len(views.VIEWS)


# --- The note -----------------------------------------------------------------------------------


def test_the_note_has_question_verdict_links_and_command(store: Path) -> None:
    train("<b>_my_\ndigits</b>")
    urls = views.write_views("0")
    report = "Best model: **elu**.\n\n## Comparison\n\na table\n"
    views.write_experiment_note("0", title=TITLE, report=report, command="mlflow run .")
    note = tags_of()["mlflow.note.content"]
    parts = (TITLE, "## Comparison\n\na table", "## Views", "    mlflow run .")
    positions = [note.index(text) for text in parts]
    assert positions == sorted(positions)
    first_line = "On &lt;b&gt;\\_my\\_ digits&lt;/b&gt;: Best model: **elu**."
    assert note.startswith(f"{first_line}\n\n")
    assert all(f"- [{name}]({url})" in note for name, url in urls.items())


def test_our_own_note_is_updated_and_a_persons_stays(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train()
    for report in ("elu wins", "bn wins"):
        views.write_experiment_note("0", title=TITLE, report=report, command="mlflow run .")
    assert "bn wins" in tags_of()["mlflow.note.content"]
    client.connect().set_experiment_tag("0", "mlflow.note.content", "Do not touch.")
    views.write_experiment_note("0", title=TITLE, report="selu wins", command="mlflow run .")
    assert tags_of()["mlflow.note.content"] == "Do not touch."
    assert "mlflow.note.content was edited in the UI" in capsys.readouterr().out


def test_a_report_too_long_for_a_note_is_cut_at_a_line(store: Path) -> None:
    train()
    line = "| elu | 46.8% |"
    report = "Best model: **bn**.\n\n" + 5000 * f"{line}\n"
    views.write_experiment_note("0", title=TITLE, report=report, command="mlflow run .")
    note = tags_of()["mlflow.note.content"]
    assert 19_900 < len(note) <= 20_000
    assert {text for text in note.splitlines() if "elu" in text} == {line}
    assert note.endswith("    mlflow run .\n")


# --- In a browser -------------------------------------------------------------------------------


def runs_of(view: page_state.View, shown: Run) -> list[Run]:
    """The runs that a view shows, by its own filter and order."""
    state = page_state.state(view, shown)
    order = f"{state['orderByKey']} {'ASC' if state['orderByAsc'] else 'DESC'}"
    return list(client.connect().search_runs(["0"], state["searchFilter"], order_by=[order]))


def metrics_of(chart: page_state.Chart) -> set[str]:
    """The metrics that a run needs to be in a chart."""
    axes = [chart[axis]["key"] for axis in ("xaxis", "yaxis") if axis in chart]
    return {*axes, chart.get("metricKey"), chart.get("selectedXAxisMetricKey")} - {None, ""}


def charts_of(view: page_state.View) -> list[page_state.Chart]:
    return [chart for charts in view.sections.values() for chart in charts]


@pytest.fixture(scope="module")
def served(finished_original: Finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a lean server on the finished comparison."""
    copy = copy_of(finished_original, tmp_path_factory.mktemp("served") / "finished")
    database = f"sqlite:///{copy.directory}/mlflow.db"
    with server(host="127.0.0.1", port=free_port(), store=database) as (_, address):
        yield address


@pytest.fixture(scope="module")
def page() -> Iterator[Browser]:
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    with opened() as browser:
        yield browser


@pytest.fixture
def shown(finished_store: Finished, served: str) -> Run:
    """A training run of the finished comparison, read through the server; its views are saved."""
    mlflow.set_tracking_uri(served)
    run = views.newest_training_run(["0"])
    assert run
    views.write_views("0")
    return run


@pytest.mark.browser
@pytest.mark.parametrize("view", views.VIEWS, ids=lambda view: view.id)
def test_a_view_shows_every_run_in_every_chart(
    page: Browser, shown: Run, view: page_state.View
) -> None:
    runs = runs_of(view, shown)
    assert len(runs) == {"trial": 6, "train": 2 if view.where else 4}[view.step]
    expected = [
        sum(metrics_of(chart) <= run.data.metrics.keys() for run in runs)
        for chart in charts_of(view)
    ]
    assert min(expected) > 0
    url = views.view_urls("0", shown)[view.name].replace("TABLE", "CHART")
    page.open_view(url, runs=len(runs), height=2000)  # what is out of sight is not drawn
    charts = page.charts(expected)
    assert [chart["runs"] for chart in charts] == expected
    assert [chart["kind"] for chart in charts] == [chart["type"] for chart in charts_of(view)]
    color_of = {variant.name: variant.color for variant in COMPARISON.variants}
    colors = sorted({color_of[run.data.params["variant"]] for run in runs})
    assert [chart["colors"] for chart in charts] == len(charts) * [colors]
    assert page.page.get_by_test_id("saved-views-trigger").inner_text() == (
        f"{view.name}: {shown.data.tags['dataset']}"
    )
    assert page.errors == []


@pytest.mark.parametrize("view", views.VIEWS, ids=lambda view: view.id)
def test_a_views_columns_are_of_its_runs(finished_store: Finished, view: page_state.View) -> None:
    shown = views.newest_training_run(["0"])
    assert shown
    logged = [run.data for run in runs_of(view, shown)]
    names = {
        f"{kind}.{name}"
        for data in logged
        for kind in ("params", "metrics", "tags")
        for name in getattr(data, kind)
    }
    assert names >= {*view.columns, f"metrics.{view.sorted_by}"}


@pytest.mark.browser
@pytest.mark.parametrize(
    "view",
    [view for view in views.VIEWS if view.opens_on == "TABLE"],
    ids=lambda view: view.id,
)
def test_a_table_has_every_run_best_first(page: Browser, shown: Run, view: page_state.View) -> None:
    runs = runs_of(view, shown)
    page.open_view(views.view_urls("0", shown)[view.name], runs=len(runs))
    groups = {"Group: elu", "Group: alpha_dropout"} if view.grouped else set()
    rows = page.rows(len(runs) + len(groups))
    names_shown = [row for row in rows if row.startswith("train")]
    best_first = [run.info.run_name for run in runs]
    assert sorted(names_shown) == sorted(best_first)
    assert view.grouped or names_shown == best_first
    assert {row for row in rows if not row.startswith("train")} == groups
    columns = page_state.state(view, shown)["columnOrder"]
    in_sight = [column for column in page.columns() if column in columns]
    assert in_sight == columns[: len(in_sight)]
    assert len(in_sight) >= 8
    assert page.errors == []


@pytest.mark.browser
def test_pictures_of_the_views_and_of_a_run_are_taken(
    page: Browser, shown: Run, served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = {"leaderboard": "Leaderboard"}  # every view is opened by the tests above
    monkeypatch.setattr("browser.PICTURES", pictures)
    directory = Path(os.environ.get("SCREENSHOTS", tmp_path))
    (compared,) = client.finished_runs("compare", "0")
    take_pictures(
        page,
        views.view_urls("0", shown),
        run_url=run_address(served, "0", shown.info.run_id),
        report_url=report_address(served, "0", compared.info.run_id),
        directory=directory,
    )
    names = {f"{name}.png" for name in (*pictures, "run", "report")}
    assert {path.name for path in directory.glob("*.png")} >= names
    assert min((directory / name).stat().st_size for name in names) > 30_000
    assert page.errors == []
