"""The saved views of nights, in their tags and in a browser."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from browser import Browser, free_port, opened

from pipeline.tracking import client, night_views, page_state
from pipeline.tracking.names import hidden
from pipeline.tracking.runs import StepRun, end_run
from pipeline.tracking.server import server

HOUR = 3600
COLORS = {"elu": "#0072B2", "bn": "#D55E00"}
OF = {"comparison": "it's mine", "dataset": "stripes", **hidden({"nights": "12345678"})}


def nights(of: dict[str, str] = OF) -> client.Run:
    """Three nights, of which the second failed, and the figures of two variants; the last night."""
    began = time.time() - 72 * HOUR
    runs = []
    for place, status in enumerate(("FINISHED", "FAILED", "FINISHED")):
        found = {
            "alarm": "yes",
            "found": "bn is worse.",
            "replay": "equal",
            "verdict": "Better: bn",
        }
        tags = {"step": night_views.NIGHTLY, **of, **(found if status == "FINISHED" else {})}
        at = int(1000 * (began + place * 24 * HOUR))
        runs.append(client.connect().create_run("0", at, tags, f"night {place + 1}").info.run_id)
        end_run(runs[-1], status)
    metrics = {name.partition(".")[2] for name in night_views.VIEWS[0].columns if "metrics" in name}
    for variant, color in COLORS.items():
        tags = {"step": night_views.TREND, "mlflow.runColor": color, **of}
        created = client.connect().create_run("0", tags=tags, run_name=variant)
        run = StepRun(created.info.run_id, "0")
        run.log_parameters({"variant": variant})
        for number in (1, 3):
            points = dict.fromkeys({*metrics, "val_accuracy"}, number / 10)
            run.log_metrics(points, epoch=number, at=began + number * 24 * HOUR)
        end_run(run.run_id, "FINISHED")
    return client.get_run(runs[-1])


def stored() -> dict[str, str]:
    """What is saved, by the views' ids."""
    tags, of_view = client.connect().get_experiment("0").tags, page_state.VIEW_TAG
    return {
        tag.removeprefix(of_view): value for tag, value in tags.items() if tag.startswith(of_view)
    }


def test_every_comparison_has_views_of_its_own_that_say_what_they_are_of(store: Path) -> None:
    other = {"comparison": "other", "dataset": "stripes", **hidden({"nights": "abcdef01"})}
    urls = [url for of in (OF, other) for url in night_views.write_night_views(nights(of)).values()]
    found = {view: page_state.decode(value) for view, value in stored().items()}
    assert {view: of[0] for view, of in found.items() if of} == {
        "nights-12345678": "Nights: it's mine on stripes",
        "every-night-12345678": "Every night: it's mine on stripes",
        "nights-abcdef01": "Nights: other on stripes",
        "every-night-abcdef01": "Every night: other on stripes",
    }
    assert len({*urls}) == 4
    created = [
        (found[view] or ("", {}, 0))[2] for view in ("nights-12345678", "every-night-12345678")
    ]
    assert created[0] > created[1]  # the latest is listed first
    for view, count in {"nights-12345678": 2, "every-night-12345678": 3}.items():
        _, state, _ = found[view] or ("", {}, 0)
        newest_first = state["orderByKey"] == "attributes.start_time"
        assert (newest_first, state["orderByAsc"]) == (view.startswith("every"), False)
        runs = client.search_runs("0", state["searchFilter"])
        assert len(runs) == count
        assert {run.data.tags["comparison"] for run in runs} == {"it's mine"}


def test_a_view_that_a_person_edited_stays(store: Path) -> None:
    night = nights()
    night_views.write_night_views(night)
    tag = f"{page_state.VIEW_TAG}nights-12345678"
    edited = page_state.encode("Mine", {"searchFilter": ""}, created=1, updated=2)
    client.connect().set_experiment_tag("0", tag, edited)
    assert list(night_views.write_night_views(night)) == ["Nights", "Every night"]
    assert stored()["nights-12345678"] == edited


@pytest.fixture
def page(store: Path) -> Iterator[Browser]:
    """A browser, on a server on three nights; the process reads them through it."""
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if shutil.which("chromium") is None:
        pytest.skip("chromium is not installed")
    database = f"sqlite:///{store}/mlflow.db"
    serving = server(host="127.0.0.1", port=free_port(), store=database)
    with serving as (_, address), opened() as browser:
        mlflow.set_tracking_uri(address)
        yield browser


@pytest.mark.browser
@pytest.mark.slow
def test_charts_have_a_line_for_every_variant_and_the_table_every_night_newest_first(
    page: Browser,
) -> None:
    charts, table = night_views.write_night_views(nights()).values()
    page.open_view(charts, runs=2, height=2600)  # what is out of sight is not drawn
    drawn = page.charts([2] * 6)
    assert [(chart["kind"], chart["runs"]) for chart in drawn] == [("LINE", 2)] * 6
    assert [chart["colors"] for chart in drawn] == [sorted(COLORS.values())] * 6
    assert page.page.locator(".js-plotly-plot .xtitle").first.text_content() == "Time"
    assert page.errors == []
    page.open_view(table, runs=3)
    assert page.rows(3) == ["night 3", "night 2", "night 1"]
    assert [one for one in page.columns() if one.startswith("tags")] == [
        f"tags.`{name}`" for name in ("alarm", "found", "replay", "verdict")
    ]
    assert page.columns()[-1] == "duration"
    assert page.errors == []
