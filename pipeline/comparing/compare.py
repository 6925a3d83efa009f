"""The work of `compare`: finished training runs side by side, and what they answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

from pipeline.answers import tables, words
from pipeline.answers.changes import changes
from pipeline.answers.run_records import LeftOut
from pipeline.answers.summary import IF_ASKED
from pipeline.base import InputError, layout, markdown, progress, unknown_name
from pipeline.comparing import artifacts, evidence, means
from pipeline.comparing.champion import register, registered_model_name
from pipeline.comparing.previous import CHAMPION_TAG
from pipeline.comparisons import Comparison
from pipeline.report import terminal
from pipeline.steps.claims import hold
from pipeline.steps.running import once
from pipeline.steps.step import Step
from pipeline.tracking import addresses, client, views
from pipeline.tracking.runs import RUN_NOTE_LENGTH, StepRun
from pipeline.work.source import SOURCE_RUN

if TYPE_CHECKING:
    from pipeline.report.page import Origin

MOST_NAMED = 60  # runs: MLflow cuts longer parameters and tags
MOST_SHOWN = 6  # runs in a parameter: of more, their ids bury the others on the run's page


@dataclass(frozen=True, kw_only=True)
class CompareStep(Step):
    """The comparison of some training runs on the same data."""

    entry_point: ClassVar[str] = "compare"
    packages: ClassVar[tuple[str, ...]] = (
        "pandas",
        "scipy",
        "matplotlib",
        "jinja2",
        "markdown-it-py",
    )
    kept: ClassVar[tuple[str, ...]] = ("comparison.md", "terminal.json", "report.html")

    comparison: Comparison  # whose questions are asked
    runs: Sequence[client.Run]  # finished training runs
    absent: Sequence[LeftOut]
    baseline: str  # the variant that sets the target
    command: str  # what makes it again, for its note and the experiment's
    opened_for: str = "compare"

    @property
    def name(self) -> str:
        return name_of(self.comparison, self.runs[0].data.tags["dataset"])

    def parameters(self) -> Mapping[str, Any]:
        return {"baseline": self.baseline, "comparison": self.comparison.name}

    def upstream(self) -> Mapping[str, str]:
        questions = {"questions": sha256(repr(_asked(self.comparison)).encode()).hexdigest()}
        absent = {f"not compared {one.name}": one.run_id for one in self.absent}
        questions |= {"figures": ",".join(one)} if (one := self.comparison.figures) else {}
        return {**questions, **absent, **_identities(self.runs)}

    def logged(self) -> Mapping[str, Any]:
        many = f"{len(self.runs)}, see runs.csv"
        return {"runs": named(self.runs, many) if len(self.runs) <= MOST_SHOWN else many}

    def tags(self) -> Mapping[str, Any]:
        data = self.runs[0].data.tags
        of_data = {name: data[name] for name in ("dataset", "data_fingerprint", "prepare_run")}
        # The parameter says what a person gave, such as auto, where `mlflow run` opened the run.
        return {"comparison": self.comparison.name, **of_data}

    def work(self, run: StepRun, after: Sequence[client.Run]) -> None:
        # Imports matplotlib: a second that a comparison that is reused saves.
        from pipeline.report import drawing, page

        progress.update(step="compare", text=f"{len(self.runs)} runs")
        found = evidence.collect(
            self.runs, self.absent, comparison=self.comparison, baseline=self.baseline
        )
        champion = _registered(found, self.tags(), self.comparison)
        found.champion = champion.holder
        asked = {one.metric for one in found.questions}
        of_views = views.of_comparison([one for one in IF_ASKED if one in asked], self.runs)
        run.set_tags(of_views | ({CHAMPION_TAG: found.champion} if found.champion else {}))
        since = changes(found).sentence
        verdict, details = words.verdict(found), f"{since}\n\n{words.markdown_report(found)}"
        ending = f"\n## Champion\n\n{champion.text}\n"
        run.log_text(f"{verdict}\n\n{details}{ending}", "comparison.md")
        run.log_text(terminal.brief(found, champion.line, champion.refused), "terminal.json")
        means.log(run, found, self.tags(), _pairs(self))
        for name in ("runs", "curves", "summary", "ensembles"):
            run.log_text(getattr(found, name).to_csv(index=False), f"{name}.csv")
        run.log_text(tables.answers_frame(found.answers).to_csv(index=False), "answers.csv")
        said = zip(found.answers, words.answers(found), strict=True)
        run.set_tags({f"verdict.{one.question.id}": in_words.answer for one, in_words in said})
        panels = page.sections(found)
        html = page.html_report(found, panels, self._origin(run, champion.text, list(panels)))
        run.log_text(html, "report.html")
        for name, of in panels.items():
            run.log_figure(drawing.sheet(of), f"{name}.png")
        report = addresses.artifact_page(client.get_run(run.run_id), "report.html")[1:]
        note = f"{verdict} [Report]({report})\n\n{details}"
        ending += f"\nRun again: {markdown.code(self.command)}"
        run.set_note(views.beginning(note, RUN_NOTE_LENGTH - len(ending)) + ending)
        progress.update(step="compare", state="finished")

    def _origin(self, run: StepRun, champion: str, figures: Sequence[str]) -> "Origin":
        """What the report tells of itself, with whole addresses: it may be opened from a file."""
        from pipeline.report.page import Origin

        own, server = client.get_run(run.run_id), addresses.server_address()
        made = datetime.fromtimestamp(own.info.start_time / 1000, UTC)

        def page(run_id: str) -> str:
            return server + addresses.run_page(run.experiment, run_id)

        ids = [*(one.info.run_id for one in self.runs), *(one.run_id for one in self.absent)]
        ids += filter(None, (one.data.tags.get(SOURCE_RUN) for one in self.runs))
        trainings = "tags.step = 'train' and params.variant = '{}'"
        return Origin(
            made=f"{made:%Y-%m-%d %H:%M} UTC",
            commit=own.data.tags.get(MLFLOW_GIT_COMMIT, ""),
            run_id=run.run_id,
            address=page(run.run_id),
            runs={run_id: page(run_id) for run_id in ids},
            variants={
                name: server + addresses.runs_page(run.experiment, trainings.format(name))
                for name in {one.data.params["variant"] for one in self.runs}
            },
            figures={
                name: server + addresses.artifact_page(own, f"{name}.png") for name in figures
            },
            # The table of versions is for the note of the run.
            champion=champion.partition("\n")[0].replace("](#/", f"]({server}/#/"),
        )


class _Champion(NamedTuple):
    """What came of registering the models."""

    text: str  # as Markdown
    line: str = ""  # of the champion, in plain words
    refused: str = ""  # what was not registered, and what to do
    holder: str = ""  # the variant


def name_of(comparison: Comparison, dataset: str) -> str:
    """What the run of a comparison is called."""
    return f"comparison {comparison.name} on {dataset}"


def _registered(
    found: "evidence.Evidence", data: Mapping[str, str], comparison: Comparison
) -> _Champion:
    """Register each variant's best model, but of none whose epoch the test set has chosen."""
    flattered = [name for name, of in found.settings.items() if of.get("validated_on") == "test"]
    runs = found.runs[~found.runs["variant"].isin(flattered)]
    if runs.empty:
        said = "No model is registered: the test set has chosen the epochs of all."
        return _Champion(said, refused=said)
    try:
        # Comparisons of other variants may want to register the same runs at the same moment.
        with hold(f"registry {data['data_fingerprint']}", "registering models"):
            done = register(runs, data, found.headlines, comparison)
    # A model was deleted, or another person's: what the runs came to can be compared all the same.
    except InputError as error:
        name = registered_model_name(data["dataset"], comparison)
        said = f"The models are not all registered as {name}: {error} Then compare again with "
        said += "reuse=never."
        return _Champion(markdown.escaped(said), refused=said)
    of = {version: variant for variant, version in done.versions.items()}.get(done.champion)
    champion = of or f"version {done.champion} of {done.name}"
    line = f"{'New champion' if done.replaced else 'Champion'} by validation: {champion}."
    return _Champion(done.text, line, holder=done.holder)


def _asked(comparison: Comparison) -> list[dict[str, Any]]:
    """The questions of a comparison by what is not a default in them."""
    return [
        {
            one.name: value
            for one in fields(question)
            if (value := vars(question)[one.name]) != one.default
        }
        for question in comparison.asked
    ]


def _identities(runs: Sequence[client.Run]) -> dict[str, str]:
    """What tells the results of the runs, by their names, or of many runs one hash."""
    by_id = sorted(runs, key=lambda run: run.info.run_id)
    if len(by_id) <= MOST_NAMED:
        named: dict[str, list[str]] = {}
        for run in by_id:  # a person may have given several one name
            named.setdefault(f"run {run.info.run_name}", []).append(_identity(run))
        return {name: "; ".join(of) for name, of in named.items()}
    joined = ",".join(map(_identity, by_id))
    return {f"the {len(by_id)} runs": sha256(joined.encode()).hexdigest()}


def _identity(run: client.Run) -> str:
    """A run's id, and what is done to a finished run anew: MC Dropout with other samples."""
    samples = run.data.metrics.get("mc_samples")
    return f"{run.info.run_id}, {samples:.0f} samples" if samples else run.info.run_id


def compared(step: CompareStep, reuse: str, within: StepRun | None = None) -> str:
    """The id of the run of a comparison, made now if there is none, as `once`; prints it."""
    # Within a run, it is to be made in any case: there is nothing to say.
    run = once(step, reuse, within=within, announce=within is None)
    run_id, experiment, pairs = run.info.run_id, run.info.experiment_id, _pairs(step)
    text = client.local_artifact(run_id, "comparison.md").read_text("utf-8", errors="replace")
    views.write_views(experiment, run, pairs)
    views.write_experiment_note(
        experiment, run, pairs, title=step.comparison.title, report=text, command=step.command
    )
    ending = addresses.where("Report", run, "report.html")
    show = partial(terminal.screen, ending=ending, columns=layout.width())
    shown = artifacts.read(run_id, "terminal.json", show, of=step.name)
    progress.update(message=f"\n{shown or ending}")
    return run_id


def _pairs(step: CompareStep) -> list[tuple[str, str]]:
    """The pairs to be read beside one another, of variants that are compared."""
    among = {run.data.params["variant"] for run in step.runs}
    return [pair for pair in step.comparison.side_by_side if among >= {*pair}]


def step_of(
    comparison: Comparison,
    runs: Sequence[client.Run],
    *,
    baseline: str,
    command: str = "",
    opened_for: str = "compare",
) -> CompareStep:
    """The step that compares some finished training runs; see `Compare`.

    Raises:
        InputError: if the runs are on different data, or the baseline is no variant.
    """
    among = {run.data.params["variant"] for run in runs}
    known = sorted(among | {variant.name for variant in comparison.variants})
    if baseline not in known:
        raise unknown_name("baseline", baseline, known)
    if baseline not in among:
        progress.update(
            message=f"The baseline {baseline} is not among the runs compared: none is timed by it."
        )
    _check_same_data(runs)
    return CompareStep(
        comparison=comparison,
        runs=runs,
        absent=evidence.left_out(runs, known),
        baseline=baseline,
        command=command,
        opened_for=opened_for,
    )


def _check_same_data(runs: Sequence[client.Run]) -> None:
    groups: dict[str, list[str]] = {}
    for run in runs:
        groups.setdefault(run.data.tags["data_fingerprint"], []).append(run.info.run_name)
    if len(groups) > 1:
        expected = "runs trained on the same data"
        received = "; ".join(f"data {key}: {', '.join(names)}" for key, names in groups.items())
        action = "Compare the runs of one data set, or train the others on it again."
        raise InputError("runs to compare", expected=expected, received=received, action=action)


def named(runs: Sequence[client.Run], many: str) -> str:
    """The ids of the runs separated by commas; of many runs another text."""
    few = len(runs) <= MOST_NAMED
    return ",".join(run.info.run_id for run in runs) if few else many
