"""Which of several causes it is: a variant that became worse, with one of them taken back.

Only code and data can be: packages, processors and settings cannot, in the same environment.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID

from pipeline.answers.intervals import FEWEST
from pipeline.answers.night import Finding
from pipeline.answers.regressions import Compared, same_digits
from pipeline.answers.verdicts import Verdict
from pipeline.base import InputError, StepsFailedError, progress
from pipeline.base.phrases import counted, listed
from pipeline.comparing import evidence
from pipeline.comparing.comparison import Wanted, decided
from pipeline.comparing.crew import Crew
from pipeline.nights import old_code
from pipeline.nights.causes import SHORT, factors, trained_of
from pipeline.nights.logged import Logged, became, logged
from pipeline.nights.old_code import BISECT
from pipeline.nights.other_data import DATA
from pipeline.nights.record import Night, Trained
from pipeline.parameters import given_texts
from pipeline.tracking import client, views
from pipeline.tracking.runs import StepRun
from pipeline.work.graph import data_sets
from pipeline.work.train import TrainStep
from pipeline.work.variant_step import LoggedData, logged_splits


@dataclass(frozen=True, kw_only=True)
class Tonight:
    """What is asked for tonight, and what is known of tonight and of the last good night.

    Args:
        of: what was asked for.
        run: of the night.
        good: the last good night.
        trained: tonight's trainings, by variant.
        compared: the run of tonight's comparison.
    """

    of: Wanted
    run: StepRun
    good: Night
    trained: Mapping[str, Trained]
    compared: str


def bisected(tonight: Tonight, variants: Sequence[str]) -> list[Finding]:
    """What comes of taking back, one by one, what differs since the good night.

    Seeds that the good night had are trained again, those of its first, and judged as a night is.
    They are tagged `bisect` and are under the night's run; as their step is `bisect`, too, no
    comparison takes them for its own. What fails here is said, and fails nothing else.

    Args:
        tonight: with the good night that it is compared with.
        variants: those that became worse.
    """
    then, now = logged(tonight.good.compared), logged(tonight.compared)
    if then is None or now is None:
        return []
    findings = []
    for name in variants:
        for text in _of_variant(tonight, name, then, now):
            progress.say(text)
            findings.append(Finding(text=text))
    if variants:
        views.write_views(tonight.run.experiment)  # the old code has written its own
    return findings


def _of_variant(tonight: Tonight, name: str, then: Logged, now: Logged) -> Iterator[str]:
    """What comes of it, a sentence for each thing that differs."""
    good = tonight.good.trained[name]
    found = factors(good, tonight.trained[name])
    if len(found) < 2:
        yield f"{name}: nothing is taken back to find the cause, as one thing at most differs."
        return
    seeds = sorted(then.compared.of(name)["seed"].tolist())[:FEWEST]
    for kind in dict.fromkeys(one.kind for one in found if one.kind in _WAYS):
        what = f"the code of {tonight.good.commit[:SHORT]}" if kind == "code" else "the old data"
        try:
            runs = _WAYS[kind](tonight, name, seeds, what)
        except (InputError, StepsFailedError) as error:
            yield f"{name} with {what}: {error}"
        else:
            yield f"{name} with {what}: {_outcome(tonight, name, kind, then, now, runs)}."
    if rest := [one.text for one in found if one.kind not in _WAYS]:
        yield f"{name}: what cannot be taken back here: {listed(rest)}."


def _outcome(
    tonight: Tonight, name: str, kind: str, then: Logged, now: Logged, runs: Sequence[client.Run]
) -> str:
    """Whether it is again as it was then, and so what the cause is."""
    good, bad, tried = tonight.good.trained[name], tonight.trained[name], trained_of(runs)
    table, curves = evidence.tables(runs)
    again = Logged(
        compared=Compared(runs=table, curves=curves, baseline=then.compared.baseline),
        answers=now.answers,
    )
    worse = [
        one.answer.question.metric
        for one in became(then, now, {name: (good, bad)})
        if one.is_regression
    ]
    of_then, of_now = (
        {one.answer.question.metric: one for one in became(of, again, {name: (trained, tried)})}
        for of, trained in ((then, good), (now, bad))
    )
    texts: list[str] = []
    restored: list[bool | None] = []
    if seeds := same_digits(then.compared, again.compared, name):
        texts.append(f"the same as then to the last digit ({counted(seeds, 'seed')})")
    for metric in worse:
        if metric not in of_then:  # it is the same to the last digit
            restored.append(True)
            continue
        texts.append(of_then[metric].text)
        better = metric in of_now and of_now[metric].answer.verdict is Verdict.BETTER
        verdict = of_then[metric].answer.verdict
        as_then = verdict is Verdict.EQUAL or (verdict is not Verdict.WORSE and better)
        restored.append(as_then or (None if verdict is Verdict.UNDECIDED else False))
    if all(restored):
        outcome = f"as then, so the {kind} is the cause"
    elif False in restored:
        outcome = f"not as then, so the {kind} alone is not the cause"
    else:
        outcome = f"which does not tell whether the {kind} is the cause"
    return f"{'; '.join(texts)}: {outcome}"


def _with_old_code(
    tonight: Tonight, name: str, seeds: Sequence[int], what: str
) -> Sequence[client.Run]:
    of, commit = tonight.of, tonight.good.commit
    about = {"variant": name, "comparison": of.comparison.location, "reuse": "auto"}
    trainings = {
        f"train {name} seed {seed} with {what}": given_texts("train", of.asked, **about, seed=seed)
        for seed in seeds
    }
    tags = {**_tags(tonight, what), MLFLOW_GIT_COMMIT: commit}
    with old_code.code_of(commit, tonight.good.trained[name].inputs) as directory:
        return old_code.trained(directory, trainings, tags, of.workers())


def _with_old_data(
    tonight: Tonight, name: str, seeds: Sequence[int], what: str
) -> Sequence[client.Run]:
    good = tonight.good.trained[name]
    logged_splits(good.prepare_run, good.inputs[DATA])  # or it is told what is gone
    data = LoggedData(
        run_id=good.prepare_run,
        dataset=tonight.good.dataset,
        location=f"run {good.prepare_run}",
        fingerprint=good.inputs[DATA],
        found_again=tonight.good.dataset,
    )
    asked = replace(tonight.of.asked, variants=(name,), seeds=tuple(seeds), reuse="auto")
    variants = [one for one in tonight.of.variants if one.name == name]
    of = replace(tonight.of, asked=asked, variants=variants, baseline=name)
    sets = {**data_sets(asked, of.comparison, variants), of.data: data}
    steps = decided(of, sets, tonight.run.experiment)
    if steps.missing:
        with Crew(of, tonight.run) as crew:
            made, failures = crew.run(steps)
        for run in (made[one] for one in made if isinstance(one, TrainStep) and one.data == data):
            tags = {**_tags(tonight, what), "step": BISECT}
            StepRun(run.info.run_id, run.info.experiment_id).set_tags(tags)
        if failures:
            raise StepsFailedError({one.name: why for one, why in failures.items()})
        steps = steps.made(made)
    return list(steps.finished[name].values())


def _tags(tonight: Tonight, what: str) -> dict[str, str]:
    return {BISECT: what, MLFLOW_PARENT_RUN_ID: tonight.run.run_id}


_Way = Callable[[Tonight, str, Sequence[int], str], Sequence[client.Run]]
_WAYS: Mapping[str, _Way] = {"code": _with_old_code, "data": _with_old_data}
