"""Whether a comparison is fair: what its runs differ in besides the architecture, and who is out.

A difference that a variant is defined by, such as the batch size of `one_cycle`, is named "by
design" and not hidden; any other is flagged.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mlflow.entities import Run

from pipeline.comparisons.variants import VARIANTS, Variant
from pipeline.steps.keys import recorded_inputs, resolved_parameters
from pipeline.tracking import client

UNKNOWN = "not logged"
ABSENT = "Diverged, failed or interrupted"
MOST_NAMED = 6  # seeds, runs or hosts that are named one by one


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One thing that could make a comparison unfair.

    Args:
        name: what it is.
        finding: ``same``, ``by design``, ``differs``, ``not logged``, ``none`` or how many runs.
        detail: the value, or which variants have which.
        flagged: whether a reader should think of it before trusting the comparison.
    """

    name: str
    finding: str
    detail: str
    flagged: bool


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A training run that did not finish and so is not compared.

    Args:
        run_id: the run.
        name: what it is called.
        reason: ``diverged``, ``failed`` or ``interrupted``, with what is known about it.
        replaced: whether an earlier, finished run of its variant and seed is compared instead.
    """

    run_id: str
    name: str
    reason: str
    replaced: bool

    def __str__(self) -> str:
        instead = "; an earlier run of it is compared" if self.replaced else ""
        return f"{self.name}: {self.reason}{instead}"


def left_out(chosen: Sequence[Run]) -> list[LeftOut]:
    """The runs on the same data that failed or were interrupted and were not made up for since.

    Args:
        chosen: the finished training runs that are compared.

    Returns:
        The newest run of each variant and seed, where it is FAILED or KILLED.
    """
    compared = {_variant_and_seed(run): run.info.start_time for run in chosen}
    fingerprint = chosen[0].data.tags["data_fingerprint"]
    query = (
        f"tags.step = 'train' and tags.data_fingerprint = '{fingerprint}' "
        "and attributes.status != 'FINISHED'"
    )
    newest: dict[tuple[str, str], Run] = {}
    for run in client.search_runs(chosen[0].info.experiment_id, query):
        if run.info.status in ("FAILED", "KILLED") and "seed" in run.data.params:
            newest.setdefault(_variant_and_seed(run), run)
    return [
        LeftOut(
            run_id=run.info.run_id,
            name=run.info.run_name,
            reason=_reason(run),
            replaced=key in compared,
        )
        for key, run in sorted(newest.items())
        if run.info.start_time > compared.get(key, 0)
    ]


def _variant_and_seed(run: Run) -> tuple[str, str]:
    return run.data.params["variant"], run.data.params["seed"]


def _reason(run: Run) -> str:
    reason = run.data.tags.get("failure_reason", "")
    kind, _, text = reason.partition(": ")
    if kind == "DivergenceError":
        return f"diverged ({text})"
    word = "interrupted" if run.info.status == "KILLED" else "failed"
    return f"{word} ({reason})" if reason not in ("", "interrupted") else word


def facts(
    runs: Sequence[Run],
    *,
    searches: Mapping[str, Run],
    prepares: Mapping[str, Run],
    absent: Sequence[LeftOut],
) -> list[Fact]:
    """Everything that is known to differ, or not to differ, between the runs of a comparison.

    Args:
        runs: the training runs compared.
        searches: the runs of their learning-rate searches, by id.
        prepares: the runs that prepared their data, by id.
        absent: the runs that are left out.
    """

    def fact(
        name: str,
        value: Callable[[Run], str | None],
        own: Callable[[Variant], str] | None = None,
    ) -> Fact:
        return _compare(name, runs, value, own)

    def searched(name: str, text: str, own: Callable[[Variant], str] | None = None) -> Fact:
        return fact(name, lambda run: _of_search(run, searches, text), own)

    def split(run: Run) -> str | None:
        prepare = prepares.get(run.data.tags.get("prepare_run", ""))
        return _filled(prepare, "val_size {val_size}, seed {seed}")

    return [
        fact("Data set", lambda run: run.data.tags.get("dataset")),
        fact(
            "Data and split, SHA-256",
            lambda run: run.data.tags["data_fingerprint"][:16],
        ),
        fact("Split", split),
        _seeds(runs),
        fact("Learning rate", _source_of_rate),
        searched("Trials of the search", "{n_trials}"),
        searched(
            "Epochs of a trial at most",
            "{search_epochs}",
            lambda variant: str(variant.search_epochs),
        ),
        searched("Searched range", "{learning_rate_min} to {learning_rate_max}"),
        searched("Seed of the search", "{seed}"),
        fact("Trials in the end", lambda run: _trials(run, searches)),
        fact("Epochs at most", _parameter("epochs"), lambda variant: str(variant.epochs)),
        fact("Patience", _parameter("patience"), lambda variant: str(variant.patience or "none")),
        fact(
            "Batch size",
            _parameter("chosen_batch_size"),
            lambda variant: str(variant.batch_size),
        ),
        fact("Dropout", lambda run: _filled(run, "{dropout_rate} {dropout_layers}"), _dropout),
        fact("Optimiser and schedule", _optimizer, _optimizer_of),
        _mc_samples(runs),
        fact("Package versions", _versions),
        _code(runs),
        fact("Host", lambda run: run.data.tags.get("host")),
        fact("Processor", lambda run: run.data.tags.get("processor")),
        _capped(runs),
        _absent(absent),
    ]


def _compare(
    name: str,
    runs: Sequence[Run],
    value: Callable[[Run], str | None],
    own: Callable[[Variant], str] | None,
) -> Fact:
    values: dict[str, list[Run]] = {}
    for run in runs:
        values.setdefault(value(run) or UNKNOWN, []).append(run)
    if len(values) == 1:
        (only,) = values
        unknown = only == UNKNOWN
        finding = UNKNOWN if unknown else "same"
        return Fact(name=name, finding=finding, detail="" if unknown else only, flagged=unknown)
    by_design = own is not None and all(
        VARIANTS.get(run.data.params["variant"]) is not None
        and text == own(VARIANTS[run.data.params["variant"]])
        for text, having in values.items()
        for run in having
    )
    detail = "; ".join(f"{text}: {_named(having, runs)}" for text, having in values.items())
    finding = "by design" if by_design else "differs"
    return Fact(name=name, finding=finding, detail=detail, flagged=not by_design)


def _named(having: Sequence[Run], runs: Sequence[Run]) -> str:
    """The variants of some runs, with the seeds where not all runs of a variant are among them."""
    names = []
    for variant in dict.fromkeys(run.data.params["variant"] for run in having):
        seeds = [run.data.params["seed"] for run in having if run.data.params["variant"] == variant]
        of_all = sum(run.data.params["variant"] == variant for run in runs)
        partly = f" (seed {_listed(seeds)})" if len(seeds) < of_all else ""
        names.append(f"{variant}{partly}")
    return ", ".join(names)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _seeds(runs: Sequence[Run]) -> Fact:
    by_variant: dict[str, list[int]] = {}
    for run in runs:
        by_variant.setdefault(run.data.params["variant"], []).append(int(run.data.params["seed"]))
    having: dict[str, list[str]] = {}
    for variant, seeds in by_variant.items():
        having.setdefault(_listed([str(seed) for seed in sorted(seeds)]), []).append(variant)
    if len(having) == 1:
        return Fact(name="Seeds", finding="same", detail=next(iter(having)), flagged=False)
    detail = "; ".join(f"{seeds}: {', '.join(variants)}" for seeds, variants in having.items())
    return Fact(name="Seeds", finding="differs", detail=detail, flagged=True)


def _capped(runs: Sequence[Run]) -> Fact:
    capped = [run.info.run_name for run in runs if is_capped(run)]
    return _counted(
        "Ended at the last permitted epoch",
        capped,
        "patience had not run out, so more epochs might have helped",
    )


def _absent(absent: Sequence[LeftOut]) -> Fact:
    return _counted(ABSENT, [str(one) for one in absent], "not compared")


def _counted(name: str, found: Sequence[str], meaning: str) -> Fact:
    if not found:
        return Fact(name=name, finding="none", detail="", flagged=False)
    finding = f"{len(found)} run" + ("s" if len(found) > 1 else "")
    return Fact(name=name, finding=finding, detail=f"{meaning}: {_listed(found)}", flagged=True)


def is_capped(run: Run) -> bool:
    """Whether a finished run ended at its last epoch although it was to stop early."""
    return resolved_parameters(run)["patience"] != "none" and not run.data.metrics["stopped_early"]


def _mc_samples(runs: Sequence[Run]) -> Fact:
    """By the metric, since the entry point may have done MC Dropout anew on a finished run."""
    with_dropout = [run for run in runs if "mc_samples" in run.data.metrics]
    if not with_dropout:
        return Fact(name="MC Dropout samples", finding="none", detail="", flagged=False)
    return _compare(
        "MC Dropout samples",
        with_dropout,
        lambda run: f"{run.data.metrics['mc_samples']:.0f}",
        own=None,
    )


def _parameter(name: str) -> Callable[[Run], str | None]:
    return lambda run: resolved_parameters(run).get(name)


def _filled(run: Run | None, text: str) -> str | None:
    """A text with the parameters of a run filled in; None where it lacks one."""
    try:
        return text.format(**resolved_parameters(run)) if run else None
    except KeyError:
        return None


def _source_of_rate(run: Run) -> str:
    return "searched for its variant" if "search_run" in run.data.tags else "given"


def _of_search(run: Run, searches: Mapping[str, Run], text: str) -> str | None:
    if "search_run" not in run.data.tags:
        return "no search"
    return _filled(searches.get(run.data.tags["search_run"]), text)


def _trials(run: Run, searches: Mapping[str, Run]) -> str | None:
    if "search_run" not in run.data.tags:
        return "no search"
    search = searches.get(run.data.tags["search_run"])
    if search is None or "trials" not in search.data.metrics:
        return None
    widened = ", range widened" if "widened_range" in search.data.tags else ""
    return f"{search.data.metrics['trials']:.0f}{widened}"


def _dropout(variant: Variant) -> str:
    return f"{variant.dropout_rate} {variant.dropout_layers}"


def _optimizer(run: Run) -> str | None:
    variant = VARIANTS.get(run.data.params["variant"])
    return _optimizer_of(variant) if variant else None


def _optimizer_of(variant: Variant) -> str:
    return f"{variant.optimizer}, {variant.schedule.replace('_', ' ')}"


def _versions(run: Run) -> str:
    found = recorded_inputs(run.data.tags, "version of ")
    return ", ".join(f"{name} {version}" for name, version in sorted(found.items()))


def _code(runs: Sequence[Run]) -> Fact:
    """Whether the same code ran, by the hashes of its modules."""
    hashes = [recorded_inputs(run.data.tags, "code of pipeline.") for run in runs]
    names = list(dict.fromkeys(name for found in hashes for name in found))
    changed = [name for name in names if len({found.get(name) for found in hashes}) > 1]
    if not names:
        return Fact(name="Code", finding=UNKNOWN, detail="", flagged=True)
    finding, modules = ("differs", changed) if changed else ("same", names)
    return Fact(name="Code", finding=finding, detail=", ".join(modules), flagged=bool(changed))
