"""What the MLflow UI opens on: saved views of the experiment, its note, and their addresses.

A saved view is an experiment tag `mlflow.sharedViewState.<id>`: JSON with a name, times, and the
state of the experiment page as the UI itself keeps it (MLflow 3.15 and later; the tests open every
view of the pinned version in a browser). The UI gives charts no titles, so sections say how their
charts are read, and groups of runs no colours, so charts show single runs in their variant's.
"""

import base64
import hashlib
import html
import json
import re
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from mlflow.entities import Run

from pipeline.base import progress
from pipeline.tracking import client

VIEW_TAG = "mlflow.sharedViewState."
NOTE_TAG = "mlflow.note.content"
WRITTEN_TAG = "twenty_layers.written."  # digests of what was last written here, by view or note
KIND_TAG = "mlflow.experimentKind"
NOTE_LENGTH = 20_000  # MLflow refuses longer tags of an experiment
SERVER = "http://127.0.0.1:5000"  # where `make ui` answers
QUESTION = (
    "Which architecture makes a deep dense network (20 hidden layers of 100 units) better, which "
    "converges faster, and which trains faster?"
)

Chart = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class View:
    """One saved view.

    Args:
        id: its id; it stays, so that links stay valid.
        name: what the list of views calls it.
        step: the step whose runs it shows; of `train`, the finished ones.
        where: a further condition on them.
        sorted_by: the metric that orders the runs.
        ascending: whether the lowest comes first.
        columns: the table's, after the run's name, as ``params.x``, ``metrics.x`` or ``tags.x``.
        sections: the charts, two in a row, by how they are read.
        grouped: whether the table has the means of every variant, with its seeds below.
        opens_on: ``TABLE`` or ``CHART``.
    """

    id: str
    name: str
    step: str = "train"
    where: str = ""
    sorted_by: str = "judged_val_accuracy"
    ascending: bool = False
    columns: Sequence[str]
    sections: Mapping[str, Sequence[Chart]]
    grouped: bool = False
    opens_on: str = "CHART"


def _bar(metric: str) -> Chart:
    return {"type": "BAR", "metricKey": metric}


def _scatter(x_metric: str, y_metric: str) -> Chart:
    x, y = ({"key": metric, "type": "METRIC"} for metric in (x_metric, y_metric))
    return {"type": "SCATTER", "xaxis": x, "yaxis": y}


def _line(metric: str, x_metric: str = "") -> Chart:
    """A curve per run, over its epochs or over another metric."""
    return {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "xAxisKey": "metric" if x_metric else "step",
        "selectedXAxisMetricKey": x_metric,
        "useGlobalXaxisKey": False,
        "lineSmoothness": 0,
        "useGlobalLineSmoothing": False,
        "yAxisKey": "metric",
        "scaleType": "linear",
        "xAxisScaleType": "linear",
        "range": {},
    }


def _curves(x_metric: str = "") -> dict[str, list[Chart]]:
    return {
        "Validation: steeper converges faster": [
            _line("val_accuracy", x_metric),
            _line("val_loss", x_metric),
        ],
        "Training": [_line("accuracy", x_metric), _line("loss", x_metric)],
    }


_RESULTS = (
    *("params.variant", "params.seed", "params.chosen_learning_rate"),
    *("metrics.judged_val_accuracy", "metrics.test_accuracy", "metrics.mc_accuracy"),
    *("metrics.median_epoch_seconds", "metrics.judged_epoch", "metrics.train_seconds"),
)
_TRIALS = (
    *("tags.variant", "tags.trial_state", "params.learning_rate"),
    *("metrics.judged_val_loss", "metrics.judged_epoch"),
)
_UNCERTAINTY = (
    *("params.variant", "params.seed", "metrics.test_accuracy", "metrics.mc_accuracy"),
    *("metrics.mc_gain", "metrics.test_nll", "metrics.mc_nll", "metrics.test_ece"),
    "metrics.mc_ece",
)
# Pixels; the full digits of a learning rate, since 1e-05 cut short reads as 1.
_WIDTHS = {
    "Run Name": 205,
    "variant": 115,
    "seed": 55,
    "learning_rate": 190,
    "chosen_learning_rate": 190,
    "judged_val_accuracy": 150,
    "median_epoch_seconds": 170,
}

VIEWS = (
    View(
        id="comparison",
        name="Comparison",
        columns=_RESULTS,
        sections={
            "Higher is better, further left is faster": [
                _scatter("median_epoch_seconds", "judged_val_accuracy"),
                _bar("median_epoch_seconds"),
            ],
            "The loss that falls first converges fastest": [
                _line("val_loss"),
                _line("val_loss", "elapsed_seconds"),
            ],
        },
    ),
    View(
        id="leaderboard",
        name="Leaderboard",
        columns=_RESULTS,
        sections={
            "Accuracy": [_bar("judged_val_accuracy"), _bar("test_accuracy")],
            "Time": [_bar("median_epoch_seconds"), _bar("train_seconds")],
        },
        opens_on="TABLE",
    ),
    View(
        id="curves-by-epoch",
        name="Learning curves by epoch",
        columns=_RESULTS,
        sections=_curves(),
    ),
    View(
        id="curves-by-seconds",
        name="Learning curves by seconds",
        columns=_RESULTS,
        sections=_curves("elapsed_seconds"),
    ),
    View(
        id="search",
        name="Learning-rate search",
        step="trial",
        sorted_by="judged_val_loss",
        ascending=True,
        columns=_TRIALS,
        sections={
            "Lower is better; curves that stop were pruned": [
                _scatter("log10_learning_rate", "judged_val_loss"),
                _line("val_loss"),
            ]
        },
    ),
    View(
        id="seeds",
        name="Seeds",
        columns=_RESULTS,
        sections={
            "How far the seeds of a variant lie apart": [
                _bar("judged_val_accuracy"),
                _bar("test_accuracy"),
                _scatter("judged_val_accuracy", "test_accuracy"),
                _line("val_accuracy"),
            ]
        },
        grouped=True,
        opens_on="TABLE",
    ),
    View(
        id="uncertainty",
        name="Uncertainty",
        where="metrics.mc_accuracy >= 0",  # the variants that have dropout
        sorted_by="mc_accuracy",
        columns=_UNCERTAINTY,
        sections={
            "With MC Dropout: higher is better": [_bar("mc_accuracy"), _bar("mc_gain")],
            "Calibration error with, without: lower is better": [_bar("mc_ece"), _bar("test_ece")],
            "Log-likelihood, negative: lower is better": [_bar("mc_nll"), _bar("test_nll")],
        },
    ),
)


def write_views(experiment: str) -> dict[str, str]:
    """Save the views of the experiment's newest data; one that a person has edited stays.

    Args:
        experiment: the experiment's id.

    Returns:
        The views' addresses by name, the one to open first at the front.
    """
    shown = newest_training_run([experiment])
    connection = client.connect()
    tags = connection.get_experiment(experiment).tags
    if KIND_TAG not in tags:  # without it, the UI offers its pages for GenAI
        connection.set_experiment_tag(experiment, KIND_TAG, "custom_model_development")
    now = int(time.time() * 1000)
    for place, view in enumerate(VIEWS):
        tag = VIEW_TAG + _id(view, shown)
        found = decode(tags.get(tag, ""))
        # The UI lists the latest first, so ours come in this order.
        times = {"created": found[2] if found else now - place, "updated": now}
        value = encode(_name(view, shown), page_state(view, shown), **times)
        _write(experiment, tags, tag, value)
    return view_urls(experiment, shown)


def write_experiment_note(experiment: str, *, report: str, command: str) -> None:
    """Set the experiment's note: verdict, question, links and command; a person's own stays.

    The UI shows the first line alone until the note is opened.

    Args:
        experiment: the experiment's id.
        report: the comparison, as Markdown; its first paragraph is the verdict.
        command: what makes this comparison again, in one line.
    """
    shown = newest_training_run([experiment])
    links = [f"- [{name}]({url})" for name, url in view_urls(experiment, shown).items()]
    data = f"On {escape_markdown(shown.data.tags['dataset'])}: " if shown else ""
    ending = "\n".join(["## Views", "", *links, "", "## Make it again", "", f"    {command}"])
    room = NOTE_LENGTH - len(QUESTION + data + ending) - 10
    verdict, _, rest = beginning(report, room).strip().partition("\n\n")
    note = f"{data}{verdict}\n\n{QUESTION}\n\n{rest}\n\n{ending}\n"
    _write(experiment, client.connect().get_experiment(experiment).tags, NOTE_TAG, note)


def beginning(text: str, length: int) -> str:
    """As many whole lines of a text as fit into a number of characters."""
    return text if len(text) <= length else text[:length].rpartition("\n")[0]


def _write(experiment: str, tags: Mapping[str, str], tag: str, value: str) -> None:
    """Set a tag of the experiment, unless it says that already or a person has changed it."""
    written, digest = WRITTEN_TAG + tag, _digest(value)
    stored = _digest(tags[tag]) if tag in tags else None
    if stored not in (None, digest, tags.get(written)):
        progress.update(message=f"{tag} was edited in the UI: left as it is.")
        return
    connection = client.connect()
    if stored != digest:
        connection.set_experiment_tag(experiment, tag, value)
    if tags.get(written) != digest:  # last: interrupted in between, both are written next time
        connection.set_experiment_tag(experiment, written, digest)


def _digest(value: str) -> str:
    """A digest of what a tag says; of a view, without its times and compression."""
    found = decode(value)
    meaning = json.dumps(found[:2], sort_keys=True) if found else value
    return hashlib.sha256(meaning.encode()).hexdigest()[:16]


def newest_training_run(experiments: Sequence[str]) -> Run | None:
    """The newest finished training run of some experiments, whose data the views show."""
    query = "tags.step = 'train' and attributes.status = 'FINISHED'"
    order = ["attributes.start_time DESC"]
    found = client.connect().search_runs(list(experiments), query, order_by=order, max_results=1)
    return found[0] if found else None


def view_urls(experiment: str, shown: Run | None) -> dict[str, str]:
    """The addresses of the views by name.

    Args:
        experiment: the experiment's id.
        shown: a training run on the data that the views show.
    """
    page = f"{server()}/#/experiments/{experiment}/runs"
    urls = {}
    for view in VIEWS:
        query = {
            "viewStateShareKey": _id(view, shown),
            "compareRunsMode": view.opens_on,
            "workflowType": "machine_learning",
        }
        urls[view.name] = f"{page}?{urlencode(query)}"
    return urls


def comparison_url(experiment: str) -> str:
    """The address of the view to open first."""
    return view_urls(experiment, newest_training_run([experiment]))[VIEWS[0].name]


def announce(urls: Mapping[str, str]) -> None:
    """Print the addresses of the views."""
    where = "Open after `make ui`" if server() == SERVER else "Open"
    progress.update(message=f"{where}:")
    for name, url in urls.items():
        progress.update(message=f"  {name}: {url}")


def server() -> str:
    """The address of the MLflow UI, without the credentials of a tracking server's."""
    uri = client.tracking_uri()
    if not re.match("https?://", uri):
        return SERVER
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def escape_markdown(text: str) -> str:
    """Text that Markdown and HTML show as it is, in one line."""
    line = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]()#+.!|~-])", r"\\\1", line)


def _name(view: View, shown: Run | None) -> str:
    return f"{view.name}: {shown.data.tags['dataset']}" if shown else view.name


def _id(view: View, shown: Run | None) -> str:
    # Runs on different data are never compared: every data set has its own views.
    return f"{view.id}-{shown.data.tags['data_fingerprint'][:8]}" if shown else view.id


def _canonical(column: str) -> str:
    """A column as the UI names it."""
    kind, _, key = column.partition(".")
    return f"{kind}.`{key}`"


def page_state(view: View, shown: Run | None) -> dict[str, Any]:
    """The state of the experiment page, as the UI keeps it.

    Args:
        view: what the page shows.
        shown: a training run on the data that it shows; None: all data.
    """
    finished = "attributes.status = 'FINISHED'" if view.step == "train" else ""
    data = f"tags.data_fingerprint = '{shown.data.tags['data_fingerprint']}'" if shown else ""
    conditions = filter(None, (f"tags.step = '{view.step}'", finished, view.where, data))
    columns = ["attributes.Run Name", *view.columns]
    by_variant = {
        "aggregateFunction": "average",
        "groupByKeys": [{"mode": "param", "groupByData": "variant"}],
    }
    return {
        "searchFilter": " and ".join(conditions),
        "orderByKey": _canonical(f"metrics.{view.sorted_by}"),
        "orderByAsc": view.ascending,
        "selectedColumns": [_canonical(column) for column in view.columns],
        "columnOrder": [_canonical(column) for column in columns],
        "columnWidths": {
            _canonical(column): _WIDTHS.get(column.partition(".")[2], 115) for column in columns
        },
        "runsHiddenMode": "SHOW_ALL",  # the UI's own default shows ten runs
        "groupBy": by_variant if view.grouped else None,
        "useGroupedValuesInCharts": False,
        "hideEmptyCharts": False,
        "isAccordionReordered": True,
        **_charts(view),
    }


def _charts(view: View) -> dict[str, list[dict[str, Any]]]:
    cards: list[dict[str, Any]] = []
    sections: list[dict[str, Any]] = []
    for place, (reading, charts) in enumerate(view.sections.items()):
        uuid = f"{view.id}-{place}"
        sections.append(
            {"uuid": uuid, "name": reading, "display": True, "columns": 2, "cardHeight": 290}
        )
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


def address_to_open() -> str:
    """The comparison of the newest training run, its views saved; else the server's first page."""
    experiments = client.connect().search_experiments()
    shown = newest_training_run([experiment.experiment_id for experiment in experiments])
    if not shown:
        return server()
    return write_views(shown.info.experiment_id)[VIEWS[0].name]


if __name__ == "__main__":  # for `pipeline.ui`, in a process that ends and gives its memory back
    print(address_to_open())
