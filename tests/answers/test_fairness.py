"""What the runs of a comparison differ in, and which runs are left out."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Metric, Param, RunTag
from pipeline.comparisons.variants import VARIANTS

from pipeline.answers.fairness import ABSENT, Fact, LeftOut, facts, left_out
from pipeline.tracking import client

FINGERPRINT = "f" * 64
VERSIONS = {"version of tensorflow": "2.21.0", "version of keras": "3.15.1"}


def train_run(
    variant: str = "elu",
    seed: int = 1,
    *,
    status: str = "FINISHED",
    parameters: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
    inputs: dict[str, str] | None = None,
    stopped_early: float = 1.0,
) -> client.Run:
    """A training run as the `train` entry point leaves it, without the training."""
    own = VARIANTS[variant]
    values = {
        "variant": variant,
        "seed": seed,
        "epochs": own.epochs,
        "patience": own.patience or "none",
        "chosen_batch_size": own.batch_size,
        "dropout_rate": own.dropout_rate,
        "dropout_layers": own.dropout_layers,
        "mc_samples": 100,
    }
    of_step = {"code of pipeline.train": "1", **VERSIONS, **(inputs or {})}
    texts = {
        "step": "train",
        "dataset": "mnist_5k",
        "data_fingerprint": FINGERPRINT,
        "host": "one",
        "processor": "x86_64",
        "step_inputs": json.dumps(of_step),
    }
    connection = client.connect()
    run_id = connection.create_run("0", run_name=f"train {variant} seed {seed}").info.run_id
    connection.log_batch(
        run_id,
        metrics=[Metric("stopped_early", stopped_early, 0, 0)],
        params=[Param(name, str(value)) for name, value in (values | (parameters or {})).items()],
        tags=[RunTag(name, text) for name, text in (texts | (tags or {})).items()],
    )
    connection.set_terminated(run_id, status)
    return client.get_run(run_id)


def search_run(widened: bool = False, **changes: Any) -> client.Run:
    values = {
        "n_trials": 12,
        "search_epochs": 10,
        "learning_rate_min": 1e-05,
        "learning_rate_max": 0.1,
        "seed": 1,
        **changes,
    }
    connection = client.connect()
    run_id = connection.create_run("0").info.run_id
    connection.log_batch(
        run_id,
        metrics=[Metric("trials", 16 if widened else values["n_trials"], 0, 0)],
        params=[Param(name, str(value)) for name, value in values.items()],
        tags=[RunTag("widened_range", "to 1")] if widened else [],
    )
    return client.get_run(run_id)


def found(
    runs: list[client.Run],
    *,
    searches: dict[str, client.Run] | None = None,
    prepares: dict[str, client.Run] | None = None,
    absent: list[LeftOut] | None = None,
) -> dict[str, Fact]:
    listed = facts(runs, searches=searches or {}, prepares=prepares or {}, absent=absent or [])
    assert len({fact.name for fact in listed}) == len(listed)
    return {fact.name: fact for fact in listed}


def test_runs_that_differ_in_their_seeds_alone_are_the_same_in_everything(store: Path) -> None:
    search = search_run()
    prepare = search_run(val_size=5000)
    tags = {"search_run": search.info.run_id, "prepare_run": prepare.info.run_id}
    by_name = found(
        [train_run(seed=seed, tags=tags) for seed in (1, 2)],
        searches={search.info.run_id: search},
        prepares={prepare.info.run_id: prepare},
    )
    assert {fact.finding for fact in by_name.values()} == {"same", "none"}
    assert not any(fact.flagged for fact in by_name.values())
    assert by_name["Data and split, SHA-256"].detail == FINGERPRINT[:16]
    assert by_name["Split"].detail == "val_size 5000, seed 1"
    assert by_name["Trials of the search"].detail == "12"
    assert by_name["Epochs of a trial at most"].detail == "10"
    assert by_name["Searched range"].detail == "1e-05 to 0.1"
    assert by_name["Package versions"].detail == "keras 3.15.1, tensorflow 2.21.0"
    assert by_name["Seeds"].detail == "1, 2"


def test_what_a_variant_is_defined_by_is_named_by_design(store: Path) -> None:
    by_name = found([train_run("elu"), train_run("bn"), train_run("one_cycle")])
    names = ("Batch size", "Epochs at most", "Patience", "Dropout", "Optimiser and schedule")
    assert {by_name[name].finding for name in names} == {"by design"}
    assert not any(by_name[name].flagged for name in names)
    assert by_name["Batch size"].detail == "32: elu, bn; 128: one_cycle"
    assert by_name["Patience"].detail == "20: elu, bn; none: one_cycle"


@pytest.mark.parametrize(
    ("name", "change", "detail"),
    [
        ("Batch size", {"parameters": {"chosen_batch_size": 64}}, "32: elu; 64: bn"),
        ("Epochs at most", {"parameters": {"epochs": 10}}, "100: elu; 10: bn"),
        ("Patience", {"parameters": {"patience": 5}}, "20: elu; 5: bn"),
        ("Host", {"tags": {"host": "two"}}, "one: elu; two: bn"),
        ("Processor", {"tags": {"processor": "arm64"}}, "x86_64: elu; arm64: bn"),
        (
            "Package versions",
            {"inputs": {"version of keras": "3.16.0"}},
            "keras 3.15.1, tensorflow 2.21.0: elu; keras 3.16.0, tensorflow 2.21.0: bn",
        ),
        ("Code", {"inputs": {"code of pipeline.train": "2"}}, "train"),
        ("Code", {"inputs": {"code of pipeline.checkpoints": "1"}}, "checkpoints"),
        ("Seeds", {"seed": 2}, "1: elu; 2: bn"),
    ],
)
def test_anything_else_that_differs_is_flagged(
    store: Path, name: str, change: dict[str, Any], detail: str
) -> None:
    by_name = found([train_run("elu"), train_run("bn", **change)])
    assert (by_name[name].finding, by_name[name].flagged) == ("differs", True)
    assert by_name[name].detail == detail


def test_samples_of_mc_dropout_are_those_that_were_drawn_last_and_only_where_there_is_dropout(
    store: Path,
) -> None:
    runs = [train_run("elu"), train_run("alpha_dropout"), train_run("one_cycle")]
    assert found(runs)["MC Dropout samples"].finding == "none"
    for run in runs[1:]:
        client.connect().log_metric(run.info.run_id, "mc_samples", 100)
    again = [client.get_run(run.info.run_id) for run in runs]
    assert found(again)["MC Dropout samples"].detail == "100"
    client.connect().log_metric(runs[2].info.run_id, "mc_samples", 1000)
    again = [client.get_run(run.info.run_id) for run in runs]
    fact = found(again)["MC Dropout samples"]
    assert (fact.finding, fact.flagged) == ("differs", True)
    assert fact.detail == "100: alpha_dropout; 1000: one_cycle"


def test_a_difference_within_a_variant_is_flagged_with_its_seeds(store: Path) -> None:
    runs = [train_run(seed=seed) for seed in range(1, 10)]
    runs += [train_run(seed=seed, tags={"host": "two"}) for seed in (10, 11)]
    assert found(runs)["Host"].detail == (
        "one: elu (seed 1, 2, 3, 4, 5, 6 and 3 more); two: elu (seed 10, 11)"
    )


def test_a_search_with_another_budget_and_a_widened_one_are_flagged(store: Path) -> None:
    searches = [search_run(), search_run(n_trials=6), search_run(widened=True)]
    runs = [
        train_run(variant, tags={"search_run": search.info.run_id})
        for variant, search in zip(("elu", "bn", "selu"), searches, strict=True)
    ]
    by_name = found(runs, searches={search.info.run_id: search for search in searches})
    assert by_name["Trials of the search"].detail == "12: elu, selu; 6: bn"
    assert by_name["Trials in the end"].detail == "12: elu; 6: bn; 16, range widened: selu"
    assert by_name["Trials of the search"].flagged
    assert by_name["Trials in the end"].flagged
    assert by_name["Searched range"].finding == "same"


@pytest.mark.parametrize(
    ("epochs_of_elu", "epochs_of_one_cycle", "finding"),
    [(10, 5, "by design"), (10, 10, "same"), (5, 10, "differs"), (10, 6, "differs")],
)
def test_how_long_trials_are_is_by_design_where_it_is_the_variants_own(
    store: Path, epochs_of_elu: int, epochs_of_one_cycle: int, finding: str
) -> None:
    epochs = {"elu": epochs_of_elu, "one_cycle": epochs_of_one_cycle}
    searches = {variant: search_run(search_epochs=most) for variant, most in epochs.items()}
    by_name = found(
        [
            train_run(variant, tags={"search_run": search.info.run_id})
            for variant, search in searches.items()
        ],
        searches={search.info.run_id: search for search in searches.values()},
    )
    fact = by_name["Epochs of a trial at most"]
    assert (fact.finding, fact.flagged) == (finding, finding == "differs")


def test_a_rate_that_was_given_beside_one_that_was_searched_is_flagged(store: Path) -> None:
    search = search_run()
    runs = [train_run("elu", tags={"search_run": search.info.run_id}), train_run("bn")]
    by_name = found(runs, searches={search.info.run_id: search})
    assert by_name["Learning rate"].detail == "searched for its variant: elu; given: bn"
    assert by_name["Trials of the search"].detail == "12: elu; no search: bn"
    assert by_name["Epochs of a trial at most"].detail == "10: elu; no search: bn"
    assert by_name["Epochs of a trial at most"].flagged


def test_what_was_not_logged_is_flagged_and_not_called_the_same(store: Path) -> None:
    by_name = found([train_run(tags={"step_inputs": '{"cut off', "search_run": "gone"})])
    of_search = ("Trials of the search", "Epochs of a trial at most", "Trials in the end")
    for name in ("Code", "Package versions", "Split", *of_search):
        assert (by_name[name].finding, by_name[name].flagged) == ("not logged", True), name


def test_capped_and_absent_runs_are_counted_and_named(store: Path) -> None:
    capped = train_run("bn", stopped_early=0.0)
    one_cycle = train_run("one_cycle", stopped_early=0.0)  # it always trains all its epochs
    gone = LeftOut(run_id="a", name="train selu seed 3", reason="interrupted", replaced=False)
    by_name = found([train_run(), capped, one_cycle], absent=[gone])
    assert by_name["Ended at the last permitted epoch"].finding == "1 run"
    assert by_name["Ended at the last permitted epoch"].detail.endswith(": train bn seed 1")
    assert by_name[ABSENT].detail == "not compared: train selu seed 3: interrupted"
    assert by_name[ABSENT].flagged


def test_failed_and_interrupted_runs_are_left_out_with_their_reasons(store: Path) -> None:
    chosen = [train_run("elu")]
    diverged = {"failure_reason": "DivergenceError: loss is nan in epoch 3"}
    train_run("bn", 2, status="FAILED", tags=diverged)
    train_run("bn", 3, status="KILLED", tags={"failure_reason": "interrupted"})
    train_run("selu", 1, status="FAILED", tags={"failure_reason": "OSError: disk full"})
    assert [str(one) for one in left_out(chosen)] == [
        "train bn seed 2: diverged (loss is nan in epoch 3)",
        "train bn seed 3: interrupted",
        "train selu seed 1: failed (OSError: disk full)",
    ]


def test_a_failure_that_a_later_run_made_up_for_is_not_left_out(store: Path) -> None:
    train_run("elu", status="FAILED")
    assert left_out([train_run("elu")]) == []


def test_a_failure_after_a_finished_run_says_that_the_earlier_one_is_compared(
    store: Path,
) -> None:
    chosen = [train_run("elu")]
    train_run("elu", status="KILLED")
    (one,) = left_out(chosen)
    assert str(one) == "train elu seed 1: interrupted; an earlier run of it is compared"


def test_failures_on_other_data_of_other_steps_and_unfinished_runs_are_not_listed(
    store: Path,
) -> None:
    chosen = [train_run("elu")]
    train_run("bn", status="FAILED", tags={"data_fingerprint": "other"})
    train_run("bn", status="FAILED", tags={"step": "search"})
    train_run("bn", status="RUNNING")
    assert left_out(chosen) == []
