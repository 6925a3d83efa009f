"""Figures over nights: every night a point, none twice, whatever becomes of nights and runs."""

from pathlib import Path

import pandas as pd
import pytest
from step_runs import ended

from pipeline.answers.night import TREND_COLUMNS
from pipeline.nights import trend
from pipeline.tracking import client
from pipeline.tracking.runs import StepRun

OF = trend.tags("twenty_layers", "cifar10")
COLORS = {"elu": "#0072B2", "bn": "#F0E442"}
FIRST = 1_790_000_000_000  # milliseconds: a night in September 2026
DAY = 86_400_000


def a_night(number: int = 1, of: dict[str, str] = OF) -> StepRun:
    """The run of a night, which begins a day after the one before."""
    tags = {"step": "nightly", **of}
    began = FIRST + number * DAY
    return StepRun(client.connect().create_run("0", began, tags).info.run_id, "0")


def compared(**accuracies: float) -> str:
    """A comparison of variants, each with the mean test accuracy of three seeds."""
    run_id = ended("compare")
    columns = {"seeds": 3, "test_accuracy_half_width": 0.01, "val_accuracy": 0.45}
    columns |= {"seconds_per_epoch": 1.5, "total_seconds": 30.0}
    table = pd.DataFrame({"variant": [*accuracies], "test_accuracy": [*accuracies.values()]})
    StepRun(run_id, "0").log_text(table.assign(**columns).to_csv(index=False), "summary.csv")
    return run_id


def log(night: StepRun, summary: str, *, alarm: bool = False, of: dict[str, str] = OF) -> int:
    return trend.log(night, summary, of=of, colors=COLORS, alarm=alarm)


def trend_runs() -> dict[str, client.Run]:
    return {run.info.run_name: run for run in client.search_runs("0", "tags.step = 'trend'")}


def steps(variant: str) -> list[int]:
    history = client.connect().get_metric_history(trend_runs()[variant].info.run_id, "alarm")
    return [point.step for point in history]


def test_a_night_adds_a_point_to_every_variant_at_its_number_and_time(store: Path) -> None:
    same = compared(elu=0.49, bn=0.54)
    first, second = a_night(1), a_night(2)
    assert [log(first, same), log(second, same, alarm=True)] == [1, 2]
    runs = trend_runs()
    assert [*runs] == ["bn", "elu"]
    bn = runs["bn"]
    assert (bn.info.status, bn.data.params) == ("FINISHED", {"variant": "bn"})
    assert bn.data.tags["mlflow.runColor"] == "#9F9729"  # seen on white
    assert bn.data.metrics == {
        **{"test_accuracy": 0.54, "test_accuracy_low": 0.53, "test_accuracy_high": 0.55},
        **{"val_accuracy": 0.45, "median_epoch_seconds": 1.5, "seeds": 3, "alarm": 1},
    }
    # A flat line: what was known is repeated.
    history = client.connect().get_metric_history(bn.info.run_id, "test_accuracy")
    assert [(point.step, point.timestamp, point.value) for point in history] == [
        (1, FIRST + DAY, 0.54),
        (2, FIRST + 2 * DAY, 0.54),
    ]


def test_the_table_has_a_row_for_every_night_and_variant(store: Path) -> None:
    nights = [a_night(1), a_night(2)]
    log(nights[0], compared(elu=0.49))
    log(nights[1], compared(elu=0.48, bn=0.54), alarm=True)
    table = trend.table("0", OF)
    assert [*table] == [*TREND_COLUMNS]
    assert [str(day.date()) for day in table["night"]] == ["2026-09-22"] + 2 * ["2026-09-23"]
    assert table["night"].dt.tz is not None
    assert table.drop(columns="night").to_numpy().tolist() == [
        [nights[0].run_id, "elu", 0.49, 0.48, 0.5, 1.5, 3, False],
        [nights[1].run_id, "elu", 0.48, 0.47, 0.49, 1.5, 3, True],
        [nights[1].run_id, "bn", 0.54, 0.53, 0.55, 1.5, 3, True],
    ]


def test_a_night_that_is_logged_again_adds_what_it_lacks_and_nothing_twice(store: Path) -> None:
    night = a_night()
    log(night, compared(elu=0.49))  # and was cut off
    assert log(night, compared(elu=0.48, bn=0.54), alarm=True) == 1
    assert (steps("elu"), steps("bn")) == ([1], [1])


def test_the_number_of_a_night_that_died_is_not_given_again(store: Path) -> None:
    died = a_night(1)
    log(died, compared(elu=0.49))
    client.connect().delete_run(trend_runs()["elu"].info.run_id)  # as if it had come to nothing
    assert log(a_night(2), compared(elu=0.49)) == 2
    client.connect().delete_run(died.run_id)
    assert log(a_night(3), compared(elu=0.49)) == 3
    assert steps("elu") == [2, 3]


def test_without_the_nights_themselves_numbers_go_on_and_figures_stay(store: Path) -> None:
    summary, night = compared(elu=0.49), a_night()
    log(night, summary)
    client.connect().delete_run(night.run_id)
    assert log(later := a_night(2), summary) == 2
    assert trend.table("0", OF)["run_id"].tolist() == ["", later.run_id]


def test_a_run_that_a_person_deleted_is_begun_anew_and_one_restored_completes_it(
    store: Path,
) -> None:
    summary = compared(elu=0.49)
    log(a_night(1), summary)
    deleted = trend_runs()["elu"].info.run_id
    client.connect().delete_run(deleted)
    assert trend.table("0", OF).empty
    log(a_night(2), summary)
    assert steps("elu") == [2]
    client.connect().restore_run(deleted)
    log(a_night(3), summary)
    assert len(trend.table("0", OF)) == 3


def test_what_is_not_known_is_left_out(store: Path) -> None:
    one_seed = ended("compare")
    table = "variant,seeds,test_accuracy,test_accuracy_half_width,val_accuracy,seconds_per_epoch"
    StepRun(one_seed, "0").log_text(f"{table}\nelu,1,0.49,,,\nbn,,,,,\n", "summary.csv")
    log(a_night(), one_seed)
    assert trend_runs()["elu"].data.metrics == {"test_accuracy": 0.49, "seeds": 1, "alarm": 0}
    elu, bn = (row for _, row in trend.table("0", OF).iterrows())
    assert elu[["low", "high", "median_epoch_seconds"]].isna().all()
    assert bn[["test_accuracy", "seeds"]].isna().all()


@pytest.mark.parametrize("content", ["", "variant\nelu\n", "variant,seeds\nelu,many\n", "\0"])
def test_a_comparison_that_cannot_be_read_adds_nothing(store: Path, content: str) -> None:
    StepRun(damaged := ended("compare"), "0").log_text(content, "summary.csv")
    assert log(a_night(), damaged) == 1
    assert trend.table("0", OF).empty
    assert [*trend.table("0", OF)] == [*TREND_COLUMNS]


def test_other_comparisons_and_data_of_any_name_have_figures_of_their_own(store: Path) -> None:
    names = [("it's", 'a "b" \\'), ("it's", "other"), ("other", 'a "b" \\')]
    for place, name in enumerate(names):
        of = trend.tags(*name)
        assert log(a_night(of=of), compared(elu=0.4 + place / 10), of=of) == 1
    found = [trend.table("0", trend.tags(*name))["test_accuracy"].tolist() for name in names]
    assert found == [[0.4], [0.5], [0.6]]


def test_what_a_person_wrote_over_the_number_of_a_night_is_no_number(store: Path) -> None:
    summary, night = compared(elu=0.49), a_night()
    log(night, summary)
    night.set_tags({trend.NUMBER: "first"})
    assert log(a_night(2), summary) == 2
