import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

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
from pipeline.tracking.views import side_by_side

TITLE = "Which is better?"
FINGERPRINT = "25def9b31a99ea1de1762c3b9ac20338"
OTHER = "9b3a5c0000000000000000000000ffff"
Pair = tuple[str, str]


def finished(step: str, dataset: str = "stripes", fingerprint: str = FINGERPRINT, **more) -> Run:
    tags = {"step": step, "dataset": dataset, "data_fingerprint": fingerprint, **more}
    run_id = client.connect().create_run("0", tags=tags).info.run_id
    client.connect().set_terminated(run_id)
    return client.get_run(run_id)


def train(dataset: str = "stripes", fingerprint: str = FINGERPRINT) -> str:
    return finished("train", dataset, fingerprint).info.run_id


def compare(dataset: str = "stripes", fingerprint: str = FINGERPRINT, *pairs: Pair) -> Run:
    """A comparison of bn and selu that has logged their means."""
    comparison = finished("compare", dataset, fingerprint)
    for variant in ("bn", "selu"):
        of_it = {"mlflow.parentRunId": comparison.info.run_id, **side_by_side(variant, pairs)}
        finished(views.MEANS, dataset, fingerprint, variant=variant, **of_it)
    return comparison


def write_note(report: str, comparison: Run | None = None, pairs: Sequence[Pair] = ()) -> str:
    comparison = comparison or finished("compare")
    given = {"title": TITLE, "report": report, "command": "mlflow run ."}
    views.write_experiment_note("0", comparison, pairs, **given)
    return tags_of()["mlflow.note.content"]


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
        # Without a comparison that has logged means, its trainings are shown in their place.
        step = "trial" if name.startswith("Learning-rate search") else "train"
        assert f"tags.step = '{step}'" in state["searchFilter"]
        assert f"tags.`data_fingerprint` = '{FINGERPRINT}'" in state["searchFilter"]
        assert state["runsHiddenMode"] == "SHOW_ALL"
    assert list(urls) == [view.name for view in views.VIEWS]


def test_means_of_the_comparison_are_shown_where_there_are_any(store: Path) -> None:
    train()
    views.write_views("0")
    assert "tags.step = 'train'" in stored_views()["comparison-25def9b3"][1]["searchFilter"]
    older, newer = compare(), compare()
    for asked, expected in ((None, newer), (older, older)):
        views.write_views("0", asked)
        filters = {key: state["searchFilter"] for key, (_, state, _) in stored_views().items()}
        below = f"tags.`mlflow.parentRunId` = '{expected.info.run_id}'"
        assert filters["comparison-25def9b3"] == (
            f"tags.step = 'variant' and attributes.status = 'FINISHED' and {below}"
        )
        of_means = [key.removesuffix("-25def9b3") for key in filters if below in filters[key]]
        assert of_means == ["comparison", "leaderboard", "curves-by-epoch", "curves-by-seconds"]
        assert FINGERPRINT in filters["seeds-25def9b3"]


def test_views_are_of_a_comparison_its_runs_and_what_it_asks(store: Path) -> None:
    first, second, other = (client.get_run(train()) for _ in range(3))
    tags = views.of_comparison(["zero_weights"], [first, second])
    sparsity = finished("compare", comparison="sparsity", **tags)
    finished(views.MEANS, variant="bn", **{"mlflow.parentRunId": sparsity.info.run_id})
    habits = finished("compare", comparison="my habits", **views.of_comparison([], [other]))
    views.write_views("0", sparsity)
    urls = views.write_views("0", habits)
    stored = stored_views()
    name, state, _ = stored["seeds-sparsity-25def9b3"]
    assert name == "Seeds: sparsity on stripes"
    found = client.search_runs("0", state["searchFilter"])
    assert {run.info.run_id for run in found} == {first.info.run_id, second.info.run_id}
    assert "metrics.`zero_weights`" in state["selectedColumns"]
    asked = stored["comparison-sparsity-25def9b3"][1]
    assert "Asked about" in [one["name"] for one in asked["compareRunSections"]]
    assert "zero_weights" in [one.get("metricKey") for one in asked["compareRunCharts"]]
    name, state, _ = stored["seeds-my-habits-25def9b3"]
    assert name == "Seeds: my habits on stripes"
    assert [one.info.run_id for one in client.search_runs("0", state["searchFilter"])] == [
        other.info.run_id
    ]
    assert "metrics.`zero_weights`" not in state["selectedColumns"]
    assert "seeds-my-habits-25def9b3" in urls["Seeds"]
    trials = [(one, name) for one, (name, *_) in stored.items() if one.startswith("search")]
    assert trials == [("search-25def9b3", "Learning-rate search: stripes")]  # which they share


def test_a_pair_has_a_view_of_its_two_variants_alone(store: Path) -> None:
    comparison = compare("stripes", FINGERPRINT, ("bn", "selu"))
    odd = {"mlflow.parentRunId": comparison.info.run_id, **side_by_side("elu", [("bn", "elu")])}
    finished(views.MEANS, variant="elu", **odd)
    urls = views.write_views("0", comparison, [("bn", "selu")])
    assert list(urls)[-1] == "bn and selu"
    name, state, _ = stored_views()["bn-selu-25def9b3"]
    found = client.search_runs("0", state["searchFilter"])
    assert (name, {run.data.tags["variant"] for run in found}) == (
        "bn and selu: stripes",
        {"bn", "selu"},
    )


def test_writing_again_changes_nothing(store: Path) -> None:
    train()
    comparison = compare()
    views.write_views("0")
    write_note("elu wins", comparison)
    once = tags_of()
    views.write_views("0")
    write_note("elu wins", comparison)
    assert tags_of() == once
    assert len(once) == 2 * (len(views.VIEWS) + 1)


def test_our_own_view_is_updated(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train()
    with monkeypatch.context() as patch:
        patch.setattr(views, "VIEWS", (views.VIEWS[1],))
        patch.setattr(page_state, "_WIDTHS", {"seeds": 999})
        views.write_views("0")
    before = stored_views()["leaderboard-25def9b3"]
    views.write_views("0")
    after = stored_views()["leaderboard-25def9b3"]
    assert before[1]["columnWidths"]["params.`seeds`"] == 999
    assert after[1]["columnWidths"]["params.`seeds`"] == 65
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
    assert stored_views()["seeds-25def9b3"][1]["columnWidths"]["params.`seed`"] == 60


def test_writing_that_was_interrupted_is_made_good(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train()
    views.write_views("0")
    written = "mlflow.twenty_layers.written.mlflow.sharedViewState.seeds-25def9b3"
    digest = tags_of()[written]
    client.connect().delete_experiment_tag("0", written)
    views.write_views("0")
    assert tags_of()[written] == digest


def test_what_an_earlier_version_wrote_is_known_and_its_mark_no_longer_shown(store: Path) -> None:
    train()
    views.write_views("0")
    tag = "mlflow.sharedViewState.seeds-25def9b3"
    name, state, created = stored_views()["seeds-25def9b3"]
    before = page_state.encode(name, state | {"orderByAsc": True}, created=created, updated=2**41)
    client.connect().set_experiment_tag("0", tag, before)
    client.connect().delete_experiment_tag("0", f"mlflow.twenty_layers.written.{tag}")
    client.connect().set_experiment_tag(
        "0", f"twenty_layers.written.{tag}", page_state.digest(before)
    )
    views.write_views("0")
    assert stored_views()["seeds-25def9b3"][1] == state
    assert [one for one in tags_of() if not one.startswith("mlflow.")] == []


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


def test_the_pages_to_open_are_the_newest_report_and_the_newest_comparison(store: Path) -> None:
    here, training = "http://127.0.0.1:5000/#/experiments/0/runs", "?workflowType=machine_learning"
    assert views.pages_to_open() == {}
    client.connect().create_run("0", tags={"step": "prepare"})
    assert views.pages_to_open() == {"MLflow UI": f"{here}{training}"}
    shown = client.get_run(train())
    ours = views.view_urls("0", shown)["Comparison"]
    assert views.pages_to_open() == {"MLflow UI": ours}
    assert len(stored_views()) == len(views.VIEWS)
    report = f"{here}/{finished('compare').info.run_id}/artifacts/report.html{training}"
    assert list(views.pages_to_open().items()) == [("Report", report), ("MLflow UI", ours)]


# --- The note -----------------------------------------------------------------------------------


def test_the_notes_first_line_is_verdict_and_report_as_they_are_read_without_markdown(
    store: Path,
) -> None:
    comparison = compare("mnist_5k")
    report = "Better: **alpha_dropout** (than `elu`, +4.16 points). Faster: none.\n\n## Comparison"
    first, links, *_ = write_note(report, comparison, [("bn", "selu")]).split("\n\n")
    page, training = "#/experiments/0/runs", "workflowType=machine_learning"
    of_report = f"{page}/{comparison.info.run_id}/artifacts/report.html?{training}"
    urls = views.view_urls("0", comparison, [("bn", "selu")])
    of_views = {name: url[url.index("#") :] for name, url in urls.items()}
    assert first == (
        "Better: alpha_dropout (than elu, +4.16 points), on mnist_5k. "
        f"[Report]({of_report}) · [Comparison]({of_views.pop('Comparison')})"
    )
    assert links == " · ".join(f"[{name}]({url})" for name, url in of_views.items())
    assert links.endswith(f"&{training})")


def test_the_note_has_links_question_verdict_what_changed_and_command(store: Path) -> None:
    report = "Best model: **elu**. So it is.\n\nNothing has changed.\n\n## Comparison\n\na table\n"
    note = write_note(report)
    parts = ("[Leaderboard]", TITLE, "Best model: **elu**. So it is.\n\nNothing has changed.\n\n")
    positions = [note.index(text) for text in (*parts, "Run again: `mlflow run .`")]
    assert positions == sorted(positions)
    assert "a table" not in note  # opened, the UI cuts off a long one


def test_a_dataset_of_any_name_is_shown_as_it_is(store: Path) -> None:
    note = write_note("elu wins", finished("compare", "<b>_my_\ndigits</b>"))
    assert note.startswith("elu wins, on &lt;b&gt;\\_my\\_ digits&lt;/b&gt;. [Report](")


def test_our_own_note_is_updated_and_a_persons_stays(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for report in ("elu wins", "bn wins"):
        note = write_note(report)
    assert "bn wins" in note
    client.connect().set_experiment_tag("0", "mlflow.note.content", "Do not touch.")
    assert write_note("selu wins") == "Do not touch."
    assert "mlflow.note.content was edited in the UI" in capsys.readouterr().out


# --- In a browser -------------------------------------------------------------------------------


def saved(view: page_state.View, shown: Run) -> dict[str, Any]:
    """The state that a view was saved with."""
    return stored_views()[views._id(view, shown)][1]


def runs_of(view: page_state.View, shown: Run) -> list[Run]:
    """The runs that a view shows, by its own filter and order."""
    state = saved(view, shown)
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
    """The finished comparison, read through the server; its views are saved."""
    mlflow.set_tracking_uri(served)
    run = views._newest_comparison("0")
    assert run
    views.write_views("0")
    return run


@pytest.mark.browser
@pytest.mark.parametrize("view", views.VIEWS, ids=lambda view: view.id)
def test_a_view_shows_every_run_in_every_chart(
    page: Browser, shown: Run, view: page_state.View
) -> None:
    runs = runs_of(view, shown)
    assert len(runs) == {"trial": 6, "train": 2 if view.where else 4, "variant": 2}[view.step]
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
    trigger = page.page.get_by_test_id("saved-views-trigger")
    assert trigger.inner_text() == views._titled(view, shown)
    assert page.errors == []


@pytest.mark.parametrize("view", views.VIEWS, ids=lambda view: view.id)
def test_a_views_columns_are_of_its_runs(finished_store: Finished, view: page_state.View) -> None:
    shown = views._newest_comparison("0")
    assert shown
    views.write_views("0")
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
    names_shown = [row for row in rows if not row.startswith("Group")]
    best_first = [run.info.run_name for run in runs]
    assert sorted(names_shown) == sorted(best_first)
    assert view.grouped or names_shown == best_first
    assert {row for row in rows if row.startswith("Group")} == groups
    columns = saved(view, shown)["columnOrder"]
    in_sight = [column for column in page.columns() if column in columns]
    assert in_sight == columns[: len(in_sight)]
    assert len(in_sight) >= 8
    assert page.errors == []


@pytest.mark.browser
def test_from_the_first_page_the_note_leads_to_the_report(
    page: Browser, shown: Run, served: str
) -> None:
    page.open(served)
    row = page.page.get_by_role("row").filter(has_text="twenty-layers")
    row.wait_for()
    assert "on stripes. [Report](#/" in row.inner_text()
    assert not {"\\", "twenty_layers.written"} & set(row.inner_text().split())
    row.get_by_role("link").first.click()
    page.page.get_by_role("button", name="Got it").click()  # what MLflow shows a new reader first
    with page.page.context.expect_page() as opened_beside:
        page.page.get_by_role("link", name="Report", exact=True).first.click()
    report = opened_beside.value
    report.frame_locator("iframe").get_by_role("heading").first.wait_for()
    report.close()
    assert page.errors == []


@pytest.mark.browser
def test_the_means_of_two_variants_are_compared_by_test_accuracy(
    page: Browser, shown: Run, served: str
) -> None:
    means = [run.info.run_id for run in client.finished_runs(views.MEANS, "0")]
    ids = quote(json.dumps(means))
    page.open(f"{served}/#/compare-runs?runs={ids}&experiments={quote(json.dumps(['0']))}")
    chosen = page.page.locator(".js-plotly-plot .parcoords .axis-title")
    chosen.last.wait_for()
    assert chosen.all_text_contents()[-1] == "test_accuracy"
    assert page.errors == []


@pytest.mark.browser
def test_pictures_of_the_views_and_of_a_run_are_taken(
    page: Browser, shown: Run, served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = {"leaderboard": "Leaderboard"}  # every view is opened by the tests above
    monkeypatch.setattr("browser.PICTURES", pictures)
    directory = Path(os.environ.get("SCREENSHOTS", tmp_path))
    trained = views.newest_training_run(["0"])
    assert trained
    take_pictures(
        page,
        views.view_urls("0", shown),
        run_url=run_address(served, "0", trained.info.run_id),
        report_url=report_address(served, "0", shown.info.run_id),
        directory=directory,
    )
    names = {f"{name}.png" for name in (*pictures, "run", "report")}
    assert {path.name for path in directory.glob("*.png")} >= names
    assert min((directory / name).stat().st_size for name in names) > 30_000
    assert page.errors == []
