"""Whether a comparison is fair: what its runs differ in besides the architecture, and who is out.

A difference that a variant is defined by, such as the batch size of `one_cycle`, is named "by
design" and not hidden; any other is flagged.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pandas as pd

from pipeline.answers.run_records import LeftOut, RunRecord, is_capped
from pipeline.answers.selection import selections

UNKNOWN = "not logged"
ABSENT = "Diverged, failed or interrupted"
DISTURBED = "Disturbed by other work, times left out"
SEARCHED = "searched for each"
MOST_NAMED = 6  # seeds, runs or hosts that are named one by one


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
    searched = [run for run in runs if "search_run" in run.tags]
    return [
        *(_compare(name, value, runs) for name, value in _OF_DATA.items()),
        *(
            _compare(name, partial(_of_its_data, of), runs)
            for name, of in selections(prepared).items()
        ),
        _learning_rates(runs),
        *(
            # Whose rate is by design has no search; that it differs is said of the rate.
            _compare(name, value, searched if "{search" in str(value) else runs)
            for name, value in _FACTS.items()
        ),
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
        *(_counted(name, found, meaning) for name, meaning, found in _unusual(runs) if found),
        _counted(ABSENT, [str(one) for one in absent], "not compared"),
    ]


def _unusual(runs: Sequence[RunRecord]) -> Iterator[tuple[str, str, Sequence[str]]]:
    """What few runs have, what it means, and which runs have it."""
    flattered = [run.name for run in runs if run.declared.get("validated_on") == "test"]
    meaning = "so what they come to on the test set is too good"
    yield "The test set chose the epoch", meaning, flattered
    diverged = [run.name for run in runs if run.metrics.get("diverged")]
    yield "Diverged, judged by earlier weights", "which was expected", diverged


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
    """The rates that were searched for every variant anew; others are marked."""
    trained = [run for run in runs if run.metrics.get("epochs_run") != 0]
    sources = {_source_of_rate(run) for run in trained}

    def rate(run: RunRecord) -> str | None:
        how = [_source_of_rate(run)][: len(sources) - 1]
        found = _filled("{run[learning_rate]}", run)
        return ", ".join([*how, *([f"{float(found):.3g}"] if found else [])]) or None

    found = _compare("Learning rate", rate, trained)
    if sources == {"searched"}:
        return replace(found, finding=SEARCHED)
    is_own = all(_source_of_rate(run) != "given" or _has_own_rate(run) for run in trained)
    return replace(found, finding="by design") if is_own and trained else found


def _has_own_rate(run: RunRecord) -> bool:
    return run.declared.get("learning_rate") is not None and "learning_rate" not in run.given


def _source_of_rate(run: RunRecord) -> str:
    if other := run.declared.get("learning_rate_of"):
        return f"that of {other}"
    return "searched" if "search_run" in run.tags else "given"


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
