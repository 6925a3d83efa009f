"""A saved view as MLflow's UI keeps it: a private format, which no other module knows.

It is an experiment tag `mlflow.sharedViewState.<id>`: JSON with a name, times, and the state of the
experiment page (MLflow 3.15 and later; the tests open every view in a browser). The UI gives charts
no titles, so sections say how their charts are read, and groups of runs no colours, so charts show
single runs in their variant's.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlflow.entities import Run

VIEW_TAG = "mlflow.sharedViewState."
# Pixels; all digits of a learning rate are to be seen, since 1e-05 cut short reads as 1.
_WIDTHS = {"Run Name": 215, "seed": 60, "seeds": 65, "best_val_accuracy": 150}
_WIDTHS |= {"best_train_accuracy": 160}
_WIDTHS |= {"median_epoch_seconds": 175, "learning_rate": 120, "chosen_learning_rate": 165}
_WIDTHS |= {"alarm": 70, "found": 400, "verdict": 240}

ALL_OF = ("trial", "nightly")  # steps of which runs that failed are shown, too

Chart = dict[str, Any]


@dataclass(frozen=True)
class View:
    """One saved view."""

    id: str  # it stays, so that links stay valid
    name: str  # what the list of views calls it
    columns: Sequence[str]  # after the run's name, as `params.x`, `metrics.x` or `tags.x`
    sections: Mapping[str, Sequence[Chart]]  # charts by how they are read
    step: str = "train"  # the step whose runs it shows; but for `ALL_OF`, the finished ones
    alike: str = "data_fingerprint"  # the tag that they have in common with the run shown
    where: str = ""  # a further condition on them
    sorted_by: str = "test_accuracy"  # the metric that orders them, the best on top; "": newest
    grouped: bool = False  # whether the table has the means of every variant, its seeds below
    opens_on: str = "CHART"  # or TABLE
    curves_in_a_row: int = 2


def bars(*metrics: str) -> list[Chart]:
    """Per metric, a bar per run."""
    return [{"type": "BAR", "metricKey": metric} for metric in metrics]


def scatter(x_metric: str, y_metric: str) -> Chart:
    """A point per run."""
    x, y = ({"key": metric, "type": "METRIC"} for metric in (x_metric, y_metric))
    return {"type": "SCATTER", "xaxis": x, "yaxis": y}


def line(metric: str, x_metric: str = "", *, by_date: bool = False) -> Chart:
    """A curve per run, over its epochs, over another metric, or over when it was logged."""
    x_axis = "metric" if x_metric else "time" if by_date else "step"
    axes = {"xAxisKey": x_axis, "selectedXAxisMetricKey": x_metric}
    scales = {"yAxisKey": "metric", "scaleType": "linear", "xAxisScaleType": "linear", "range": {}}
    own = {"useGlobalXaxisKey": False, "lineSmoothness": 0, "useGlobalLineSmoothing": False}
    name = {"displayName": f"{metric} by {x_metric}"} if x_metric else {}
    metrics = {"metricKey": metric, "selectedMetricKeys": [metric], **name}
    return {"type": "LINE", **metrics, **axes, **scales, **own}


def state(view: View, shown: Run | None) -> dict[str, Any]:
    """The state of the experiment page that shows a view, for runs like a run or for all."""
    finished = "attributes.status = 'FINISHED'" if view.step not in ALL_OF else ""
    alike = f"tags.`{view.alike}` = '{shown.data.tags[view.alike]}'" if shown else ""
    conditions = filter(None, (f"tags.step = '{view.step}'", finished, view.where, alike))
    columns = [column.partition(".") for column in ("attributes.Run Name", *view.columns)]
    widths = {f"{kind}.`{key}`": _WIDTHS.get(key, 115) for kind, _, key in columns}
    keys = [{"mode": "param", "groupByData": "variant"}]
    return {
        "searchFilter": " and ".join(conditions),
        "orderByKey": f"metrics.`{view.sorted_by}`" if view.sorted_by else "attributes.start_time",
        "orderByAsc": view.sorted_by.endswith("loss"),
        "selectedColumns": list(widths)[1:],
        "columnOrder": list(widths),
        "columnWidths": widths,
        "runsHiddenMode": "SHOW_ALL",  # the UI's own default shows ten runs
        "groupBy": {"aggregateFunction": "average", "groupByKeys": keys} if view.grouped else None,
        "useGroupedValuesInCharts": False,
        "hideEmptyCharts": False,
        "isAccordionReordered": True,
        **_charts(view),
    }


def _charts(view: View) -> dict[str, list[dict[str, Any]]]:
    cards: list[dict[str, Any]] = []
    sections: list[dict[str, Any]] = []
    for place, (reading, charts) in enumerate(view.sections.items()):
        in_a_row = view.curves_in_a_row if charts[0]["type"] == "LINE" else 2
        uuid, size = f"{view.id}-{place}", {"columns": in_a_row, "cardHeight": 290}
        sections.append({"uuid": uuid, "name": reading, "display": True, **size})
        for number, chart in enumerate(charts):
            cards.append({"uuid": f"{uuid}-{number}", "metricSectionId": uuid, **chart})
    # The UI adds a chart for every other metric to this section; folded up, it is out of the way.
    sections.append({"uuid": f"{view.id}-rest", "name": "Model metrics", "display": False})
    for entry in (*cards, *sections):
        entry |= {"deleted": False, "isGenerated": False, "isReordered": True}
    return {"compareRunCharts": cards, "compareRunSections": sections}


def encode(name: str, state: Mapping[str, Any], *, created: int, updated: int) -> str:
    """A saved view as the value of its tag; the times are milliseconds since 1970."""
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
    times = {"createdAt": created, "updatedAt": updated}
    return json.dumps({"name": name, **times, "state": f"deflate;{packed}"})


def decode(value: str) -> tuple[str, dict[str, Any], int] | None:
    """Name, state and time of creation of a saved view; None if the value is none."""
    try:
        envelope = json.loads(value)
        text = envelope["state"]
        if text.startswith("deflate;"):
            text = zlib.decompress(base64.b64decode(text.removeprefix("deflate;"))).decode()
        return envelope["name"], json.loads(text), envelope["createdAt"]
    except (ValueError, KeyError, TypeError, AttributeError, zlib.error):
        return None


def digest(value: str) -> str:
    """A digest of what a tag says; of a view, without its times and compression."""
    found = decode(value)
    meaning = json.dumps(found[:2], sort_keys=True) if found else value
    return hashlib.sha256(meaning.encode()).hexdigest()[:16]
