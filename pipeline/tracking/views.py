"""What the MLflow UI opens on: saved views of the experiment, its note, and their addresses."""

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from mlflow.entities import Run

from pipeline.base import InputError, environment, markdown
from pipeline.tracking import client, page_state
from pipeline.tracking.addresses import TRAINING, artifact_page, server_address, view_page
from pipeline.tracking.experiment_tags import said_where_not_allowed, save_views, write
from pipeline.tracking.names import HIDDEN
from pipeline.tracking.page_state import View, bars, line, scatter
from pipeline.tracking.store import database

EXPERIMENT_NOTE_LENGTH = 20_000  # MLflow refuses longer tags of an experiment

Pairs = Sequence[tuple[str, str]]  # of variants that are read beside one another
# Tags of a comparison: the metrics that it asks about besides those that every view has, and the
# runs that it is of.
ASKED, COMPARED = f"{HIDDEN}asked", f"{HIDDEN}compared"
MOST_COMPARED = 200  # MLflow cuts longer tags
MEANS = "variant"  # the tag `step` of runs with the means of a variant, below their comparison
PAIRS = "side_by_side"  # the tag of those that has the pairs they are in

_RESULTS = (
    *("params.variant", "params.seed", "params.chosen_learning_rate"),
    *("metrics.test_accuracy", "metrics.best_val_accuracy", "metrics.best_train_accuracy"),
    *("metrics.test_precision", "metrics.mc_accuracy"),
    *("metrics.median_epoch_seconds", "metrics.best_epoch", "metrics.train_seconds"),
)
_MEANS = ("params.variant", "params.seeds", "params.learning_rate", *_RESULTS[3:])
_TRIALS = (
    *("tags.variant", "tags.trial_state", "params.learning_rate"),
    *("metrics.best_val_loss", "metrics.best_epoch"),
)
_UNCERTAINTY = (
    *("params.variant", "params.seed", "metrics.test_accuracy", "metrics.mc_accuracy"),
    *("metrics.mc_gain", "metrics.test_nll", "metrics.mc_nll", "metrics.test_ece"),
    "metrics.mc_ece",
)
_ACCURACIES = bars("test_accuracy", "best_val_accuracy")
_RATES = scatter("log10_learning_rate", "best_val_loss")
_SEEDS = scatter("best_val_accuracy", "test_accuracy")
_of_means = partial(View, columns=_MEANS, step=MEANS, alike="mlflow.parentRunId")
# A legend has two lines, which five names and the metric that each is followed by do not fit into
# where there is a chart beside it.
_five_of_means = partial(_of_means, curves_in_a_row=1)
_COMPARED = {
    "Up and left is better": [
        scatter("train_seconds", "test_accuracy"),
        *bars("median_epoch_seconds"),
    ],
    "Falls first: converges fastest": [
        line("val_loss"),
        line("val_loss", "elapsed_seconds"),
    ],
}


def _curves(over: str, x_metric: str = "") -> View:
    sections = {
        "Validation": ("val_accuracy", "val_loss"),
        "Training": ("train_accuracy", "train_loss"),
    }
    charts = {how: [line(one, x_metric) for one in metrics] for how, metrics in sections.items()}
    return _five_of_means(f"curves-by-{over}", f"Learning curves by {over}", sections=charts)


def _pair(one: str, other: str) -> View:
    """The means of two variants alone."""
    validation = [line("val_accuracy"), line("val_accuracy", "elapsed_seconds")]
    training = [line("train_accuracy"), line("train_loss")]
    return _of_means(
        f"{one}-{other}",
        _named(one, other),
        sections={**_COMPARED, "Validation": validation, "Training": training},
        where=f"tags.{PAIRS} LIKE '%({_named(one, other)})%'",
    )


def _named(one: str, other: str) -> str:
    return f"{one} and {other}"


def side_by_side(variant: str, pairs: Pairs) -> dict[str, str]:
    """The tag of the means of a variant that the view of a pair finds them by."""
    of_it = [f"({_named(*pair)})" for pair in pairs if variant in pair]
    return {PAIRS: " ".join(of_it)} if of_it else {}


VIEWS = (
    _five_of_means("comparison", "Comparison", sections=_COMPARED),
    _of_means(
        "leaderboard",
        "Leaderboard",
        sections={"Accuracy": _ACCURACIES, "Time": bars("median_epoch_seconds", "train_seconds")},
        opens_on="TABLE",
    ),
    _curves("epoch"),
    _curves("seconds", "elapsed_seconds"),
    View(
        "seeds",
        "Seeds",
        _RESULTS,
        {"How far seeds lie apart": [*_ACCURACIES, _SEEDS, line("val_accuracy")]},
        grouped=True,
        opens_on="TABLE",
    ),
    View(
        "search",
        "Learning-rate search",
        _TRIALS,
        {"Lower is better": [_RATES, line("val_loss")]},
        step="trial",
        sorted_by="best_val_loss",
    ),
    View(
        "uncertainty",
        "Uncertainty",
        _UNCERTAINTY,
        {
            "Higher is better": bars("mc_accuracy", "mc_gain"),
            "Calibration error: lower is better": bars("mc_ece", "test_ece"),
            "Negative log-likelihood: lower is better": bars("mc_nll", "test_nll"),
        },
        where="metrics.mc_accuracy >= 0",  # the variants that have dropout
        sorted_by="mc_accuracy",
    ),
)


def of_comparison(metrics: Sequence[str], runs: Sequence[Run]) -> dict[str, str]:
    """The tags of a comparison that its views are made by."""
    compared = ",".join(run.info.run_id for run in runs) if len(runs) <= MOST_COMPARED else ""
    tags = {ASKED: ",".join(metrics), COMPARED: compared}
    return {name: said for name, said in tags.items() if said}


def write_views(
    experiment: str, comparison: Run | None = None, pairs: Pairs = ()
) -> dict[str, str]:
    """Save the views of a comparison, but none that a person edited; `view_urls`.

    Left out, it is the newest one on the newest data. Where a comparison has logged no means, its
    trainings are shown.
    """
    shown = comparison or _newest_comparison(experiment)
    with said_where_not_allowed("The views of the experiment were"):
        _save_views(experiment, shown, _means(experiment, shown), pairs)
    return view_urls(experiment, shown, pairs)


def _newest_comparison(experiment: str) -> Run | None:
    """The newest comparison on the data of the newest training, or else that."""
    trained = newest_training_run([experiment])
    if trained is None:
        return None
    on_data = f"tags.data_fingerprint = '{trained.data.tags['data_fingerprint']}'"
    return _newest(f"tags.step = 'compare' and {on_data}", [experiment]) or trained


def _means(experiment: str, shown: Run | None) -> Run | None:
    """One of the means that a comparison has logged; None of a training."""
    if shown is None:
        return None
    of_it = f"tags.`mlflow.parentRunId` = '{shown.info.run_id}'"
    return _newest(f"tags.step = '{MEANS}' and {of_it}", [experiment])


def _save_views(experiment: str, shown: Run | None, means: Run | None, pairs: Pairs) -> None:
    states = {}
    views = [*VIEWS, *(_pair(*pair) for pair in pairs if means)]
    for view in (_as_asked(one, shown) for one in views):
        trainings = replace(view, step="train", alike="data_fingerprint")
        state = page_state.state(view, means) if view.step == MEANS and means else None
        state = state or page_state.state(trainings if view.step == MEANS else view, shown)
        states[_id(view, shown)] = (_titled(view, shown), state)
    save_views(experiment, states)


def _as_asked(view: View, shown: Run | None) -> View:
    """A view with the metrics that a comparison asks about; one of trainings with its own alone."""
    tags = shown.data.tags if shown else {}
    if asked := [one for one in tags.get(ASKED, "").split(",") if one]:
        if view.opens_on == "TABLE":
            view = replace(view, columns=[*view.columns, *(f"metrics.{one}" for one in asked)])
        if view.step == MEANS:
            view = replace(view, sections={**view.sections, "Asked about": bars(*asked)})
    if view.step == "train" and (compared := tags.get(COMPARED)):
        ids = "', '".join(compared.split(","))
        where = filter(None, [view.where, f"attributes.run_id IN ('{ids}')"])
        view = replace(view, where=" and ".join(where))
    return view


def _comparison(view: View, shown: Run) -> str:
    """The name of a comparison; empty of a training, and of trials, which comparisons share."""
    is_one = view.step != "trial" and shown.data.tags.get("step") != "train"
    return shown.data.tags.get("comparison", "") if is_one else ""


def _titled(view: View, shown: Run | None) -> str:
    names = [_comparison(view, shown), shown.data.tags["dataset"]] if shown else []
    return ": ".join(filter(None, [view.name, " on ".join(filter(None, names))]))


def write_experiment_note(
    experiment: str, comparison: Run, pairs: Pairs = (), *, title: str, report: str, command: str
) -> None:
    """Set an experiment's note: verdict, links, question and command; a person's own stays.

    The title is the question; of the report, which is Markdown, the first two paragraphs are the
    verdict and what has changed. Until the note is opened, the UI shows its first line alone; in
    the list of experiments even that as it is written, without Markdown. Opened, it cuts off what
    does not fit beside the runs.
    """
    urls = {"Report": server_address() + artifact_page(comparison, "report.html")}
    urls |= view_urls(experiment, comparison, pairs)
    # Without the server, whose port may be another one the next time.
    pages = {name: url.removeprefix(server_address() + "/") for name, url in urls.items()}
    links = [f"[{name}]({page})" for name, page in pages.items()]
    dataset = markdown.escaped(comparison.data.tags["dataset"])
    verdict, changed, *_ = [*report.strip().split("\n\n"), ""]
    first = f"{re.sub(r'[*`]', '', verdict).partition('. ')[0].rstrip('.')}, on {dataset}."
    paragraphs = [f"{first} {' · '.join(links[:2])}", " · ".join(links[2:]), title, verdict]
    paragraphs += [changed, f"Run again: {markdown.code(command)}"]
    room = EXPERIMENT_NOTE_LENGTH - 1
    note = beginning("\n\n".join(filter(None, paragraphs)), room) + "\n"
    tags = client.connect().get_experiment(experiment).tags
    with said_where_not_allowed("The experiment's note was"):
        write(experiment, tags, "mlflow.note.content", note)


def beginning(text: str, length: int) -> str:
    """As many whole lines of a text as fit into a number of characters."""
    return text if len(text) <= length else text[:length].rpartition("\n")[0]


def newest_training_run(experiments: Sequence[str]) -> Run | None:
    """The newest finished training run of some experiments, whose data the views show."""
    return _newest("tags.step = 'train'", experiments)


def _newest(query: str, experiments: Sequence[str]) -> Run | None:
    """The newest finished run of some experiments that a query finds."""
    finished, order = f"{query} and attributes.status = 'FINISHED'", ["attributes.start_time DESC"]
    search = client.connect().search_runs
    return next(iter(search([*experiments], finished, order_by=order, max_results=1)), None)


def view_urls(experiment: str, shown: Run | None, pairs: Pairs = ()) -> dict[str, str]:
    """The addresses of the views by name, for the data of a run or for all."""
    return {
        view.name: server_address() + view_page(experiment, _id(view, shown), view.opens_on)
        for view in (*VIEWS, *(_pair(*pair) for pair in pairs))
    }


def _id(view: View, shown: Run | None) -> str:
    # Runs on different data are never compared: every data set has its own views.
    if shown is None:
        return view.id
    name = re.sub(r"\W", "-", _comparison(view, shown))
    return "-".join(filter(None, [view.id, name, shown.data.tags["data_fingerprint"][:8]]))


def pages_to_open() -> dict[str, str]:
    """The newest report, and the views, saved, of the newest trainings; {} without any runs.

    Where no training has finished, it is the list of runs.
    """
    if (file := database(client.tracking_uri())) and not file.exists():
        return {}
    search = client.connect().search_runs
    experiments = [one.experiment_id for one in client.connect().search_experiments()]
    pages = {}
    if compared := _newest("tags.step = 'compare'", experiments):
        pages["Report"] = server_address() + artifact_page(compared, "report.html")
    if shown := newest_training_run(experiments):
        pages["MLflow UI"] = write_views(shown.info.experiment_id)[VIEWS[0].name]
    elif any_run := search(experiments, max_results=1):
        experiment = any_run[0].info.experiment_id
        pages["MLflow UI"] = f"{server_address()}/#/experiments/{experiment}/runs{TRAINING}"
    return pages


if __name__ == "__main__":  # for `pipeline.ui`, in a process that ends and gives its memory back
    environment.configure()
    try:
        print(json.dumps(pages_to_open()))
    except InputError as refused:
        print(refused, file=sys.stderr)
        sys.exit(2)
