"""Saved views of nights: figures over nights as charts, and all nights in a table."""

from functools import partial

from mlflow.entities import Run

from pipeline.tracking import page_state
from pipeline.tracking.addresses import server_address, view_page
from pipeline.tracking.experiment_tags import said_where_not_allowed, save_views
from pipeline.tracking.names import HIDDEN
from pipeline.tracking.page_state import View, line

NIGHTLY = "nightly"  # the tag `step` of the run of a night
TREND = "trend"  # that of runs with figures over nights, one for every variant
NIGHTS = f"{HIDDEN}nights"  # the tag that both have, of one comparison on data of one name

_by_date = partial(line, by_date=True)
_FIGURES = ("test_accuracy", "test_accuracy_low", "test_accuracy_high", "median_epoch_seconds")
VIEWS = (
    View(
        "nights",
        "Nights",
        ("params.variant", *(f"metrics.{name}" for name in (*_FIGURES, "seeds"))),
        {
            "Mean over the seeds": [_by_date("test_accuracy")],
            "Median seconds of an epoch": [_by_date("median_epoch_seconds")],
            "95% interval of the mean": [
                _by_date("test_accuracy_low"),
                _by_date("test_accuracy_high"),
            ],
            "More": [_by_date("val_accuracy"), _by_date("seeds")],
        },
        step=TREND,
        alike=NIGHTS,
        curves_in_a_row=1,
    ),
    View(
        "every-night",
        "Every night",
        (
            *("attributes.Created", "tags.alarm", "tags.found", "tags.replay", "tags.verdict"),
            "attributes.Duration",
        ),
        {},
        step=NIGHTLY,
        alike=NIGHTS,
        sorted_by="",
        opens_on="TABLE",
    ),
)


def write_night_views(night: Run) -> dict[str, str]:
    """Save the views of all nights of the same comparison, but none that a person edited.

    Their addresses by name.
    """
    of, experiment = night.data.tags, night.info.experiment_id
    what = f"{of['comparison']} on {of['dataset']}"
    ids = {view.name: f"{view.id}-{of[NIGHTS]}" for view in VIEWS}
    states = {
        ids[view.name]: (f"{view.name}: {what}", page_state.state(view, night)) for view in VIEWS
    }
    with said_where_not_allowed("The views of nights were"):
        save_views(experiment, states)
    return {
        view.name: server_address() + view_page(experiment, ids[view.name], view.opens_on)
        for view in VIEWS
    }
