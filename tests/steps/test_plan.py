"""What a plan says of every step, that it does nothing, and how its times are estimated."""

import hashlib
import itertools
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import pytest
from conftest import Finished

from pipeline.base import InputError
from pipeline.main import main
from pipeline.prepare import prepared
from pipeline.steps import plan as plan_module
from pipeline.steps.plan import (
    Comparison,
    Estimate,
    Planned,
    as_text,
    comparison,
    plan,
    searches_of,
    time_left,
)
from pipeline.tracking import client

DEFAULTS: Mapping[str, Any] = {
    "variants": "elu,alpha_dropout",
    "dataset": "auto",
    "seeds": "1,2",
    "learning_rate": "auto",
    "epochs": "auto",
    "patience": "auto",
    "batch_size": "auto",
    "dropout_rate": "auto",
    "dropout_layers": "auto",
    "mc_samples": 100,
    "n_trials": 12,
    "search_epochs": "auto",
    "learning_rate_min": 1e-5,
    "learning_rate_max": 0.1,
    "search_seed": 1,
    "storage": "sqlite:///optuna.db",
    "val_size": 5000,
    "split_seed": 1,
    "baseline": "elu",
    "jobs": "2",
    "scheduler": "none",
    "reuse": "auto",
}


def asked(**changes: Any) -> Comparison:
    return comparison(**{**DEFAULTS, **changes})


# --- What is asked for -------------------------------------------------------------------------


def test_a_comparison_has_every_variant_with_every_seed() -> None:
    wanted = asked(dropout_rate="0.2", epochs="7")
    assert [one.name for one in wanted.trainings] == [
        "train elu seed 1",
        "train elu seed 2",
        "train alpha_dropout seed 1",
        "train alpha_dropout seed 2",
    ]
    # Variants without dropout are compared as they are.
    assert [one.variant.dropout_rate for one in wanted.trainings] == [0, 0, 0.2, 0.2]
    assert {one.variant.epochs for one in wanted.trainings} == {7}
    assert (wanted.jobs, wanted.val_size, wanted.baseline) == (2, 5000, "elu")


def test_one_search_per_variant_unless_the_rate_is_given() -> None:
    wanted = asked()
    assert list(searches_of(wanted.trainings)) == ["elu", "alpha_dropout"]
    assert list(searches_of(wanted.trainings[:2])) == ["elu"]
    assert searches_of(asked(learning_rate="0.001").trainings) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": "bn"}, "baseline: expected one of the variants compared: elu, alpha_dropout"),
        ({"seeds": "4294967296"}, "seeds: expected an integer from 0 to 4294967295"),
        ({"jobs": "1000001"}, "jobs: expected auto or an integer from 1 to 1000000"),
        ({"storage": "postgresql://u:hunter2@h/d"}, r"u:\*\*\*@h"),
    ],
)
def test_what_cannot_be_compared_is_refused(changes: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        asked(**changes)


# --- What becomes of it ------------------------------------------------------------------------


def test_in_an_empty_folder_everything_is_to_run_and_nothing_is_written(
    tmp_path: Path, tiny_npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    steps = plan(asked(dataset=str(tiny_npz)))
    assert [step.name for step in steps] == [
        "prepare stripes",
        "search elu",
        "search alpha_dropout",
        "train elu seed 1",
        "train elu seed 2",
        "train alpha_dropout seed 1",
        "train alpha_dropout seed 2",
        "compare",
    ]
    assert {step.reused for step in steps} == {None}
    assert {step.estimate for step in steps} == {None}
    assert [step.reason for step in steps[:-1]] == 7 * ["no finished run of it yet"]
    assert "the time is unknown" in as_text(steps, asked())
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_that_is_named_but_not_there_is_not_created(
    store: Path, tiny_npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "nightly")
    steps = plan(asked(dataset=str(tiny_npz)))
    assert {step.reused for step in steps} == {None}
    assert mlflow.MlflowClient().get_experiment_by_name("nightly") is None


def test_a_finished_preparation_is_reused_and_an_older_code_says_so(
    store: Path, tiny_npz: Path
) -> None:
    data = prepared(dataset=str(tiny_npz), val_size=5000, seed=1, reuse="auto")
    preparation, search, *_ = plan(asked(dataset=str(tiny_npz)))
    assert preparation.reused
    assert preparation.reused.info.run_id == data.run_id
    assert search.reason == "no finished run of it yet"

    other_split = plan(asked(dataset=str(tiny_npz), split_seed=2))
    assert other_split[0].reused is None
    assert other_split[1].reason == "the data set is not prepared yet"

    run = client.get_run(data.run_id)
    older = run.data.tags["step_inputs"].replace('"code of pipeline.data.npz": "', "\\g<0>0")
    connection = mlflow.MlflowClient()
    connection.set_tag(
        data.run_id, "step_inputs", older.replace("\\g<0>", '"code of pipeline.data.npz": "')
    )
    connection.set_tag(data.run_id, "step_key", "another")
    preparation, search, *_ = plan(asked(dataset=str(tiny_npz)))
    assert preparation.reused is None
    assert preparation.reason == "code of pipeline.data.npz changed (taken to give the same data)"
    assert search.reason == "no finished run of it yet"


def test_a_set_of_keras_that_is_not_cached_is_not_fetched(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(store / "keras"))
    monkeypatch.delenv("https_proxy", raising=False)
    preparation, search, *_ = plan(asked(dataset="cifar10"))
    assert (preparation.name, preparation.reason) == (
        "prepare cifar10",
        "not cached: it is fetched first",
    )
    assert search.reason == "the data set is not prepared yet"
    assert plan(asked(dataset="auto"))[0].name == "prepare mnist_5k"
    assert "If CIFAR-10 can be fetched, it is" in capsys.readouterr().out
    assert not (store / "keras").exists()
    with pytest.raises(InputError, match=r"missing\.npz"):
        plan(asked(dataset="missing.npz"))


def _parameters(finished: Finished) -> dict[str, Any]:
    """What `main` was called with in the finished comparison."""
    given = dict(text.split("=", 1) for text in finished.arguments if "=" in text)
    numbers = ("n_trials", "mc_samples")
    return {name: int(value) if name in numbers else value for name, value in given.items()}


@pytest.mark.slow
def test_a_finished_comparison_is_reused_whole_and_left_as_it_is(
    finished_store: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    """This also fails when `prepare` and `compare` have inputs that the plan does not know."""
    before = _digests(finished_store.directory)
    steps = plan(asked(**_parameters(finished_store)))
    assert [step.name for step in steps if not step.reused] == []
    assert [step.name for step in steps] == [
        "prepare stripes",
        "train elu seed 1",
        "train elu seed 2",
        "train alpha_dropout seed 1",
        "train alpha_dropout seed 2",
        "compare",
    ]
    main(**_parameters(finished_store), plan="only")
    said = capsys.readouterr().out
    assert "Nothing to run: all 6 steps are finished." in said
    assert f"run {steps[1].reused.info.run_id}" in said  # type: ignore[union-attr]
    assert _digests(finished_store.directory) == before


@pytest.mark.slow
def test_a_changed_parameter_names_what_depends_on_it_and_how_long_that_takes(
    finished_store: Finished,
) -> None:
    steps = plan(asked(**{**_parameters(finished_store), "seeds": "2,3", "mc_samples": 11}))
    assert [(step.name, step.reason) for step in steps if not step.reused] == [
        ("train elu seed 2", "parameter mc_samples changed from 10 to 11"),
        ("train elu seed 3", "no finished run of it yet"),
        ("train alpha_dropout seed 2", "parameter mc_samples changed from 10 to 11"),
        ("train alpha_dropout seed 3", "no finished run of it yet"),
        ("compare", "after the trainings"),
    ]
    assert [step.name for step in steps if step.reused] == [
        "prepare stripes",
        "search elu",
        "search alpha_dropout",
    ]
    estimates = [step.estimate for step in steps if step.estimate]
    assert [(one.basis, one.rough) for one in estimates] == [
        *2 * [("2 runs of elu", False)],
        *2 * [("2 runs of alpha_dropout", False)],
    ]
    assert all(0 < one.expected <= one.most for one in estimates)


def _digests(directory: Path) -> dict[str, str]:
    return {
        name: hashlib.sha256((directory / name).read_bytes()).hexdigest()
        for name in ("mlflow.db", "optuna.db")
    }


# --- Time --------------------------------------------------------------------------------------


def finished_run(step: str, seconds: float, metrics: Mapping[str, float], **values: Any) -> None:
    """A run that took so long and came to these metrics."""
    connection = mlflow.MlflowClient()
    tags = {
        "step": step,
        "prepare_run": values.pop("prepare_run", ""),
        "dataset": values.pop("dataset"),
    }
    run_id = connection.create_run("0", start_time=1000, tags=tags).info.run_id
    for name, value in values.items():
        connection.log_param(run_id, name, value)
    for name, value in metrics.items():
        connection.log_metric(run_id, name, value)
    connection.set_terminated(run_id, end_time=1000 + int(seconds * 1000))


def trained_run(seconds: float = 30.0, **changes: Any) -> None:
    metrics = {
        "median_epoch_seconds": changes.pop("epoch", 2.0),
        "train_seconds": 20.0,
        **({"trial_seconds": changes.pop("trial_seconds")} if "trial_seconds" in changes else {}),
        "epochs_run": changes.pop("epochs_run", 10),
        "stopped_early": changes.pop("stopped_early", 1.0),
    }
    values = {"variant": "elu", "dataset": "stripes", "batch_size": 32, **changes}
    finished_run("train", seconds, metrics, **values)


def estimates(dataset: Path, **changes: Any) -> dict[str, Estimate | None]:
    steps = plan(asked(dataset=str(dataset), variants="elu", seeds="1", **changes))
    return {step.name: step.estimate for step in steps if step.variant}


def test_training_takes_as_long_as_finished_ones_of_the_same_kind(
    store: Path, tiny_npz: Path
) -> None:
    assert estimates(tiny_npz, learning_rate="0.1") == {"train elu seed 1": None}
    trained_run(epoch=2.0, epochs_run=10)
    trained_run(epoch=4.0, epochs_run=20, seconds=40.0)
    trained_run(variant="bn", epoch=1000.0)
    # Beside training 10 s, the least of the two; 15 epochs of 3 s, at most 100.
    assert estimates(tiny_npz, learning_rate="0.1") == {
        "train elu seed 1": Estimate(10 + 15 * 3, 10 + 100 * 3, "2 runs of elu", False)
    }
    assert estimates(tiny_npz, learning_rate="0.1", epochs="12") == {
        "train elu seed 1": Estimate(10 + 12 * 3, 10 + 12 * 3, "2 runs of elu", False)
    }


def test_epochs_that_a_run_did_not_train_again_do_not_shorten_what_is_beside_training(
    store: Path, tiny_npz: Path
) -> None:
    trained_run(epoch=2.0, epochs_run=10, seconds=18.0, trial_seconds=12.0)
    assert estimates(tiny_npz, learning_rate="0.1") == {
        "train elu seed 1": Estimate(10 + 10 * 2, 10 + 100 * 2, "1 run of elu", False)
    }


def test_epochs_of_the_best_trial_are_not_expected_to_be_trained_again(
    store: Path, tiny_npz: Path
) -> None:
    trained_run(epoch=2.0, epochs_run=25)
    for seed, reuse, epochs in (("1", "auto", 25 - 10), ("2", "auto", 25), ("1", "never", 25)):
        steps = plan(asked(dataset=str(tiny_npz), variants="elu", seeds=seed, reuse=reuse))
        assert steps[-2].name == f"train elu seed {seed}"
        expected = 10 + epochs * 2
        assert steps[-2].estimate == Estimate(expected, 10 + 100 * 2, "1 run of elu", False)


def test_runs_that_were_capped_do_not_tell_when_training_stops(store: Path, tiny_npz: Path) -> None:
    trained_run(epochs_run=5, stopped_early=0.0)
    assert estimates(tiny_npz, learning_rate="0.1") == {
        "train elu seed 1": Estimate(210, 210, "1 run of elu", False)
    }


def test_time_is_taken_from_other_runs_where_there_are_none_of_the_same_kind(
    store: Path, tiny_npz: Path
) -> None:
    data = prepared(dataset=str(tiny_npz), val_size=5000, seed=1, reuse="auto")
    trained_run(dataset="other", prepare_run="unknown")
    assert estimates(tiny_npz, learning_rate="0.1") == {"train elu seed 1": None}
    connection = mlflow.MlflowClient()
    preparation = connection.create_run("0", tags={"step": "prepare"}).info.run_id
    connection.log_metric(preparation, "train_images", 480)  # stripes has 240
    connection.set_terminated(preparation)
    assert connection.get_run(data.run_id).data.metrics["train_images"] == 240
    trained_run(dataset="other", prepare_run=preparation)
    assert estimates(tiny_npz, learning_rate="0.1") == {
        "train elu seed 1": Estimate(20, 110, "1 run on other data", True)
    }
    trained_run(batch_size=64)
    assert estimates(tiny_npz, learning_rate="0.1") == {
        "train elu seed 1": Estimate(50, 410, "1 run at other batch sizes", True)
    }
    trained_run(variant="bn", epoch=3.0)
    assert estimates(tiny_npz, learning_rate="0.1") == {
        "train elu seed 1": Estimate(40, 310, "1 run of other variants", True)
    }


def test_search_takes_as_long_as_finished_ones_or_as_its_epochs(
    store: Path, tiny_npz: Path
) -> None:
    trained_run(epoch=2.0)
    # 12 trials of 10 epochs; 4 more where the range is widened.
    assert estimates(tiny_npz)["search elu"] == Estimate(240, 320, "1 run of elu", False)
    metrics = {"epochs_trained": 30, "epochs_saved_by_pruning": 10}
    finished_run("search", 90.0, metrics, variant="elu", dataset="stripes", batch_size=32)
    assert estimates(tiny_npz)["search elu"] == Estimate(
        0.75 * 120 * 3, 160 * 3, "1 run of elu", False
    )


def step(name: str, seconds: float | None, **changes: Any) -> Planned:
    estimate = None if seconds is None else Estimate(seconds, 2 * seconds, "1 run", False)
    usual = {"name": name, "reused": None, "variant": name.split()[1], "estimate": estimate}
    return Planned(**{**usual, **changes})


def test_time_left_is_that_of_the_steps_to_run() -> None:
    steps = [step("search elu", 10), step("train elu seed 1", 20), step("train elu seed 2", 20)]
    assert time_left(steps, 1) == (50, 100)
    assert time_left(steps, 2) == (30, 50 + 30)  # after the search both train at once
    assert time_left(steps, 64) == time_left(steps, 3)
    assert time_left([*steps, step("train bn seed 1", None)], 1) is None
    assert time_left([*steps, Planned(name="compare", reused=None)], 1) == (50, 100)


@pytest.mark.parametrize("seed", range(20))
def test_no_order_of_the_steps_ends_later_or_earlier_than_said(seed: int) -> None:
    """Against workers that take any step that is ready, in every random order."""
    generator = random.Random(seed)
    steps = []
    for variant in ("elu", "bn", "selu")[: generator.randint(1, 3)]:
        if generator.random() < 0.7:
            steps.append(step(f"search {variant}", generator.randint(1, 9)))
        steps += [
            step(f"train {variant} seed {seed}", generator.randint(1, 9))
            for seed in range(generator.randint(1, 4))
        ]
    jobs = generator.randint(1, 4)
    bounds = time_left(steps, jobs)
    assert bounds
    for _ in range(50):
        order = generator.sample(steps, len(steps))
        assert bounds[0] <= makespan(order, jobs)
        assert makespan(order, jobs, times=2) <= bounds[1]


def makespan(order: list[Planned], jobs: int, times: int = 1) -> float:
    """When the last step ends, if free workers take the first step of an order that is ready."""
    ends = {one.name: 0.0 for one in order if one.name.startswith("search ")}
    left, now = list(order), 0.0
    running: dict[str, float] = {}
    while left or running:
        ready = [
            one
            for one in left
            if one.name in ends or ends.get(f"search {one.variant}") in (None, -1.0)
        ]
        for one in ready[: jobs - len(running)]:
            left.remove(one)
            assert one.estimate
            running[one.name] = now + times * one.estimate.expected
        now = min(running.values())
        for name in [name for name, end in running.items() if end == now]:
            del running[name]
            if name in ends:
                ends[name] = -1.0  # done
    return now


# --- Text --------------------------------------------------------------------------------------


def test_the_table_says_a_reason_once_and_takes_names_as_they_are() -> None:
    changed = "; ".join(
        ["parameter epochs changed from 2 to 3"]
        + [f"code of pipeline.{name} changed" for name in ("models", "training")]
    )
    steps = [
        Planned(name="prepare [bold]x[/bold]", reused=None, reason="no finished run of it yet"),
        step("search elu", 100, reason=changed),
        step("train elu seed 1", 7200, reason=changed),
        step("train elu seed 2", None, reason="reuse=never"),
    ]
    lines = as_text(steps, asked()).splitlines()
    rows = {" ".join(line.split()) for line in lines}
    assert {
        "prepare [bold]x[/bold] to run no finished run of it yet",
        "search elu to run parameter epochs changed from 2 to 3; code of models, training changed "
        "2 min 3 min 1 run",
        "train elu seed 1 to run as above 2.0 h 4.0 h 1 run",
        "train elu seed 2 to run reuse=never unknown",
    } <= rows
    assert lines[-1].startswith("4 of 4 steps to run on 2 workers: the time is unknown")
    assert max(map(len, lines[:-1])) <= plan_module.NARROWEST


def test_the_time_is_said_in_words() -> None:
    steps = [step("train elu seed 1", 60), step("train bn seed 1", 60)]
    assert "2 of 2 steps to run on 2 workers: about 60 s, at most 3 min," in as_text(steps, asked())
    one = as_text(steps, asked(scheduler="tcp://host:8786"))
    assert "on one worker of tcp://host:8786 (sooner on several): about 2 min, at most 4 min" in one
    rough = [step("train bn seed 1", 0, estimate=Estimate(10, 20, "1 run", True))]
    assert "about 10 s, at most ~20 s" in as_text(rough, asked(jobs="1"))
    assert all(
        f"{number} of {number} steps" in as_text(steps[:number], asked())
        for number in itertools.chain([1, 2])
    )
