"""Whether a comparison is fair: what its runs differ in besides the architecture, and who is out.

A difference that a variant is defined by, such as the batch size of `one_cycle`, is named "by
design" and not hidden; any other is flagged.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pandas as pd

from pipeline.answers.selection import selections

UNKNOWN = "not logged"
ABSENT = "Diverged, failed or interrupted"
DISTURBED = "Disturbed by other work, times left out"
SEARCHED = "searched for each"
MOST_NAMED = 6  # seeds, runs or hosts that are named one by one


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a run says of itself; `record["epochs"]` is a setting as it was used."""

    run_id: str
    name: str
    status: str = "FINISHED"
    start_time: int = 0  # in milliseconds
    variant: str = ""  # of another step than a search or a training it has none
    seed: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)  # the last value of each
    settings: Mapping[str, str] = field(default_factory=dict)  # its parameters, resolved
    # All settings of its variant as used, and those that its command line gave instead of the
    # variant's own; empty where it did not record them.
    declared: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    code: Mapping[str, str] = field(default_factory=dict)  # hashes, by module
    versions: Mapping[str, str] = field(default_factory=dict)  # by package
    # The runs that it was made from; None where they are gone.
    search: "RunRecord | None" = None
    prepare: "RunRecord | None" = None

    def __getitem__(self, setting: str) -> str:
        """Raises KeyError where the run did not record it."""
        if setting in self.declared:
            value = self.declared[setting]
            return "none" if value in (None, "") else str(value)
        chosen = self.settings.get(f"chosen_{setting}")
        return self.settings[setting] if chosen is None else chosen

    @property
    def widened(self) -> str:
        """Of a search, whether it went beyond the range that it was asked for."""
        return ", range widened" if "widened_range" in self.tags else ""


@dataclass(frozen=True)
class Fact:
    """One thing that could make a comparison unfair."""

    name: str
    # `same`, `by design`, `differs`, `searched for each`, `not logged`, `none` or how many runs.
    finding: str
    detail: str = ""  # the value, or which variants have which

    @property
    def flagged(self) -> bool:
        """Whether a reader should think of it before trusting the comparison."""
        return self.finding not in ("same", "by design", "none", SEARCHED)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A training run that did not finish and so is not compared."""

    run_id: str
    name: str
    reason: str  # `diverged`, `failed` or `interrupted`, with what is known about it
    replaced: bool  # whether an earlier, finished run of its variant and seed is compared instead

    def __str__(self) -> str:
        instead = "; an earlier run of it is compared" if self.replaced else ""
        return f"{self.name}: {self.reason}{instead}"


def left_out(chosen: Sequence[RunRecord], unfinished: Sequence[RunRecord]) -> list[LeftOut]:
    """The newest failed or interrupted run of each variant and seed, if not made up for since.

    `chosen` are compared, `unfinished` the other trainings on the same data, the newest first.
    """
    compared = {(run.variant, run.seed): run.start_time for run in chosen}
    ended = [run for run in reversed(unfinished) if run.status in ("FAILED", "KILLED")]
    newest = {(run.variant, run.seed): run for run in ended}  # the last of each
    return [
        LeftOut(run_id=run.run_id, name=run.name, reason=_reason(run), replaced=key in compared)
        for key, run in sorted(newest.items())
        if run.start_time > compared.get(key, 0)
    ]


def _reason(run: RunRecord) -> str:
    reason = run.tags.get("failure_reason", "")
    kind, _, text = reason.partition(": ")
    if kind == "DivergenceError":
        return f"diverged ({text})"
    word = "interrupted" if run.status == "KILLED" else "failed"
    return f"{word} ({reason})" if reason not in ("", "interrupted") else word


def facts(
    runs: Sequence[RunRecord], *, absent: Sequence[LeftOut], disturbed: pd.Series
) -> list[Fact]:
    """Everything that is known to differ, or not to differ, between the training runs compared.

    `absent` are not among them; which of them were `disturbed` is from `summary`.
    """

    def seeds(having: RunRecord) -> str:
        same = sorted(run.seed for run in runs if run.variant == having.variant)
        return _listed(list(map(str, same)))

    of_seeds = _compare("Seeds", seeds, runs)
    if of_seeds.finding == "differs":  # every variant has as many as its questions take
        of_seeds = replace(of_seeds, finding="by design")
    with_dropout = [run for run in runs if "mc_samples" in run.metrics]
    capped = [run.name for run in runs if is_capped(run)]
    patient = "patience had not run out, so more epochs might have helped"
    prepared = {_data(run): run.prepare.settings for run in runs if run.prepare}
    return [
        *(_compare(name, value, runs) for name, value in _OF_DATA.items()),
        *(
            _compare(name, partial(_of_its_data, of), runs)
            for name, of in selections(prepared).items()
        ),
        _learning_rates(runs),
        *(_compare(name, value, runs) for name, value in _FACTS.items()),
        *(
            _compare(name, value, runs)
            for name, (setting, value) in _OF_SOME.items()
            if any(run.declared.get(setting) for run in runs)
        ),
        of_seeds,
        _compare("MC Dropout samples", "{run.metrics[mc_samples]:.0f}", with_dropout),
        _code(runs),
        _disturbed(runs, disturbed),
        _counted("Ended at the last permitted epoch", capped, patient),
        _counted(ABSENT, [str(one) for one in absent], "not compared"),
    ]


def _data(run: RunRecord) -> str:
    return run.tags.get("data_fingerprint", "")


def _of_its_data(of: Mapping[str, str], run: RunRecord) -> str | None:
    return of.get(_data(run))


def _disturbed(runs: Sequence[RunRecord], disturbed: pd.Series) -> Fact:
    """Runs whose times are longer than their variant takes."""
    known = disturbed.dropna()
    found = [run.name for run in runs if known.get(run.run_id)]
    unknown = [run.name for run in runs if run.run_id not in known]
    if unknown and not found:
        return Fact(DISTURBED, UNKNOWN, "" if len(unknown) == len(runs) else _listed(unknown))
    return _counted(DISTURBED, found, "epochs waited for the processor, so that they took longer")


def is_capped(run: RunRecord) -> bool:
    """Whether a finished run ended at its last epoch although it was to stop early."""
    return run["patience"] != "none" and not run.metrics["stopped_early"]


# What a run has: a text to fill in, or a function.
_Value = str | Callable[[RunRecord], str | None]


def _compare(name: str, value: _Value, runs: Sequence[RunRecord]) -> Fact:
    """What some runs have in common or differ in."""
    values: dict[str, list[RunRecord]] = {}
    for run in runs:
        found = _filled(value, run) if isinstance(value, str) else value(run)
        values.setdefault(found or UNKNOWN, []).append(run)
    if not values:
        return Fact(name, "none")
    if len(values) == 1:
        (only,) = values
        return Fact(name, UNKNOWN) if only == UNKNOWN else Fact(name, "same", only)
    detail = "; ".join(f"{found}: {_named(having, runs)}" for found, having in values.items())
    is_own = isinstance(value, str) and all(
        _is_own(run, value, found) for found, having in values.items() for run in having
    )
    return Fact(name, "by design" if is_own else "differs", detail)


def _filled(text: str, run: RunRecord) -> str | None:
    """A text of `_FACTS` for a run; None where something in it was not logged."""
    if "{search" in text and "search_run" not in run.tags:
        return "no search"
    try:
        return text.format(run=run, search=run.search, prepare=run.prepare)
    except (KeyError, TypeError, AttributeError):  # or the search is gone
        return None


def _is_own(run: RunRecord, text: str, found: str) -> bool:
    """Whether what was found is what the run's variant is defined by, and was not given."""
    settings = set(re.findall(r"\[(\w+)\]", text))
    given = {*run.given, *(run.search.given if run.search else ())}
    is_declared = settings and settings <= run.declared.keys() - given
    return bool(is_declared) and found == _filled(text.replace("{search", "{run"), run)


def _named(having: Sequence[RunRecord], runs: Sequence[RunRecord]) -> str:
    """The variants of some runs, with the seeds where not all runs of a variant are among them."""
    names = []
    for variant in dict.fromkeys(run.variant for run in having):
        seeds = [str(run.seed) for run in having if run.variant == variant]
        is_part = len(seeds) < sum(run.variant == variant for run in runs)
        names.append(variant + (f" (seed {_listed(seeds)})" if is_part else ""))
    return ", ".join(names)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _counted(name: str, found: Sequence[str], meaning: str) -> Fact:
    if not found:
        return Fact(name, "none")
    return Fact(name, f"{len(found)} run{'s'[: len(found) > 1]}", f"{meaning}: {_listed(found)}")


def _code(runs: Sequence[RunRecord]) -> Fact:
    """Whether the same code ran, by the hashes of its modules."""
    names = list(dict.fromkeys(name for run in runs for name in run.code))
    changed = [name for name in names if len({run.code.get(name) for run in runs}) > 1]
    if not names:
        return Fact("Code", UNKNOWN)
    return Fact("Code", "differs" if changed else "same", ", ".join(changed or names))


def _learning_rates(runs: Sequence[RunRecord]) -> Fact:
    """The rates that were searched for every variant anew; one that was given is marked."""
    is_searched = {"search_run" in run.tags for run in runs}

    def rate(run: RunRecord) -> str | None:
        how = ["searched" if "search_run" in run.tags else "given"][: len(is_searched) - 1]
        found = _filled("{run[learning_rate]}", run)
        return ", ".join([*how, *([f"{float(found):.3g}"] if found else [])]) or None

    found = _compare("Learning rate", rate, runs)
    return replace(found, finding=SEARCHED) if is_searched == {True} else found


# As it was, and, of data from before this was logged, as it was asked for.
_SPLIT = (
    "{prepare.metrics[train_images]:,.0f} images to train with, "
    "{prepare.metrics[validation_images]:,.0f} to validate with, "
    "{prepare.metrics[test_images]:,.0f} to test with, seed {prepare[seed]}"
)
_SPLIT_ASKED = "at most {prepare[val_size]} images to validate with, seed {prepare[seed]}"
_OF_DATA: Mapping[str, _Value] = {
    "Data set": "{run.tags[dataset]}",
    "Data and split, SHA-256": "{run.tags[data_fingerprint]:.16}",
    "Split": lambda run: _filled(_SPLIT, run) or _filled(_SPLIT_ASKED, run),
}
# Where all that is filled in are settings of the variant, a difference may be by design.
_FACTS: Mapping[str, _Value] = {
    "Trials of the search": "{search[n_trials]}",
    "Epochs of a trial at most": "{search[search_epochs]}",
    "Searched range": "{search[learning_rate_min]} to {search[learning_rate_max]}",
    "Seed of the search": "{search[seed]}",
    "Trials in the end": "{search.metrics[trials]:.0f}{search.widened}",
    "Epochs at most": "{run[epochs]}",
    "Patience": "{run[patience]}",
    "Batch size": "{run[batch_size]}",
    "Dropout": "{run[dropout_rate]} {run[dropout_layers]}",
    "Optimiser and schedule": "{run[optimizer]}, {run[schedule]}",
    "Package versions": lambda run: ", ".join(map(" ".join, sorted(run.versions.items()))),
    "Host": "{run.tags[host]}",
    "Processor": "{run.tags[processor]}",
}
# The same, where a run has such a setting at all.
_OF_SOME: Mapping[str, tuple[str, str]] = {
    "Trained on, images of each class": ("images_per_class", "{run[images_per_class]}"),
    "Starts from": ("starts_from", "{run[starts_from]}"),
    "Hidden layers taken, and frozen": (
        "starts_from",
        "{run[reused_layers]}, {run[frozen_layers]}",
    ),
    "Frozen layers computed once": ("cached", "{run[cached]}"),
}
