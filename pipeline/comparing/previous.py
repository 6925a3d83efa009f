"""The comparison before: the newest finished one of the same name on the same data."""

import io

import pandas as pd

from pipeline.answers import tables
from pipeline.answers.evidence import Before
from pipeline.answers.verdicts import Answer
from pipeline.comparing import artifacts
from pipeline.tracking import client

CHAMPION_TAG = "champion"  # of a comparison: the model that had the title when it ended


def previous(name: str, fingerprint: str, experiment: str) -> Before | None:
    """What it came to; None where there is none, or it can no longer be read."""
    on_data = client.finished_runs(
        "compare", experiment, f"tags.data_fingerprint = '{fingerprint}'"
    )
    # That of a file may have a name that no query can ask for.
    found = next((run for run in on_data if name_in(run) == name), None)
    if found is None:
        return None
    run_id, of = found.info.run_id, found.info.run_name
    runs = artifacts.read(run_id, "runs.csv", _runs, of=of)
    summary = artifacts.read(run_id, "summary.csv", _summary, of=of)
    answers = artifacts.read(run_id, "answers.csv", answers_in, of=of)
    if runs is None or summary is None or answers is None:
        return None
    return Before(
        run_id=run_id,
        ended=found.info.end_time,
        runs=runs,
        summary=summary,
        answers=answers,
        champion=found.data.tags.get(CHAMPION_TAG, ""),
    )


def name_in(run: client.Run) -> str | None:
    """The name of a run's comparison; in older stores it is a parameter."""
    return run.data.tags.get("comparison", run.data.params.get("comparison"))


def _table(content: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(content), float_precision="round_trip")


def _runs(content: bytes) -> pd.DataFrame:
    return _table(content)[["run_id", "variant", "seed"]].astype({"seed": int})


def _summary(content: bytes) -> pd.DataFrame:
    accuracy = "test_accuracy"
    figures = {accuracy: float, f"{accuracy}_half_width": float}
    return _table(content)[["variant", *figures]].astype(figures)


def answers_in(content: bytes) -> list[Answer]:
    """The answers that a comparison has logged as `answers.csv`."""
    return tables.answers_of(_table(content))
