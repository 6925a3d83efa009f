"""What finished comparisons say of what is commonly said: read from their newest runs."""

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from pipeline.answers.claims import BEGIN, END, Claim, Claims, in_short, table
from pipeline.answers.claims import page as in_markdown
from pipeline.answers.sentences import Row
from pipeline.answers.summary import IF_ASKED
from pipeline.base import InputError, progress
from pipeline.base.phrases import listed
from pipeline.comparing import artifacts
from pipeline.comparing.previous import answers_in, name_in
from pipeline.comparisons import Comparison, files
from pipeline.parameters import Main, Questions, mlflow_run
from pipeline.steps.running import step_run
from pipeline.tracking import addresses, client, views
from pipeline.tracking.refusals import reason
from pipeline.tracking.runs import RUN_NOTE_LENGTH

MOST_PROCESSORS = 3  # that are named
PICTURE = "accuracy_by_time"  # of a comparison that has no figure of its own


def claims(asked: Questions) -> list[Claims]:
    """The claims of the comparisons that are asked for, each with what was measured.

    Raises:
        InputError: if there is no such comparison, or a file of one is refused.
    """
    names = asked.comparisons or files.names()
    declared = {name: files.load(name) for name in names}
    wanted = {name: of for name, of in declared.items() if any(one.claimed for one in of.asked)}
    runs = _newest([one.name for one in wanted.values()], asked.dataset)
    return [_claims(of, name, runs.get(of.name), asked.dataset) for name, of in wanted.items()]


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


def _claims(
    comparison: Comparison, given: str, run: client.Run | None, dataset: str | None
) -> Claims:
    said = [one for one in comparison.asked if one.claimed]
    data = dataset if dataset and comparison.data.source == "auto" else "auto"
    found = Claims(
        name=comparison.name,
        title=comparison.title,
        command=mlflow_run("main", Main(comparison=given, dataset=data)),
        claims=[Claim(question=one) for one in said],
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
        claims=[
            Claim(
                question=one,
                # As it is asked now; the margin is that which the verdict was made with.
                answer=replace(answer, question=replace(one, margin=answer.question.margin)),
                rows=rows,
                minutes=_of_both(minutes, one.variant, one.reference),
            )
            if (answer := answers.get(one.id))
            else Claim(question=one)
            for one in said
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


def written(found: Sequence[Claims], asked: Questions) -> str:
    """The id of a run with the page of some claims, their table also where a file is to have it.

    Raises:
        InputError: if that file cannot be read, or does not say where.
    """
    from pipeline.report import claims as report

    page = None if asked.readme == "none" else _with_table(Path(asked.readme), found)
    parameters = {
        "comparisons": ",".join(one.name for one in found),
        "dataset": asked.dataset or "auto",
    }
    with step_run("questions", parameters, name="questions") as run:
        run.log_text(report.html(found), "questions.html")
        run.log_text(text := in_markdown(found), "questions.md")
        run.set_note(views.beginning(text, RUN_NOTE_LENGTH))
    if page is not None:
        Path(asked.readme).write_text(page, "utf-8")
    where = addresses.where("Questions", client.get_run(run.run_id), "questions.html")
    progress.update(message=f"{in_short(found)}\n{where}")
    return run.run_id


def _with_table(path: Path, found: Sequence[Claims]) -> str:
    try:
        page = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "readme",
            expected="a Markdown file that can be read",
            received=f"{path} ({reason(error)})",
            action="Check the path.",
        ) from error
    return put_between(page, table(found), path=str(path))


def put_between(page: str, section: str, *, path: str) -> str:
    """A page with a section in place of what stands between its two marks.

    Raises:
        InputError: if it does not have both, once each.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or page.count(BEGIN) + page.count(END) > 2:
        raise InputError(
            "readme",
            expected=f"a file with a line {BEGIN} and below it a line {END}",
            received=f"{path}, which has not both of them once",
            action="Put them where the table is to stand.",
        )
    return f"{before}{BEGIN}\n\n{section.strip()}\n\n{END}{after}"
