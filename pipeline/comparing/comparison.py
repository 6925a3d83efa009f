"""A whole comparison: its steps, and what becomes of each."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any

from pipeline.answers import rounds
from pipeline.answers.verdicts import Answer
from pipeline.base import InputError, unknown_name
from pipeline.comparing import evidence
from pipeline.comparing.replicates import newest_of_each_seed, with_key
from pipeline.comparisons import Comparison, Variant
from pipeline.parameters import Main, comparison_of
from pipeline.steps.running import Decision, decide
from pipeline.tracking import client
from pipeline.work.search import SearchStep
from pipeline.work.train import TrainStep
from pipeline.work.variant_step import LoggedData

Finished = Mapping[str, Mapping[int, client.Run]]  # training runs, by variant and seed


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What `main` was asked for."""

    asked: Main
    comparison: Comparison
    variants: Sequence[Variant]  # those of it that are trained, with the settings that were given
    baseline: str  # the variant that the others are timed against

    def trainings(
        self, prepared: LoggedData | None, seeds: Mapping[str, Collection[int]]
    ) -> list[TrainStep]:
        """One per variant and seed of it, on a data set that may not be prepared yet."""
        trainings = []
        for variant in self.variants:
            about: dict[str, Any] = {"variant": variant, "prepared": prepared, "asked": self.asked}
            search = SearchStep(**about)
            trainings += [
                TrainStep(**about, seed=seed, search=search) for seed in seeds[variant.name]
            ]
        return trainings

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
    """The searches and trainings of a comparison, each with what becomes of it, by its name."""

    trainings: Sequence[TrainStep]
    searches: Sequence[SearchStep]  # of the trainings that are to run
    decisions: Mapping[str, Decision]
    answers: Sequence[Answer] = ()  # with seeds=auto: by the finished trainings, where these do

    @property
    def missing(self) -> list[TrainStep]:
        """The trainings that are to run."""
        return [one for one in self.trainings if not self.decisions[one.name].reused]

    @property
    def finished(self) -> dict[str, dict[int, client.Run]]:
        """The runs of the others."""
        found: dict[str, dict[int, client.Run]] = {}
        for one in self.trainings:
            of_variant = found.setdefault(one.variant.name, {})
            if run := self.decisions[one.name].reused:
                of_variant[one.seed] = run
        return found

    def made(self, runs: Mapping[str, client.Run]) -> "DecidedSteps":
        """The same when some trainings have finished, as runs by their names."""
        finished = {name: Decision(name=name, reused=run) for name, run in runs.items()}
        return replace(self, decisions={**self.decisions, **finished})


def decided(
    of: Wanted,
    prepared: LoggedData | None,
    experiment: str | None,
    *,
    finished: Finished | None = None,
    failed: Collection[str] = (),
) -> DecidedSteps:
    """What becomes of every search and training: the one list, for the plan and for the run.

    With seeds=auto the trainings are those that have finished and those of the next round.

    Args:
        of, prepared, experiment: what was asked for; its data and experiment, where there are.
        finished: with seeds=auto, the trainings that count; None: all that are in the store.
        failed: with seeds=auto, the variants that get no more seeds.
    """
    names = [variant.name for variant in of.variants]
    if of.asked.seeds is not None:
        given = dict.fromkeys(names, of.asked.seeds)
        return _decided(of, prepared, experiment, given, {name: {} for name in names})
    known = _in_store(of, prepared, experiment) if finished is None else finished
    while True:
        known = {name: known.get(name, {}) for name in names}
        added, answers = _next_round(of, known, failed)
        seeds = {name: sorted((*known[name], *added.get(name, ()))) for name in names}
        steps = _decided(of, prepared, experiment, seeds, known)
        if steps.missing or not added:
            return replace(steps, answers=answers)
        known = steps.finished  # another command has just finished them


def _decided(
    of: Wanted,
    prepared: LoggedData | None,
    experiment: str | None,
    seeds: Mapping[str, Collection[int]],
    finished: Finished,
) -> DecidedSteps:
    """What becomes of every search and of the trainings with some seeds."""

    reuse, trainings = of.asked.reuse, of.trainings(prepared, seeds)
    found: dict[str, Decision] = {}
    for one in trainings:
        run = finished[one.variant.name].get(one.seed)
        known = Decision(name=one.name, reused=run) if run else None
        found[one.name] = known or decide(one, reuse, experiment=experiment)
    missing = [one for one in trainings if not found[one.name].reused]
    searches = list({one.search.name: one.search for one in missing if one.after()}.values())
    for search in searches:
        # Where trainings of a variant count, its search was made; with reuse=never, just now.
        again = "auto" if finished[search.variant.name] else reuse
        found[search.name] = decide(search, again, experiment=experiment)
    return DecidedSteps(trainings=trainings, searches=searches, decisions=found)


def _in_store(of: Wanted, prepared: LoggedData | None, experiment: str | None) -> Finished:
    """The finished trainings that count, whichever command they are of."""
    if of.asked.reuse == "never" or not prepared or not experiment:
        return {}
    any_seed = of.trainings(prepared, {variant.name: (0,) for variant in of.variants})
    return {
        one.variant.name: {
            seed: run
            for seed, run in newest_of_each_seed(with_key(one.replicates_key, experiment)).items()
            if not client.missing_artifact(run, one.kept)
        }
        for one in any_seed
    }


def _next_round(
    of: Wanted, finished: Finished, failed: Collection[str]
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
