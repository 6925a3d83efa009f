"""What the comparisons of two nights have logged, side by side."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from pipeline.answers import tables
from pipeline.answers.regressions import Compared, Shift, shifts
from pipeline.answers.summary import CURVE_COLUMNS, RUN_COLUMNS
from pipeline.answers.verdicts import Answer
from pipeline.base.phrases import listed
from pipeline.comparing import artifacts
from pipeline.nights.other_data import DATA, OtherData
from pipeline.nights.record import Trained
from pipeline.steps.step import resolved_parameters
from pipeline.tracking import client


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What the run of a comparison has logged."""

    compared: Compared
    answers: Sequence[Answer]

    @property
    def margins(self) -> dict[str, float]:
        """What is too small to matter, by the variants whose test accuracy is asked about."""
        asked = [one.question for one in self.answers if one.question.metric == "test_accuracy"]
        of_each: dict[str, list[float]] = {}
        for one in asked:
            of_each.setdefault(one.variant, []).append(one.margin or 0.0)
        return {name: min(margins) for name, margins in of_each.items()}


def logged(run_id: str) -> Logged | None:
    """What a comparison came to; None where its run, or what it logged, is gone or damaged."""
    run = client.find_run(run_id)
    if run is None:
        return None
    read = partial(artifacts.read, run_id, of=run.info.run_name)
    runs = read("runs.csv", parse=partial(_table, columns=RUN_COLUMNS))
    curves = read("curves.csv", parse=partial(_table, columns=CURVE_COLUMNS))
    answers = read("answers.csv", parse=lambda content: tables.answers_of(_table(content)))
    baseline = resolved_parameters(run).get("baseline", "")
    if runs is None or curves is None or answers is None:
        return None
    return Logged(compared=Compared(runs=runs, curves=curves, baseline=baseline), answers=answers)


def _table(content: bytes, columns: Sequence[str] = ()) -> pd.DataFrame:
    table = pd.read_csv(io.BytesIO(content), float_precision="round_trip")
    if missing := {*columns} - {*table}:
        raise ValueError(f"a table without {listed(sorted(missing))}")
    return table


def became(
    then: Logged,
    now: Logged,
    changed: Mapping[str, tuple[Trained, Trained]],
    *,
    data: OtherData | None = None,
    looked_before: bool = False,
) -> list[Shift]:
    """What became of variants, by their trainings then and now.

    `data` as from `other_data`, `looked_before` as for `shifts`.
    """
    return shifts(
        then.compared,
        now.compared,
        [*changed],
        margins=now.margins,
        same_data=all(
            one.inputs.get(DATA) == other.inputs.get(DATA) for one, other in changed.values()
        ),
        # Of a share, over other images: at most that of a half.
        looked_before=looked_before,
        image_variance=2 * 0.25 / data.test_images if data and data.test_images else 0.0,
    )
