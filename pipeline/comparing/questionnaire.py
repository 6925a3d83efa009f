"""The answers of finished comparisons to their questions: read from their newest runs."""

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from pipeline.answers.questionnaire import Entry, Section
from pipeline.answers.sentences import Row
from pipeline.answers.summary import IF_ASKED
from pipeline.base.phrases import listed
from pipeline.comparing import artifacts
from pipeline.comparing.previous import answers_in, name_in
from pipeline.comparisons import Comparison, files
from pipeline.parameters import Main, Questions, mlflow_run
from pipeline.tracking import addresses, client

MOST_PROCESSORS = 3  # that are named
PICTURE = "accuracy_by_time"  # of a comparison that has no figure of its own


def questionnaire(asked: Questions) -> list[Section]:
    """The questions of the comparisons that are asked for, each with what was measured.

    Raises:
        InputError: if there is no such comparison, or a file of one is refused.
    """
    declared = {name: files.load(name) for name in asked.comparisons or files.names()}
    runs = _newest([one.name for one in declared.values()], asked.dataset)
    return [_section(of, name, runs.get(of.name), asked.dataset) for name, of in declared.items()]


def _newest(names: Sequence[str], dataset: str | None) -> dict[str, client.Run]:
    """The newest finished run of each comparison."""
    found: dict[str, client.Run] = {}
    # That of a file may have a name that no query can ask for.
    for run in client.finished_runs("compare", client.experiment_id()):
        name = name_in(run)
        if name and name in names and dataset in (None, run.data.tags.get("dataset")):
            found.setdefault(name, run)
        if len(found) == len(names):
            break
    return found


def _section(
    comparison: Comparison, given: str, run: client.Run | None, dataset: str | None
) -> Section:
    data = dataset if dataset and comparison.data.source == "auto" else "auto"
    found = Section(
        name=comparison.name,
        title=comparison.title,
        command=mlflow_run("main", Main(comparison=given, dataset=data)),
        entries=[Entry(question=one) for one in comparison.asked],
    )
    if run is None:
        return found
    run_id, tags, of = run.info.run_id, run.data.tags, run.info.run_name
    answers = {
        one.question.id: one
        for one in artifacts.read(run_id, "answers.csv", answers_in, of=of) or ()
    }
    rows = artifacts.read(run_id, "summary.csv", _rows, of=of) or {}
    minutes, hardware = artifacts.read(run_id, "runs.csv", _trained, of=of) or ({}, "")
    ended = datetime.fromtimestamp(run.info.end_time / 1000, UTC)
    name = (*comparison.figures, PICTURE)[0]
    return replace(
        found,
        entries=[
            Entry(
                question=one,
                # As it is asked now; the margin is that which the verdict was made with.
                answer=replace(answer, question=replace(one, margin=answer.question.margin)),
                rows=rows,
                minutes=_of_both(minutes, one.variant, one.reference),
            )
            if (answer := answers.get(one.id))
            else Entry(question=one)
            for one in comparison.asked
        ],
        run_id=run_id,
        address=addresses.server_address() + addresses.run_page(run.info.experiment_id, run_id),
        made=f"{ended:%Y-%m-%d}",
        dataset=tags.get("dataset", ""),
        hardware=hardware,
        commit=tags.get(MLFLOW_GIT_COMMIT, ""),
        minutes=sum(minutes.values()) if minutes else None,
        picture=artifacts.read(run_id, f"{name}.png", _picture, of=of) or "",
        shows=f"{name.replace('_', ' ')} of {comparison.name}",
    )


def _rows(content: bytes) -> Mapping[str, Row]:
    """The rows of a summary; what older ones lack is not known."""
    table = pd.read_csv(io.BytesIO(content))
    unknown = dict.fromkeys(IF_ASKED, math.nan)
    found: list[dict[str, Any]] = [unknown | row for row in table.to_dict("records")]  # type: ignore[misc]
    return {str(row["variant"]): Row(row) for row in found}


def _trained(content: bytes) -> tuple[dict[str, float], str]:
    """The minutes of training by variant, and the processors."""
    table = pd.read_csv(io.BytesIO(content))
    seconds = table.groupby("variant")["train_seconds"].sum().to_dict()
    minutes = {str(name): float(of) / 60 for name, of in seconds.items()}
    return minutes, _named(table["processor"]) if "processor" in table else ""


def _picture(content: bytes) -> str:
    if not content.startswith(b"\x89PNG"):
        raise ValueError("no PNG")
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def _of_both(minutes: Mapping[str, float], *names: str) -> float | None:
    known = [minutes[name] for name in dict.fromkeys(names) if name in minutes]
    return sum(known) if known else None


def _named(processors: Iterable[Any]) -> str:
    names = [str(one) for one in dict.fromkeys(processors) if isinstance(one, str) and one]
    more = [f"{len(names) - MOST_PROCESSORS} more"] * (len(names) > MOST_PROCESSORS)
    return listed([*names[:MOST_PROCESSORS], *more]) if names else ""
