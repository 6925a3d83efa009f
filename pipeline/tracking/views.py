"""What the MLflow UI opens on: saved views of the experiment, its note, and their addresses."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from mlflow.entities import Run

from pipeline.base import InputError, environment, markdown, progress
from pipeline.tracking import client, page_state
from pipeline.tracking.addresses import server_address
from pipeline.tracking.page_state import View, bars, line, scatter

WRITTEN_TAG = "twenty_layers.written."  # digests of what was last written here, by view or note
KIND_TAG = "mlflow.experimentKind"
EXPERIMENT_NOTE_LENGTH = 20_000  # MLflow refuses longer tags of an experiment

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
_ACCURACIES = bars("judged_val_accuracy", "test_accuracy")
_LOSSES = [line("val_loss"), line("val_loss", "elapsed_seconds")]
_SPEED = scatter("median_epoch_seconds", "judged_val_accuracy")
_RATES = scatter("log10_learning_rate", "judged_val_loss")
_SEEDS = scatter("judged_val_accuracy", "test_accuracy")


def _curves(over: str, x_metric: str = "") -> View:
    sections = {
        "Validation: steeper converges faster": ("val_accuracy", "val_loss"),
        "Training": ("accuracy", "loss"),
    }
    charts = {how: [line(one, x_metric) for one in metrics] for how, metrics in sections.items()}
    return View(f"curves-by-{over}", f"Learning curves by {over}", _RESULTS, charts)


VIEWS = (
    View(
        "comparison",
        "Comparison",
        _RESULTS,
        {
            "Higher is better, further left is faster": [_SPEED, *bars("median_epoch_seconds")],
            "The loss that falls first converges fastest": _LOSSES,
        },
    ),
    View(
        "leaderboard",
        "Leaderboard",
        _RESULTS,
        {"Accuracy": _ACCURACIES, "Time": bars("median_epoch_seconds", "train_seconds")},
        opens_on="TABLE",
    ),
    _curves("epoch"),
    _curves("seconds", "elapsed_seconds"),
    View(
        "search",
        "Learning-rate search",
        _TRIALS,
        {"Lower is better; curves that stop were pruned": [_RATES, line("val_loss")]},
        step="trial",
        sorted_by="judged_val_loss",
    ),
    View(
        "seeds",
        "Seeds",
        _RESULTS,
        {"How far the seeds of a variant lie apart": [*_ACCURACIES, _SEEDS, line("val_accuracy")]},
        grouped=True,
        opens_on="TABLE",
    ),
    View(
        "uncertainty",
        "Uncertainty",
        _UNCERTAINTY,
        {
            "With MC Dropout: higher is better": bars("mc_accuracy", "mc_gain"),
            "Calibration error with, without: lower is better": bars("mc_ece", "test_ece"),
            "Log-likelihood, negative: lower is better": bars("mc_nll", "test_nll"),
        },
        where="metrics.mc_accuracy >= 0",  # the variants that have dropout
        sorted_by="mc_accuracy",
    ),
)


@contextmanager
def _said_where_not_allowed(what: str) -> Iterator[None]:
    """Go on where a person may not change the experiment, which fails no comparison."""
    try:
        yield
    except InputError as refused:
        progress.update(message=f"{what} not written: {refused}")


def write_views(experiment: str) -> dict[str, str]:
    """Save the views of an experiment's newest data, but none that a person edited; `view_urls`."""
    shown = newest_training_run([experiment])
    with _said_where_not_allowed("The views of the experiment were"):
        _save_views(experiment, shown)
    return view_urls(experiment, shown)


def _save_views(experiment: str, shown: Run | None) -> None:
    tags = client.connect().get_experiment(experiment).tags
    if KIND_TAG not in tags:  # without it, the UI offers its pages for GenAI
        client.connect().set_experiment_tag(experiment, KIND_TAG, "custom_model_development")
    now = int(time.time() * 1000)
    for place, view in enumerate(VIEWS):
        name = f"{view.name}: {shown.data.tags['dataset']}" if shown else view.name
        tag = page_state.VIEW_TAG + _id(view, shown)
        found = page_state.decode(tags.get(tag, ""))
        # The UI lists the latest first, so ours come in this order.
        created, state = found[2] if found else now - place, page_state.state(view, shown)
        value = page_state.encode(name, state, created=created, updated=now)
        _write(experiment, tags, tag, value)


def write_experiment_note(experiment: str, *, title: str, report: str, command: str) -> None:
    """Set an experiment's note: verdict, question, links and command; a person's own stays.

    The title is the question, the first paragraph of the report, which is Markdown, the verdict:
    the UI shows the first line alone until the note is opened.
    """
    shown = newest_training_run([experiment])
    links = [f"- [{name}]({url})" for name, url in view_urls(experiment, shown).items()]
    data = f"On {markdown.escaped(shown.data.tags['dataset'])}: " if shown else ""
    ending = "\n".join(["## Views", "", *links, "", "## Make it again", "", f"    {command}"])
    room = EXPERIMENT_NOTE_LENGTH - len(title + data + ending) - 10
    verdict, _, rest = beginning(report, room).strip().partition("\n\n")
    note = f"{data}{verdict}\n\n{title}\n\n{rest}\n\n{ending}\n"
    tags = client.connect().get_experiment(experiment).tags
    with _said_where_not_allowed("The experiment's note was"):
        _write(experiment, tags, "mlflow.note.content", note)


def beginning(text: str, length: int) -> str:
    """As many whole lines of a text as fit into a number of characters."""
    return text if len(text) <= length else text[:length].rpartition("\n")[0]


def _write(experiment: str, tags: Mapping[str, str], tag: str, value: str) -> None:
    """Set a tag of the experiment, unless it says that already or a person has changed it."""
    written, digest = WRITTEN_TAG + tag, page_state.digest(value)
    stored = page_state.digest(tags[tag]) if tag in tags else None
    if stored not in (None, digest, tags.get(written)):
        progress.update(message=f"{tag} was edited in the UI: left as it is.")
        return
    if stored != digest:
        client.connect().set_experiment_tag(experiment, tag, value)
    if tags.get(written) != digest:  # last: interrupted in between, both are written next time
        client.connect().set_experiment_tag(experiment, written, digest)


def newest_training_run(experiments: Sequence[str]) -> Run | None:
    """The newest finished training run of some experiments, whose data the views show."""
    query = "tags.step = 'train' and attributes.status = 'FINISHED'"
    order = ["attributes.start_time DESC"]
    found = client.connect().search_runs(list(experiments), query, order_by=order, max_results=1)
    return found[0] if found else None


def view_urls(experiment: str, shown: Run | None) -> dict[str, str]:
    """The addresses of the views by name, for the data of a training run or for all."""
    page = f"{server_address()}/#/experiments/{experiment}/runs"
    query = "viewStateShareKey={}&compareRunsMode={}&workflowType=machine_learning"
    return {view.name: f"{page}?{query.format(_id(view, shown), view.opens_on)}" for view in VIEWS}


def _id(view: View, shown: Run | None) -> str:
    # Runs on different data are never compared: every data set has its own views.
    return f"{view.id}-{shown.data.tags['data_fingerprint'][:8]}" if shown else view.id


def address_to_open() -> str:
    """The comparison of the newest training run, its views saved; else the server's first page."""
    experiments = client.connect().search_experiments()
    shown = newest_training_run([experiment.experiment_id for experiment in experiments])
    return write_views(shown.info.experiment_id)[VIEWS[0].name] if shown else server_address()


if __name__ == "__main__":  # for `pipeline.ui`, in a process that ends and gives its memory back
    environment.configure()
    try:
        print(address_to_open())
    except InputError as refused:
        print(refused, file=sys.stderr)
        sys.exit(2)
