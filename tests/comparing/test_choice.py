"""Which training runs are compared: the newest of every seed, on the data of the newest run."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compared_runs import train_run

from pipeline.base import InputError
from pipeline.comparing.choice import choose
from pipeline.comparisons import Comparison, Data
from pipeline.comparisons.twenty_layers import BN, COMPARISON, ELU
from pipeline.parameters import Prepare
from pipeline.steps.step import settings_tag
from pipeline.tracking import client
from pipeline.tracking.names import hidden
from pipeline.work.prepare import prepared
from pipeline.work.source import SOURCE_RUN


def test_the_newest_run_of_every_seed_is_compared_on_the_data_of_the_newest(store: Path) -> None:
    train_run(ELU, 1, tags={"data_fingerprint": "e" * 64})
    train_run(ELU, 1)
    newest = [train_run(BN, 2), train_run(BN, 1), train_run(ELU, 1)]
    chosen = choose(None, COMPARISON)
    assert [run.info.run_id for run in chosen] == [run.info.run_id for run in reversed(newest)]


def test_runs_whose_settings_were_given_are_not_mixed_with_those_that_had_others(
    store: Path,
) -> None:
    def run(seed: int, epochs: int) -> str:
        told = settings_tag(replace(ELU, epochs=epochs), {"epochs": epochs})
        key = {"replicates_key": f"{epochs:064}"}
        return train_run(ELU, seed, tags=told | key).info.run_id

    train_run(ELU, 4)  # from before it was recorded
    run(3, epochs=50)
    chosen = [run(1, epochs=20)]
    run(2, epochs=50)
    chosen += [run(2, epochs=20)]
    assert [one.info.run_id for one in choose(None, COMPARISON)] == chosen


def test_what_is_read_grows_with_the_runs_on_the_data_alone(
    store: Path, runs_read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "FEW", 2)
    long_ago = iter(range(1, 1000))
    chosen = [train_run(variant, seed).info.run_id for variant in (ELU, BN) for seed in (1, 2)]

    def read() -> int:
        """How many runs are read to choose, after three nights on other data and as many others."""
        for seed in range(3):
            other = {"data_fingerprint": "e" * 64}
            train_run(ELU, seed, tags=other, start_time=next(long_ago))
            train_run(ELU.derive(name="other"), seed)
        runs_read.clear()
        assert [run.info.run_id for run in choose(None, COMPARISON)] == chosen
        return len(runs_read)

    assert read() == read() == read()


def test_runs_of_another_variant_of_the_same_name_are_compared_only_where_they_are_named(
    store: Path,
) -> None:
    told = settings_tag(replace(BN, epochs=3), {"epochs": 3})
    chosen = [
        train_run(ELU, 1),  # as it is declared
        train_run(ELU, 2, tags=hidden({"settings": "{}"})),  # from before that was recorded
        train_run(BN, 1, tags=told),  # as it is declared, but for what its command said
    ]
    other = [train_run(replace(ELU, units=50), 1), train_run(replace(BN, epochs=3), 1)]
    ids = [run.info.run_id for run in chosen]
    assert [run.info.run_id for run in choose(None, COMPARISON)] == ids
    named = [run.info.run_id for run in other]
    assert [run.info.run_id for run in choose(named, COMPARISON)] == named


def test_only_runs_of_another_variant_of_the_same_name_are_nothing_to_compare(store: Path) -> None:
    train_run(replace(ELU, units=50), 1)
    with pytest.raises(InputError, match=r"elu, .*, as they are declared now"):
        choose(None, COMPARISON)


def test_runs_that_started_from_another_network_than_is_declared_now_are_not_compared(
    store: Path,
) -> None:
    taken = BN.derive(name="taken", starts_from="bn", reused_layers=20)
    begun = [train_run(BN, 1), train_run(ELU, 1), train_run(replace(BN, units=50), 1)]
    runs = [
        train_run(taken, seed, tags={SOURCE_RUN: one.info.run_id})
        for seed, one in enumerate(begun, start=1)
    ]
    chosen = choose(None, Comparison(variants=(BN, taken)))
    assert [run.info.run_id for run in chosen] == [begun[0].info.run_id, runs[0].info.run_id]


def test_a_comparison_of_some_classes_takes_runs_on_these_and_one_of_all_takes_none_of_them(
    store: Path, tiny_npz: Path
) -> None:
    of_some = Comparison(variants=(ELU, BN), data=Data(classes=(0, 1)))
    asked = Prepare(dataset=str(tiny_npz))
    runs = {
        comparison: train_run(ELU, 1, tags=prepared(asked, comparison).tags).info.run_id
        for comparison in (of_some, COMPARISON)
    }
    for comparison, run_id in runs.items():
        assert [run.info.run_id for run in choose(None, comparison)] == [run_id]
    newer = train_run(ELU, 1, tags=prepared(asked, of_some).tags).info.run_id
    assert [run.info.run_id for run in choose(None, of_some)] == [newer]
    assert [run.info.run_id for run in choose(None, COMPARISON)] == [runs[COMPARISON]]


def test_a_size_to_validate_with_may_be_given_instead_of_images_of_each_class(
    store: Path, tiny_npz: Path
) -> None:
    of_each = Comparison(variants=(ELU, BN), data=Data(val_images_per_class=10))
    for asked in (Prepare(dataset=str(tiny_npz)), Prepare(dataset=str(tiny_npz), val_size=33)):
        run = train_run(ELU, 1, tags=prepared(asked, of_each).tags)
        assert [one.info.run_id for one in choose(None, of_each)] == [run.info.run_id]


def test_all_classes_by_name_are_the_same_data_as_all_left_out(store: Path, tiny_npz: Path) -> None:
    labels = np.unique(np.load(tiny_npz)["y_train"]).tolist()
    by_name = Comparison(variants=(ELU, BN), data=Data(classes=labels))
    asked = Prepare(dataset=str(tiny_npz))
    of_all = prepared(asked, COMPARISON)
    assert prepared(asked, by_name).fingerprint == of_all.fingerprint
    run_id = train_run(ELU, 1, tags=of_all.tags).info.run_id
    for comparison in (by_name, COMPARISON):
        assert [run.info.run_id for run in choose(None, comparison)] == [run_id]


def test_what_is_no_finished_training_run_is_refused(store: Path) -> None:
    unfinished = train_run(ELU, 1, status="FAILED").info.run_id
    search = train_run(ELU, 1, tags={"step": "search"}).info.run_id
    for run_id, received in {unfinished: "train, FAILED", search: "search, FINISHED"}.items():
        with pytest.raises(InputError, match=rf"{run_id} \({received}\)"):
            choose([run_id], COMPARISON)
