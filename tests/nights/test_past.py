"""Which of the nights before is the last good one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import pytest

from pipeline.nights import trend
from pipeline.nights.past import past
from pipeline.nights.record import FILE, Night
from pipeline.tracking.runs import StepRun


def night(
    alarms: tuple[str, ...] = (),
    *,
    ended: bool = True,
    of: str = "c",
    record: Mapping[str, Any] | None = None,
    **tags: Any,
) -> str:
    connection = mlflow.MlflowClient()
    about = {"step": "nightly", **trend.tags(of, "d's"), **tags}
    about |= {"alarm": "yes" if alarms else "no"} if ended else {}
    run_id = connection.create_run("0", tags=about).info.run_id
    written = Night(
        run_id=run_id,
        began=1.0,
        comparison=of,
        dataset="d's",
        compared="m",
        alarms=alarms,
        **record or {},
    )
    StepRun(run_id, "0").log_text(written.text(), FILE)
    connection.set_terminated(run_id, "FAILED" if alarms else "FINISHED")
    return run_id


def found() -> tuple[str | None, list[str]]:
    good, bad = past("0", trend.tags("c", "d's"))
    return good.run_id if good else None, [one.run_id for one in bad]


def test_there_is_none_at_first(store: Path) -> None:
    night(of="another comparison")
    assert found() == (None, [])


def test_the_newest_without_an_alarm_is_good_and_those_since_are_bad(store: Path) -> None:
    night()
    good, *bad = night(), night(("x",)), night(("y",))
    night(ended=False)  # it was killed
    night(of="another comparison")
    assert found() == (good, bad)


def test_one_that_was_accepted_is_good(store: Path) -> None:
    night()
    accepted = night(("x",), accepted="yes, since Tuesday")
    bad = night(("y",), accepted="no")
    assert found() == (accepted, [bad])


@pytest.mark.parametrize("damaged", ["", "{", "[]"])
def test_one_whose_record_is_damaged_is_left_out(store: Path, damaged: str) -> None:
    good = night()
    StepRun(night(), "0").log_text(damaged, FILE)
    assert found() == (good, [])


def test_other_digits_that_were_accepted_stay_so(store: Path) -> None:
    of = trend.tags("c", "d's")
    night(("x",), record={"about": ["replay"]})
    assert past("0", of).digits_since == 0.0
    night(("x",), record={"about": ["bn test_accuracy"]}, accepted="yes")
    assert past("0", of).digits_since == 0.0
    night(("x",), record={"about": ["replay"]}, accepted="yes")
    assert past("0", of).digits_since == 1.0
    night(record={"digits_since": 0.5})
    assert past("0", of).digits_since == 0.5
