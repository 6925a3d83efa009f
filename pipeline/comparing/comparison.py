"""A whole comparison: its steps, and what becomes of each."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import count, islice

from pipeline.answers import rounds
from pipeline.answers.verdicts import Answer
from pipeline.base import InputError, unknown_name
from pipeline.comparing import evidence
from pipeline.comparing.replicates import newest_of_each_seed, with_key
from pipeline.comparisons import Comparison, Data, Variant
from pipeline.parameters import Main, comparison_of
from pipeline.steps.running import Decision, decide
from pipeline.tracking import client
from pipeline.work.graph import DataSets, Graph
from pipeline.work.train import TrainStep
from pipeline.work.variant_step import VariantStep


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What `main` was asked for."""

    asked: Main
    comparison: Comparison
    variants: Sequence[Variant]  # those of it that are trained, with the settings that were given
    baseline: str  # the variant that the others are timed against

    @property
    def data(self) -> Data:
        """What the variants are trained on."""
        return self.asked.data_of(self.comparison)

    @property
    def unanswerable(self) -> str:
        """That no question is about two of the variants, and what to add; empty if one is."""
        names, asked = {variant.name for variant in self.variants}, self.comparison.asked
        if len(names) < 2 or any({one.variant, one.reference} <= names for one in asked):
            return ""
        others = sorted({one.reference for one in asked if one.variant in names})
        add = f" What is asked about them is against others: {', '.join(others)}." if others else ""
        return f"No question will be answered: none is about two of these variants.{add}"

    def trainings(self, data: DataSets, seeds: Mapping[str, Collection[int]]) -> list[TrainStep]:
        """One per variant and seed of it, on data that may not be prepared yet."""
        graph = self.graph(data)
        return [graph.training(one, seed) for one in self.variants for seed in seeds[one.name]]

    def graph(self, data: DataSets) -> Graph:
        """What makes the steps of the variants."""
        return Graph(asked=self.asked, comparison=self.comparison, data=data)

    def new_seeds(self, trained: Collection[int], number: int) -> list[int]:
        """The lowest seeds that neither a variant's trainings nor its search have yet."""
        searched = () if self.asked.learning_rate else (self.asked.search_seed,)
        left = (seed for seed in count(1) if seed not in trained and seed not in searched)
        return list(islice(left, number))

    def workers(self) -> int:
        """How many steps run at once; of a scheduler elsewhere it is known only if it was said.

        A container may have fewer cores than its machine.
        """
        if self.asked.scheduler != "none":
            return self.asked.jobs or 1
        import_dask()
        from dask.system import CPU_COUNT

        return self.asked.jobs or CPU_COUNT


def import_dask() -> None:
    """Import Dask, which takes a sixth of a second, and reads its files in the home directory."""
    try:
        import dask  # noqa: F401
    except ValueError as error:
        raise InputError(
            "the configuration of Dask",
            expected="YAML files that it can read",
            received=" ".join(str(error).split()),
            action="Correct or delete that file.",
        ) from error


def wanted(asked: Main) -> Wanted:
    """What the parameters of `main` ask for.

    Raises:
        InputError: if one is unknown or does not go with the others.
    """
    comparison = comparison_of(asked)
    declared = {variant.name: variant for variant in comparison.variants}
    names = asked.variants or tuple(declared)
    for name in names:
        if name not in declared:
            raise unknown_name("variants", name, declared)
    baseline = asked.baseline or names[0]
    if baseline not in names:
        raise InputError(
            "baseline",
            expected=f"one of the variants compared: {', '.join(names)}",
            received=repr(baseline),
            action="Add it to variants, or choose another baseline.",
        )
    # Variants without dropout are compared as they are.
    variants = [asked.configured(declared[name], strict=False) for name in names]
    return Wanted(asked=asked, comparison=comparison, variants=variants, baseline=baseline)


@dataclass(frozen=True, kw_only=True)
class DecidedSteps:
    """The trainings of a comparison and what they come after, each with what becomes of it."""

    trainings: Sequence[TrainStep]  # that are compared
    # Of these, and of all that those to run come after; a step comes after those that it reads.
    decisions: Mapping[VariantStep, Decision]
    answers: Sequence[Answer] = ()  # with seeds=auto: by the finished trainings, where these do

    @property
    def missing(self) -> list[TrainStep]:
        """The trainings that are to run."""
        return [one for one in self.trainings if not self.decisions[one].reused]

    @property
    def before(self) -> list[VariantStep]:
        """What these come after: searches, and the trainings that they start from."""
        compared = {*self.trainings}
        return [one for one in self.decisions if one not in compared]

    @property
    def to_run(self) -> list[VariantStep]:
        """All that is to run."""
        return [one for one, decision in self.decisions.items() if not decision.reused]

    @property
    def finished(self) -> dict[str, dict[int, client.Run]]:
        """The runs of the other trainings, by variant and seed."""
        found: dict[str, dict[int, client.Run]] = {}
        for one in self.trainings:
            of_variant = found.setdefault(one.variant.name, {})
            if run := self.decisions[one].reused:
                of_variant[one.seed] = run
        return found

    def made(self, runs: Mapping[VariantStep, client.Run]) -> "DecidedSteps":
        """The same when some steps have finished, as runs."""
        finished = {one: Decision(name=one.name, reused=run) for one, run in runs.items()}
        return replace(self, decisions={**self.decisions, **finished})


def decided(
    of: Wanted,
    data: DataSets,
    experiment: str | None,
    *,
    earlier: DecidedSteps | None = None,
    failed: Collection[str] = (),
) -> DecidedSteps:
    """What becomes of every step: the one list, for the plan and for the run.

    With seeds=auto the trainings are those that have finished and those of the next round.

    Args:
        of, data, experiment: what was asked for; its data and experiment, where there are.
        earlier: with seeds=auto, the round before; None: what is in the store counts.
        failed: with seeds=auto, the variants that get no more seeds.
    """
    names = [variant.name for variant in of.variants]
    if of.asked.seeds is not None:
        return _decided(of, data, experiment, dict.fromkeys(names, of.asked.seeds), {})
    known = earlier or _in_store(of, data, experiment)
    while True:
        finished = {name: known.finished.get(name, {}) for name in names}
        added, answers = _next_round(of, finished, failed)
        seeds = {name: sorted((*finished[name], *added.get(name, ()))) for name in names}
        steps = _decided(of, data, experiment, seeds, known.decisions)
        if steps.missing or not added:
            return replace(steps, answers=answers)
        known = steps  # another command has just finished them


def _decided(
    of: Wanted,
    data: DataSets,
    experiment: str | None,
    seeds: Mapping[str, Collection[int]],
    known: Mapping[VariantStep, Decision],
) -> DecidedSteps:
    """What becomes of the trainings with some seeds, and of all that those to run come after."""
    found: dict[VariantStep, Decision] = {}

    @cache
    def becomes(step: VariantStep) -> Decision:
        if step in known and known[step].reused:
            return known[step]
        return decide(step, of.asked.reuse, experiment=experiment)

    def add_before(step: VariantStep) -> None:
        for one in step.after() if not becomes(step).reused else ():
            add_before(one)
            found.setdefault(one, becomes(one))

    trainings = of.trainings(data, seeds)
    for one in trainings:
        add_before(one)
    found |= {one: becomes(one) for one in trainings}
    return DecidedSteps(trainings=trainings, decisions=found)


def _in_store(of: Wanted, data: DataSets, experiment: str | None) -> DecidedSteps:
    """The finished trainings that count, whichever command they are of."""
    found: dict[VariantStep, Decision] = {}
    trainings: list[TrainStep] = []
    if of.asked.reuse == "never" or not experiment:
        return DecidedSteps(trainings=trainings, decisions=found)
    graph = of.graph(data)
    for variant in of.variants:
        any_seed = graph.training(variant, 1)
        alike = () if any_seed.waits_for else with_key(any_seed.replicates_key, experiment)
        for seed, run in newest_of_each_seed(alike).items():
            if not client.missing_artifact(run, any_seed.kept):
                trainings.append(step := graph.training(variant, seed))
                found[step] = Decision(name=step.name, reused=run)
    return DecidedSteps(trainings=trainings, decisions=found)


def _next_round(
    of: Wanted, finished: Mapping[str, Mapping[int, client.Run]], failed: Collection[str]
) -> tuple[dict[str, list[int]], Sequence[Answer]]:
    """The seeds that variants get now, and the answers so far, where these decide it."""
    most = of.asked.max_seeds
    answers: Sequence[Answer] = ()
    seeds = {name: len(runs) for name, runs in finished.items() if name not in failed}
    added = rounds.next_round(answers, seeds, most)
    runs = [run for of_variant in finished.values() for run in of_variant.values()]
    if runs and not added:
        answers = evidence.judged(runs, comparison=of.comparison, baseline=of.baseline)
        if added := rounds.next_round(answers, seeds, most):
            more = rounds.expected(answers, seeds, most)
            added = rounds.filled(added, more, of.workers())
    return {name: of.new_seeds(finished[name], number) for name, number in added.items()}, answers
