"""Rounds of seeds: which trainings they have, when there are no more, and what is said of them."""

import json
import re
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.entities import Metric, Param
from small_transfer import TRANSFER
from step_runs import finish, opened

from pipeline.comparing import evidence, outlook, plan, rounds
from pipeline.comparing.comparison import DecidedSteps, Wanted, decided, wanted
from pipeline.parameters import Main
from pipeline.tracking import client
from pipeline.work.graph import DataSets, data_sets
from pipeline.work.prepare import prepared
from pipeline.work.train import TrainStep
from pipeline.work.variant_step import VariantStep

MEANS = {"elu": 0.5, "bn": 0.8, "selu": 0.51, "alpha_dropout": 0.5, "scratch": 0.5, "frozen": 0.5}
Accuracy = Callable[[TrainStep], float]


def accuracy(step: TrainStep) -> float:
    """A point around its variant's mean: bn is better than elu, selu cannot be told from it."""
    return MEANS[step.variant.name] + (0.01 if step.seed % 2 else -0.01)


@pytest.fixture(autouse=True)
def without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run counts without them: no network is trained."""
    monkeypatch.setattr(TrainStep, "kept", ())


@pytest.fixture
def data(store: Path, tiny_npz: Path) -> DataSets:
    of = asked(dataset=str(tiny_npz))
    return dict.fromkeys((of.data, asked().data), prepared(of.asked, of.comparison))


def location(data: DataSets) -> str:
    return next(iter(data.values())).location


def asked(**changes: Any) -> Wanted:
    usual = {"variants": "elu,bn,selu", "learning_rate": "0.001", "jobs": "2", "max_seeds": "5"}
    return wanted(Main(**{**usual, **changes}))


def trained(step: TrainStep, test_accuracy: float, *, epoch_seconds: float = 1.0) -> client.Run:
    """A finished run of a step that came to a test accuracy."""
    accuracies = dict.fromkeys(("best_val_accuracy", "test_accuracy"), test_accuracy)
    losses = dict.fromkeys(("best_val_loss", "val_loss"), 1.0)
    epochs = {"best_epoch": 1, "epochs_run": 1, "stopped_early": 1}
    seconds = {"train_seconds": 0, "elapsed_seconds": 0, "median_epoch_seconds": epoch_seconds}
    metrics = accuracies | losses | epochs | seconds
    parameters = {**step.parameters(), **step.logged(), "chosen_learning_rate": 0.001}
    tags = {"step": "train", "step_key": step.key, "step_inputs": json.dumps(step.inputs)}
    connection, now = client.connect(), int(1000 * time.time())
    tags |= step.tags()
    run_id = connection.create_run("0", now, run_name=step.name, tags=tags).info.run_id
    connection.log_batch(
        run_id,
        metrics=[Metric(name, float(value), 0, 1) for name, value in metrics.items()],
        params=[Param(name, str(value)) for name, value in parameters.items()],
    )
    connection.set_terminated(run_id, end_time=now)
    return client.get_run(run_id)


class Crew:
    """Workers to whom a training is its accuracy; `rounds` has the names that each round ran."""

    def __init__(
        self,
        accuracy: Accuracy = accuracy,
        *,
        diverging: Collection[str] = (),
        interrupted_at: str = "",
        epoch_seconds: float = 1.0,
    ):
        self.rounds: list[list[str]] = []
        self._accuracy, self._epoch_seconds = accuracy, epoch_seconds
        self._diverging, self._interrupted_at = diverging, interrupted_at

    def run(
        self, steps: DecidedSteps
    ) -> tuple[dict[VariantStep, client.Run], dict[VariantStep, str]]:
        self.rounds.append([one.name.removeprefix("train ") for one in steps.missing])
        assert len(self.rounds) < 15, "there is no end to it"
        runs, errors = dict[VariantStep, client.Run](), dict[VariantStep, str]()
        for one in steps.missing:
            if one.name.endswith(self._interrupted_at or "never"):
                raise KeyboardInterrupt
            if one.name in self._diverging:
                errors[one] = "DivergenceError: loss is nan"
            else:
                runs[one] = trained(one, self._accuracy(one), epoch_seconds=self._epoch_seconds)
        return runs, errors


def run(of: Wanted, data: DataSets, crew: Crew) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """The tags of the run of `main`, and the failures, when no more seeds are trained."""
    main_run = opened("main")
    steps = decided(of, data, main_run.experiment)
    _, failures = rounds._trained(main_run, of, data, crew, steps)  # type: ignore[arg-type]
    return client.get_run(main_run.run_id).data.tags, failures


def first(*variants: str, seeds: Collection[int] = (1, 2, 3)) -> list[str]:
    return [f"{variant} seed {seed}" for variant in variants for seed in seeds]


# --- Rounds ------------------------------------------------------------------------------------


def test_seeds_are_added_to_what_is_undecided_until_there_are_no_more(
    data: DataSets, capsys: pytest.CaptureFixture[str]
) -> None:
    tags, failures = run(asked(), data, crew := Crew())
    assert crew.rounds == [
        first("elu", "bn", "selu"),
        ["elu seed 4", "selu seed 4"],
        ["elu seed 5", "selu seed 5"],
    ]
    assert failures == {}
    assert tags["rounds"] == "3"
    assert tags["rounds_ended"].startswith("max_seeds=5 is reached; `selu` against `elu` is und")
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    whole = printed.replace("\n  ", " ").splitlines()  # sentences are broken at 80 columns
    said = [line for line in whole if re.match("Round|No more", line)]
    assert said[0] == (
        "Round 1: seeds 1 to 3 of elu, bn and selu, since no verdict is given on fewer than 3 "
        "seeds; 9 trainings, for an unknown time."
    )
    assert said[1].startswith(
        "Round 2: seed 4 of elu and selu, since `selu` against `elu` is undecided, +1.00 points ("
    )
    assert said[1].endswith(
        " seeds of each in all would probably decide it; 2 trainings, about 1 s."
    )
    assert said[-1] == ("No more seeds: max_seeds=5 is reached; 1 primary question undecided.")

    assert not decided(asked(), data, "0").missing


def test_what_is_decided_gets_no_more_seeds(data: DataSets) -> None:
    tags, _ = run(asked(variants="elu,bn"), data, crew := Crew())
    assert crew.rounds == [first("elu", "bn")]
    assert (tags["rounds"], tags["rounds_ended"]) == ("1", "every primary question is decided")


def test_what_is_judged_between_rounds_is_what_the_comparison_says(data: DataSets) -> None:
    run(of := asked(), data, Crew())
    steps = decided(of, data, "0")
    runs = [one for of_variant in steps.finished.values() for one in of_variant.values()]
    found = evidence.collect(runs, [], comparison=of.comparison, baseline=of.baseline)
    assert len(found.answers) == 6
    assert repr(found.answers) == repr(steps.answers)


def test_finished_runs_of_any_seed_count_whichever_command_they_are_of(data: DataSets) -> None:
    of = asked(variants="elu,bn")
    elu, bn = of.trainings(data, {"elu": [2], "bn": [77]})
    for step in (elu, bn):
        trained(step, accuracy(step))
    (other,) = asked(variants="elu", epochs="7").trainings(data, {"elu": [1]})
    trained(other, 0.1)
    run(of, data, crew := Crew())
    assert crew.rounds == [["elu seed 1", "elu seed 3", "bn seed 1", "bn seed 2"]]
    steps = decided(of, data, "0")
    assert [one.name for one in steps.trainings][-1] == "train bn seed 77"
    assert {name: list(runs) for name, runs in steps.finished.items()} == {
        "elu": [1, 2, 3],
        "bn": [1, 2, 77],
    }


def test_a_run_whose_weights_are_gone_is_made_again(
    data: DataSets, monkeypatch: pytest.MonkeyPatch
) -> None:
    of = asked(variants="elu")
    for step in of.trainings(data, {"elu": [1, 2, 3]}):
        trained(step, 0.5)
    assert decided(of, data, "0").missing == []
    monkeypatch.setattr(TrainStep, "kept", ("weights",))
    assert len(decided(of, data, "0").missing) == 3


def test_with_a_fixed_design_every_variant_gets_these_seeds_once(data: DataSets) -> None:
    tags, _ = run(asked(seeds="4,2"), data, crew := Crew())
    assert crew.rounds == [first("elu", "bn", "selu", seeds=(4, 2))]
    assert "rounds" not in tags


def test_a_variant_of_which_a_training_failed_gets_no_more_seeds_and_others_do(
    data: DataSets,
) -> None:
    diverging = {"train selu seed 1", "train selu seed 2"}
    of = asked(variants="elu,bn,selu", max_seeds="4")
    tags, failures = run(of, data, crew := Crew(lambda one: 0.01 * one.seed, diverging=diverging))
    # One seed of selu decides nothing, so that elu gets no more for its sake, but for that of bn.
    assert crew.rounds == [first("elu", "bn", "selu"), ["elu seed 4", "bn seed 4"]]
    assert failures.keys() == diverging
    assert tags["rounds_ended"].startswith("a training of selu failed; `bn` against `elu` is")


def test_where_one_of_two_has_failed_the_other_gets_no_seeds_for_its_sake(
    data: DataSets,
) -> None:
    diverging = [f"train selu seed {seed}" for seed in (1, 2)]
    run(asked(variants="elu,selu"), data, crew := Crew(diverging=diverging))
    assert crew.rounds == [first("elu", "selu")]


def test_the_same_command_goes_on_where_it_was_interrupted(data: DataSets) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(asked(), data, Crew(interrupted_at="selu seed 4"))
    run(asked(), data, crew := Crew())
    # elu's fourth seed was finished: selu catches up, on both workers.
    assert crew.rounds == [["selu seed 4", "selu seed 5"], ["elu seed 5"]]


def test_no_round_is_begun_that_would_end_too_late_but_the_first(data: DataSets) -> None:
    tags, _ = run(asked(minutes="1"), data, crew := Crew(epoch_seconds=100.0))
    assert crew.rounds == [first("elu", "bn", "selu")]
    assert tags["rounds_ended"].startswith(
        "the next round would end later than minutes=1 allows; `selu` against `elu` is undecided"
    )
    run(asked(minutes="10", max_seeds="4"), data, crew := Crew(epoch_seconds=100.0))
    assert crew.rounds == [["elu seed 4", "selu seed 4"]]
    run(asked(minutes="1", variants="elu,alpha_dropout"), data, crew := Crew(epoch_seconds=100.0))
    assert crew.rounds == [first("alpha_dropout")]


def test_workers_that_would_be_idle_train_seeds_that_are_expected_to_be_needed(
    data: DataSets,
) -> None:
    run(asked(jobs="6", max_seeds="12"), data, crew := Crew())
    assert crew.rounds[1] == first("elu", "selu", seeds=(4, 5, 6))


def test_trained_anew_nothing_that_is_finished_counts_and_a_search_is_made_once(
    data: DataSets,
) -> None:
    run(asked(), data, Crew())
    assert len(decided(asked(reuse="never"), data, "0").missing) == 9
    of = asked(reuse="never", learning_rate="auto", search_seed="0")
    steps = decided(of, data, "0")
    assert [one.name for one in steps.missing][-1] == "train selu seed 3"
    assert {steps.decisions[one].reason for one in steps.before} == {"reuse=never"}
    searched = {one: client.get_run(finish(one, name=one.name)) for one in steps.before}
    assert len(searched) == 3
    made, _ = Crew().run(steps)
    later = decided(of, data, "0", earlier=steps.made(made | searched))
    assert [one.name for one in later.missing] == ["train elu seed 4", "train selu seed 4"]
    assert {one: later.decisions[one].reused for one in later.before} == {
        one: run for one, run in searched.items() if one.variant.name != "bn"
    }


@pytest.fixture
def transfer(store: Path) -> DataSets:
    of = asked(comparison=TRANSFER, variants="auto")
    return data_sets(of.asked, of.comparison, of.variants)


def transferred(**changes: Any) -> Wanted:
    return asked(comparison=TRANSFER, variants="auto", **changes)


def test_a_new_seed_brings_what_it_starts_from_and_nothing_is_made_twice(
    transfer: DataSets,
) -> None:
    of = transferred(reuse="never")
    steps = decided(of, transfer, "0")
    assert [one.name for one in steps.before] == [f"train digits seed {seed}" for seed in (1, 2, 3)]
    runs: dict[VariantStep, client.Run] = {
        one: trained(one, 0.5) for one in steps.to_run if isinstance(one, TrainStep)
    }
    later = decided(of, transfer, "0", earlier=steps.made(runs))
    assert [one.name for one in later.to_run] == [
        *("train digits seed 4", "train scratch seed 4", "train frozen seed 4")
    ]
    assert later.finished.keys() == {"scratch", "frozen"}


def test_finished_trainings_count_whatever_became_of_what_they_start_from(
    transfer: DataSets,
) -> None:
    of = transferred()
    for one in decided(of, transfer, "0").to_run:
        if one.variant.name != "digits":
            trained(one, 0.5 + 0.01 * one.seed)  # type: ignore[arg-type, attr-defined]
    later = decided(of, transfer, "0")
    assert {name: list(runs) for name, runs in later.finished.items()} == {
        "scratch": [1, 2, 3],
        "frozen": [1, 2, 3],
    }
    assert next(one.name for one in later.to_run) == "train digits seed 4"


def test_a_round_says_how_many_trainings_others_start_from(
    transfer: DataSets, capsys: pytest.CaptureFixture[str]
) -> None:
    of = transferred(learning_rate="auto", max_seeds="3")
    run(of, transfer, Crew())
    said = " ".join(capsys.readouterr().out.split())
    assert "6 trainings, 3 that they start from and 3 searches, for an unknown time" in said


def test_the_seed_of_the_search_judges_nothing() -> None:
    assert asked().new_seeds({1, 3}, 2) == [2, 4]
    assert asked(learning_rate="auto", search_seed="2").new_seeds({1, 3}, 2) == [4, 5]
    assert asked(search_seed="2").new_seeds({1, 3}, 1) == [2]  # there is no search


# --- What is planned ---------------------------------------------------------------------------


def test_a_plan_says_how_many_trainings_are_expected_and_no_more(data: DataSets) -> None:
    of = asked(dataset=location(data), max_seeds="12")
    steps, said = plan.plan(of)
    assert [one.decision.name for one in steps if one.timed] == [
        f"train {one}" for one in first("elu", "bn", "selu")
    ]
    assert said == (
        "Round 1: no verdict is given on fewer than 3 seeds. As many rounds follow as the "
        "primary questions need: at most 36 more trainings."
    )
    with pytest.raises(KeyboardInterrupt):
        run(of, data, Crew(interrupted_at="seed 4"))
    steps, said = plan.plan(of)
    left = [one.decision.name for one in steps if one.is_left]
    assert left == ["train elu seed 4", "train selu seed 4"]
    assert said.startswith("`selu` against `elu` is undecided, +1.00 points (")
    # About as many as the question takes, of both; of bn, too, if it should be undecided again.
    assert said.endswith(" About 18 more trainings are expected, 9 s, at most 27.")


def test_a_plan_for_what_is_decided_has_nothing_to_run(data: DataSets) -> None:
    of = asked(dataset=location(data), variants="elu,bn")
    run(of, data, Crew())
    steps, said = plan.plan(of)
    assert [one for one in steps if one.is_left] == []
    assert said == "No more seeds: every primary question is decided."
    assert plan.plan(asked(dataset=location(data), seeds="1,2,3")).outlook == ""


# --- What is left ------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time that is told to `outlook`, in seconds."""
    found = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(outlook, "time", SimpleNamespace(monotonic=lambda: found.now))
    return found


def test_the_time_left_of_all_steps_is_refined_as_they_end(
    data: DataSets, clock: SimpleNamespace
) -> None:
    of = asked(variants="elu,bn", seeds="1,2")
    told: list[Any] = []
    all_steps = outlook.Outlook(of, "0", told.append)
    all_steps.begin(decided(of, data, "0"))
    assert all_steps.news() == {"step": "all steps", "done": 0, "total": 4, "left": ""}
    for one in of.trainings(data, {"elu": [9], "bn": [9]}):
        trained(one, 0.5, epoch_seconds=60.0)
    all_steps.ended("search elu")
    assert all_steps.news()["left"] == ""  # it was measured just before
    clock.now += outlook.SECONDS_BETWEEN + 1
    all_steps.ended("search bn")
    assert all_steps.news()["left"] == "about 2 min left"  # 4 minutes of training on 2 workers
    elu, bn, *_ = (f"train {one}" for one in first("elu", "bn", seeds=(1, 2)))
    for name in (elu, bn):
        all_steps.follow({"step": name, "text": "preparing the model"})
    assert told[-2:] == [{"step": bn, "text": "preparing the model"}, all_steps.news()]
    clock.now += 40
    assert all_steps.news()["left"] == "about 1 min left"  # 20, 20, 60 and 60 s on 2 workers
    clock.now += 80
    all_steps.follow({"step": elu, "state": "finished"})
    ended = all_steps.news()
    assert (ended["done"], ended["total"]) == (1, 4)
    assert ended["left"] == "about 2 min left"  # it took twice as long: so will the two others
    all_steps.ended(elu)  # known already
    all_steps.ended(bn)  # another command made it: there was no news of its end
    assert all_steps.news()["done"] == 2
    all_steps.end()
    assert told[-1] == {"step": "all steps", "state": "finished"}


def test_the_time_left_of_a_round_counts_the_trainings_expected_after_it(data: DataSets) -> None:
    of = asked(max_seeds="12")
    all_steps = outlook.Outlook(of, "0", list[Any]().append)
    all_steps.begin(decided(of, data, "0"))
    assert all_steps.news() == {"step": "round 1", "done": 0, "total": 9, "left": ""}
    with pytest.raises(KeyboardInterrupt):
        run(of, data, Crew(interrupted_at="seed 4", epoch_seconds=60.0))
    all_steps.begin(decided(of, data, "0"))
    assert all_steps.news() == {
        **{"step": "round 2", "done": 0, "total": 2},
        "left": "about 9 min left, 16 more trainings expected",
    }
