"""Replicates: finished training runs that differ in their seed alone, from whichever night."""

from collections.abc import Iterable, Iterator

from pipeline.tracking import client


def with_key(key: str, experiment: str) -> Iterator[client.Run]:
    """The finished runs with a `Step.replicates_key`, newest first."""
    return client.finished_runs("train", experiment, f"tags.replicates_key = '{key}'")


def newest_of_each_seed(newest_first: Iterable[client.Run]) -> dict[int, client.Run]:
    """One run of each seed, in the order of seeds."""
    found: dict[int, client.Run] = {}
    for run in newest_first:
        found.setdefault(int(run.data.params["seed"]), run)
    return dict(sorted(found.items()))
