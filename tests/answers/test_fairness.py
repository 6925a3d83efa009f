"""What the runs of a comparison differ in, and which runs are left out."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest

from pipeline.answers.fairness import ABSENT, DISTURBED, UNKNOWN, Fact, facts
from pipeline.answers.run_records import LeftOut, RunRecord, is_capped, left_out
from pipeline.comparisons import Variant
from pipeline.comparisons.transfer import CACHED, SCRATCH, UNFROZEN
from pipeline.comparisons.twenty_layers import ALPHA_DROPOUT, BN, ELU, ONE_CYCLE, SELU

FINGERPRINT = "f" * 64
VERSIONS = {"tensorflow": "2.21.0", "keras": "3.15.1"}
CODE = {"work.train": "1"}
SPLIT = RunRecord(
    run_id="data",
    name="prepare",
    settings={"val_size": "5000", "seed": "1"},
    metrics={"train_images": 3200.0, "validation_images": 800.0, "test_images": 1000.0},
)
RANGE = {"learning_rate_min": "1e-05", "learning_rate_max": "0.1"}


def trained(variant: Variant = ELU, seed: int = 1, **changes: Any) -> RunRecord:
    """A training run; its settings are the variant's, `given` ones apart."""
    given = changes.setdefault("given", {})
    declared = dataclasses.asdict(dataclasses.replace(variant, **given))
    if declared["learning_rate"] is None:  # it was searched
        del declared["learning_rate"]
    tags = {"dataset": "mnist_5k", "data_fingerprint": FINGERPRINT}
    tags |= {"host": "one", "processor": "x86_64"}
    if "search" in changes:
        tags["search_run"] = "a search"
    usual: dict[str, Any] = {
        "run_id": "a run",
        "name": f"train {variant.name} seed {seed}",
        "variant": variant.name,
        "seed": seed,
        "metrics": {"stopped_early": 1.0},
        "declared": declared,
    }
    changes["tags"] = tags | changes.get("tags", {})
    changes["versions"] = VERSIONS | changes.get("versions", {})
    changes["code"] = CODE | changes.get("code", {})
    return RunRecord(**(usual | changes))


def searched(variant: Variant = ELU, *, widened: bool = False, **changes: Any) -> RunRecord:
    given = {name: changes.pop(name) for name in ("search_epochs",) if name in changes}
    settings = {"n_trials": "12", "seed": "1", **RANGE, **changes}
    return RunRecord(
        run_id="a search",
        name="search",
        settings=settings,
        metrics={"trials": 16.0 if widened else float(settings["n_trials"])},
        declared=dataclasses.asdict(dataclasses.replace(variant, **given)),
        given=given,
        tags={"widened_range": "to 1"} if widened else {},
    )


def old(variant: Variant, seed: int = 1, **changes: Any) -> RunRecord:
    """A run of before a run recorded what its variant was."""
    settings = {
        "epochs": str(variant.epochs),
        "patience": str(variant.patience or "none"),
        "chosen_batch_size": str(variant.batch_size),
        "dropout_rate": str(variant.dropout_rate),
        "dropout_layers": variant.dropout_layers,
    }
    return trained(variant, seed, settings=settings, **changes)


def without_declaration(run: RunRecord) -> RunRecord:
    return dataclasses.replace(run, declared={}, given={})


def found(
    runs: list[RunRecord],
    absent: list[LeftOut] | None = None,
    disturbed: Mapping[str, bool | None] | None = None,
) -> dict[str, Fact]:
    by_run = {run.run_id: False for run in runs} | dict(disturbed or {})
    listed = facts(runs, absent=absent or [], disturbed=pd.Series(by_run, dtype="boolean"))
    assert len({fact.name for fact in listed}) == len(listed)
    return {fact.name: fact for fact in listed}


def test_runs_that_differ_in_their_seeds_alone_are_the_same_in_everything() -> None:
    same: dict[str, Any] = {"search": searched(), "prepare": SPLIT}
    same["settings"] = {"chosen_learning_rate": "0.001"}
    by_name = found([trained(seed=seed, **same) for seed in (1, 2)])
    assert {fact.finding for fact in by_name.values()} == {"same", "none", "searched for each"}
    assert not any(fact.flagged for fact in by_name.values())
    assert by_name["Data and split, SHA-256"].detail == FINGERPRINT[:16]
    assert by_name["Learning rate"] == Fact("Learning rate", "searched for each", "0.001")
    assert by_name["Trials of the search"].detail == "12"
    assert by_name["Epochs of a trial at most"].detail == "10"
    assert by_name["Searched range"].detail == "1e-05 to 0.1"
    assert by_name["Package versions"].detail == "keras 3.15.1, tensorflow 2.21.0"
    assert by_name["Optimiser and schedule"].detail == "nadam, constant"
    assert by_name["Seeds"].detail == "1, 2"


def test_the_split_is_what_was_held_out_or_of_old_data_what_was_asked_for() -> None:
    said = "3,200 images to train with, 800 to validate with, 1,000 to test with, seed 1"
    assert found([trained(prepare=SPLIT)])["Split"].detail == said
    before = dataclasses.replace(SPLIT, metrics={})
    asked = "at most 5000 images to validate with, seed 1"
    assert found([trained(prepare=before)])["Split"].detail == asked


def chosen(**selection: str) -> RunRecord:
    return dataclasses.replace(SPLIT, settings={**SPLIT.settings, **selection})


def test_how_images_were_chosen_is_told_where_it_is_not_the_default() -> None:
    of_default = found([trained(prepare=SPLIT)])
    digits = chosen(
        classes="(5, 6)",
        skipped_per_class="500",
        images_per_class="100",
        val_images_per_class="30",
        split="position",
        standardized="False",
        pairs="True",
    )
    by_name = found([trained(seed=seed, prepare=digits) for seed in (1, 2)])
    assert {name: by_name[name].detail for name in by_name.keys() - of_default.keys()} == {
        "Classes kept": "(5, 6)",
        "Images skipped of each class": "500",
        "Images of each class to train with": "100",
        "Images of each class to validate with": "30",
        "How images are split": "position",
        "Pixels standardised": "False",
        "Pairs of images": "True",
    }
    assert {by_name[name].finding for name in by_name.keys() - of_default.keys()} == {"same"}


def test_images_chosen_otherwise_or_nobody_knows_how_are_flagged() -> None:
    other = {"data_fingerprint": "e" * 64}
    runs = [trained(prepare=chosen(pairs="True")), trained(BN, prepare=SPLIT, tags=other)]
    fact = found(runs)["Pairs of images"]
    assert (fact.finding, fact.detail) == ("differs", "True: elu; False: bn")
    runs[1] = trained(BN, tags=other)  # what prepared it is gone
    assert found(runs)["Pairs of images"].detail == "True: elu; not logged: bn"


def test_the_same_data_may_have_been_asked_for_in_several_ways() -> None:
    runs = [trained(prepare=SPLIT), trained(BN, prepare=chosen(classes="(0, 1)")), trained(SELU)]
    assert found(runs)["Classes kept"] == Fact("Classes kept", "same", "(0, 1)")


OF_A_VARIANT = ("Batch size", "Epochs at most", "Patience", "Dropout", "Optimiser and schedule")


def test_what_a_variant_is_defined_by_is_named_by_design() -> None:
    by_name = found([trained(ELU), trained(BN), trained(ONE_CYCLE)])
    assert {by_name[name].finding for name in OF_A_VARIANT} == {"by design"}
    assert not any(by_name[name].flagged for name in OF_A_VARIANT)
    assert by_name["Batch size"].detail == "32: elu, bn; 128: one_cycle"
    assert by_name["Patience"].detail == "20: elu, bn; none: one_cycle"


def test_a_variant_that_no_list_knows_is_by_design_what_it_recorded() -> None:
    mine = SELU.derive(name="mine", batch_size=64, optimizer="sgd")
    by_name = found([trained(SELU), trained(mine)])
    assert by_name["Batch size"].finding == "by design"
    assert by_name["Optimiser and schedule"].detail == "nadam, constant: selu; sgd, constant: mine"


def test_of_a_run_that_did_not_record_its_variant_nothing_is_by_design() -> None:
    runs = [without_declaration(old(variant)) for variant in (ELU, ONE_CYCLE)]
    by_name = found(runs)
    for name in ("Batch size", "Epochs at most", "Patience", "Dropout"):
        assert (by_name[name].finding, by_name[name].flagged) == ("differs", True), name
    assert by_name["Batch size"].detail == "32: elu; 128: one_cycle"
    assert by_name["Patience"].detail == "20: elu; none: one_cycle"
    unknown = by_name["Optimiser and schedule"]
    assert (unknown.finding, unknown.detail, unknown.flagged) == ("not logged", "", True)
    assert found([runs[0], trained(ONE_CYCLE)])["Batch size"].finding == "differs"


@pytest.mark.parametrize(
    ("name", "change", "detail"),
    [
        ("Batch size", {"given": {"batch_size": 64}}, "32: elu; 64: bn"),
        ("Epochs at most", {"given": {"epochs": 10}}, "100: elu; 10: bn"),
        ("Patience", {"given": {"patience": 5}}, "20: elu; 5: bn"),
        ("Patience", {"given": {"patience": None}}, "20: elu; none: bn"),
        ("Host", {"tags": {"host": "two"}}, "one: elu; two: bn"),
        ("Processor", {"tags": {"processor": "arm64"}}, "x86_64: elu; arm64: bn"),
        (
            "Package versions",
            {"versions": {"keras": "3.16.0"}},
            "keras 3.15.1, tensorflow 2.21.0: elu; keras 3.16.0, tensorflow 2.21.0: bn",
        ),
        ("Code", {"code": {"work.train": "2"}}, "work.train"),
        ("Code", {"code": {"checkpoints": "1"}}, "checkpoints"),
    ],
)
def test_anything_else_that_differs_is_flagged(
    name: str, change: dict[str, Any], detail: str
) -> None:
    by_name = found([trained(ELU), trained(BN, **change)])
    assert (by_name[name].finding, by_name[name].flagged) == ("differs", True)
    assert by_name[name].detail == detail


def test_seeds_that_differ_are_as_many_as_the_questions_took() -> None:
    fact = found([trained(ELU), trained(ELU, seed=2), trained(BN)])["Seeds"]
    assert (fact.finding, fact.flagged, fact.detail) == ("by design", False, "1, 2: elu; 1: bn")


def test_samples_of_mc_dropout_are_those_that_were_drawn_last_and_only_where_there_is_dropout() -> (
    None
):
    name = "MC Dropout samples"
    assert found([trained(ELU)])[name].finding == "none"

    def drawn(variant: Variant, samples: float) -> RunRecord:
        return trained(variant, metrics={"stopped_early": 1.0, "mc_samples": samples})

    same = [trained(ELU), drawn(ALPHA_DROPOUT, 100.0), drawn(ONE_CYCLE, 100.0)]
    assert (found(same)[name].finding, found(same)[name].detail) == ("same", "100")
    fact = found([*same[:2], drawn(ONE_CYCLE, 1000.0)])[name]
    assert (fact.finding, fact.flagged) == ("differs", True)
    assert fact.detail == "100: alpha_dropout; 1000: one_cycle"


def test_a_difference_within_a_variant_is_flagged_with_its_seeds() -> None:
    runs = [trained(seed=seed) for seed in range(1, 10)]
    runs += [trained(seed=seed, tags={"host": "two"}) for seed in (10, 11)]
    assert found(runs)["Host"].detail == (
        "one: elu (seed 1, 2, 3, 4, 5, 6 and 3 more); two: elu (seed 10, 11)"
    )


def test_a_search_with_another_budget_and_a_widened_one_are_flagged() -> None:
    searches = [searched(), searched(n_trials="6"), searched(widened=True)]
    runs = [
        trained(variant, search=search)
        for variant, search in zip((ELU, BN, SELU), searches, strict=True)
    ]
    by_name = found(runs)
    assert by_name["Trials of the search"].detail == "12: elu, selu; 6: bn"
    assert by_name["Trials in the end"].detail == "12: elu; 6: bn; 16, range widened: selu"
    assert by_name["Trials of the search"].flagged
    assert by_name["Trials in the end"].flagged
    assert by_name["Searched range"].finding == "same"


@pytest.mark.parametrize(
    ("given_to_elu", "given_to_one_cycle", "finding"),
    [
        ({}, {}, "by design"),
        ({}, {"search_epochs": 10}, "same"),
        ({}, {"search_epochs": 6}, "differs"),
    ],
)
def test_how_long_trials_are_is_by_design_where_it_is_the_variants_own(
    given_to_elu: dict, given_to_one_cycle: dict, finding: str
) -> None:
    runs = [
        trained(variant, search=searched(variant, **given))
        for variant, given in ((ELU, given_to_elu), (ONE_CYCLE, given_to_one_cycle))
    ]
    fact = found(runs)["Epochs of a trial at most"]
    assert (fact.finding, fact.flagged) == (finding, finding == "differs")


def at_rate(variant: Variant, rate: float, **changes: Any) -> RunRecord:
    return trained(variant, settings={"chosen_learning_rate": repr(rate)}, **changes)


def test_rates_that_were_searched_for_each_variant_are_told_and_not_flagged() -> None:
    runs = [at_rate(ELU, 0.00022387, search=searched()), at_rate(BN, 0.0005, search=searched(BN))]
    assert found(runs)["Learning rate"] == Fact(
        "Learning rate", "searched for each", "0.000224: elu; 0.0005: bn"
    )
    assert not found(runs)["Learning rate"].flagged


def test_rates_that_were_given_are_the_same_or_flagged() -> None:
    assert found([at_rate(ELU, 0.001), at_rate(BN, 0.001)])["Learning rate"].finding == "same"
    assert found([at_rate(ELU, 0.001), at_rate(BN, 0.01)])["Learning rate"].flagged


def test_a_rate_that_was_given_beside_one_that_was_searched_is_flagged() -> None:
    by_name = found([at_rate(ELU, 0.001, search=searched()), trained(BN)])
    assert by_name["Learning rate"].detail == "searched, 0.001: elu; given: bn"
    assert by_name["Learning rate"].flagged
    for fact in ("Trials of the search", "Epochs of a trial at most"):  # of those that were made
        assert by_name[fact].finding == "same"


def test_what_was_not_logged_is_flagged_and_not_called_the_same() -> None:
    run = dataclasses.replace(trained(tags={"search_run": "gone"}), code={}, versions={})
    by_name = found([run])
    of_search = ("Trials of the search", "Epochs of a trial at most", "Trials in the end")
    for name in ("Code", "Package versions", "Split", *of_search):
        assert (by_name[name].finding, by_name[name].flagged) == ("not logged", True), name


def test_capped_and_absent_runs_are_counted_and_named() -> None:
    never = {"stopped_early": 0.0}
    one_cycle = trained(ONE_CYCLE, metrics=never)  # it always trains all its epochs
    gone = LeftOut(run_id="a", name="train selu seed 3", reason="interrupted", replaced=False)
    by_name = found([trained(), trained(BN, metrics=never), one_cycle], absent=[gone])
    assert by_name["Ended at the last permitted epoch"].finding == "1 run"
    assert by_name["Ended at the last permitted epoch"].detail.endswith(": train bn seed 1")
    assert by_name[ABSENT].detail == "not compared: train selu seed 3: interrupted"
    assert by_name[ABSENT].flagged
    assert not is_capped(without_declaration(old(ONE_CYCLE, metrics=never)))


def test_runs_that_other_work_disturbed_are_named_and_of_old_ones_it_is_not_known() -> None:
    runs = [trained(BN, seed, run_id=f"{seed}") for seed in (1, 2, 3)]

    def fact(*disturbed: bool | None) -> tuple[str, str, bool]:
        by_run = {run.run_id: one for run, one in zip(runs, disturbed, strict=True)}
        one = found(runs, disturbed=by_run)[DISTURBED]
        return one.finding, one.detail.rpartition(": ")[2], one.flagged

    assert fact(False, False, False) == ("none", "", False)
    assert fact(True, False, None) == ("1 run", "train bn seed 1", True)
    assert fact(False, None, False) == (UNKNOWN, "train bn seed 2", True)
    assert fact(None, None, None) == (UNKNOWN, "", True)


# Who is left out


def ended(variant: Variant, seed: int, status: str, reason: str = "", *, at: int = 2) -> RunRecord:
    tags = {"failure_reason": reason} if reason else {}
    return trained(variant, seed, status=status, start_time=at, tags=tags)


def test_failed_and_interrupted_runs_are_left_out_with_their_reasons() -> None:
    unfinished = [
        ended(SELU, 1, "FAILED", "OSError: disk full"),
        ended(BN, 3, "KILLED", "interrupted"),
        ended(BN, 2, "FAILED", "DivergenceError: loss is nan in epoch 3"),
        ended(BN, 4, "RUNNING"),
    ]
    assert [str(one) for one in left_out([trained(ELU)], unfinished)] == [
        "train bn seed 2: diverged (loss is nan in epoch 3)",
        "train bn seed 3: interrupted",
        "train selu seed 1: failed (OSError: disk full)",
    ]


def test_of_a_variant_and_seed_the_newest_failure_counts() -> None:
    unfinished = [ended(BN, 1, "KILLED", at=3), ended(BN, 1, "FAILED", "OSError: x", at=2)]
    assert [str(one) for one in left_out([], unfinished)] == ["train bn seed 1: interrupted"]


def test_a_failure_that_a_later_run_made_up_for_is_not_left_out() -> None:
    assert left_out([trained(ELU, start_time=3)], [ended(ELU, 1, "FAILED", at=2)]) == []


def test_a_failure_after_a_finished_run_says_that_the_earlier_one_is_compared() -> None:
    (one,) = left_out([trained(ELU, start_time=1)], [ended(ELU, 1, "KILLED", at=2)])
    assert str(one) == "train elu seed 1: interrupted; an earlier run of it is compared"


OF_A_SOURCE = {
    "Starts from": "none: scratch; digits_bn: transfer_unfrozen, transfer_cached",
    "Hidden layers taken, and frozen": "0, 0: scratch; 4, 0: transfer_unfrozen; 5, 5: "
    "transfer_cached",
    "Frozen layers computed once": "False: scratch, transfer_unfrozen; True: transfer_cached",
}


def test_what_a_variant_starts_from_is_by_design_and_not_a_fact_where_none_does() -> None:
    by_name = found([trained(SCRATCH), trained(UNFROZEN), trained(CACHED)])
    assert {name: by_name[name].detail for name in OF_A_SOURCE} == OF_A_SOURCE
    assert {by_name[name].finding for name in OF_A_SOURCE} == {"by design"}
    assert by_name["Trained on, images of each class"] == Fact(
        "Trained on, images of each class", "same", "100"
    )
    others = found([trained(ELU), trained(BN)])
    assert not {*OF_A_SOURCE, "Trained on, images of each class"} & others.keys()
