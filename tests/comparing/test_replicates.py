"""Finished trainings that differ in their seed alone."""

from pathlib import Path

from compared_runs import train_run

from pipeline.comparing.replicates import newest_of_each_seed, with_key
from pipeline.comparisons.twenty_layers import ELU
from pipeline.tracking import client

KEY = {"replicates_key": "a" * 64}


def test_the_newest_finished_run_of_every_seed_counts_whichever_seed_it_is(store: Path) -> None:
    train_run(ELU, 7, tags=KEY, start_time=1)
    of_seed = {seed: train_run(ELU, seed, tags=KEY).info.run_id for seed in (7, 1000, 2)}
    train_run(ELU, 3, tags={"replicates_key": "b" * 64})
    train_run(ELU, 4)
    for status in ("FAILED", "KILLED", "RUNNING"):
        train_run(ELU, 5, tags=KEY, status=status)
    deleted = train_run(ELU, 6, tags=KEY).info.run_id
    client.connect().delete_run(deleted)
    found = newest_of_each_seed(with_key("a" * 64, "0"))
    assert {seed: run.info.run_id for seed, run in found.items()} == of_seed
    assert list(found) == [2, 7, 1000]
