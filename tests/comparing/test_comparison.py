"""A whole comparison: what it consists of, what becomes of every step, and how long that takes."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import pytest
from conftest import PROJECT, Finished, environment_of_a_user
from declared import BN_SWISH
from mlflow.entities import Metric, Param
from small_transfer import TRANSFER

from pipeline.base import InputError
from pipeline.comparing import plan as work
from pipeline.comparing.comparison import Wanted, decided, wanted
from pipeline.comparing.crew import _why, submit
from pipeline.comparisons import Comparison, Data
from pipeline.comparisons.twenty_layers import BN, ELU
from pipeline.main import main
from pipeline.parameters import Main
from pipeline.steps.plan_text import Estimate, Planned
from pipeline.steps.step import recorded_inputs
from pipeline.tracking import client
from pipeline.tracking.names import HIDDEN
from pipeline.work.graph import DataSets, comparisons_of, data_sets
from pipeline.work.prepare import prepared
from pipeline.work.variant_step import LoggedData


def asked(**changes: Any) -> Wanted:
    usual = {"variants": "elu,alpha_dropout", "seeds": "1,2", "jobs": "2"}
    return wanted(Main(**{**usual, **changes}))


@pytest.mark.parametrize(
    ("chosen", "others"),
    [
        ("bn,selu", "elu"),
        ("elu,selu", None),
        ("selu", None),  # one variant alone is trained, not compared
        ("bn,alpha_dropout", None),  # MC Dropout is compared with the variant without it
    ],
)
def test_variants_that_no_question_is_about_are_said_to_be(chosen: str, others: str | None) -> None:
    said = asked(variants=chosen, comparison="twenty_layers").unanswerable
    assert said.endswith(f"is against others: {others}.") if others else said == ""


def prepared_from(path: Path) -> LoggedData:
    of = asked(dataset=str(path))
    return prepared(of.asked, of.comparison)


def nothing_prepared(of: Wanted) -> DataSets:
    data = (of.asked.data_of(one) for one in comparisons_of(of.comparison, of.variants))
    return {one: LoggedData(dataset=one.source) for one in data}


def plan(of: Wanted) -> Sequence[Planned]:
    return work.plan(of).steps


def reasons(steps: Sequence[Planned]) -> dict[str, str]:
    """Of the steps that are to run, why."""
    return {one.decision.name: one.decision.reason for one in steps if not one.decision.reused}


def reused(steps: Sequence[Planned]) -> list[str]:
    return [one.decision.name for one in steps if one.decision.reused]


# --- What is asked for -------------------------------------------------------------------------


def test_a_comparison_has_every_variant_with_every_seed() -> None:
    of = asked(dropout_rate="0.2", epochs="7")
    trainings = decided(of, nothing_prepared(of), None).trainings
    assert [one.name for one in trainings] == [
        "train elu seed 1",
        "train elu seed 2",
        "train alpha_dropout seed 1",
        "train alpha_dropout seed 2",
    ]
    # Variants without dropout are compared as they are.
    assert [one.variant.dropout_rate for one in trainings] == [0, 0, 0.2, 0.2]
    assert {one.variant.epochs for one in trainings} == {7}
    assert (of.workers(), of.baseline, of.comparison.name) == (2, "elu", "twenty_layers")
    assert [one.name for one in asked(variants="auto").variants] == [
        *("elu", "bn", "selu", "alpha_dropout", "one_cycle")
    ]


def test_what_a_variant_starts_from_is_in_the_plan_with_its_own_data(store: Path) -> None:
    of = asked(comparison=TRANSFER, variants="frozen", seeds="2")
    assert list(reasons(plan(of))) == [
        *("prepare mnist_5k", "search digits", "train digits seed 2", "train digits seed 1"),
        *("search frozen", "train frozen seed 2", "compare"),
    ]
    data = data_sets(of.asked, of.comparison, of.variants)
    assert len({one.fingerprint for one in data.values()}) == 2
    reused_now = [one.decision.name for one in work.plan(of).steps if one.decision.reused]
    assert reused_now == ["prepare mnist_5k", "prepare mnist_5k"]


def test_one_search_per_variant_unless_the_rate_is_given() -> None:
    def searches(**changes: Any) -> list[str]:
        of = asked(**changes)
        return [one.name for one in decided(of, nothing_prepared(of), None).before]

    assert searches() == ["search elu", "search alpha_dropout"]
    assert searches(variants="elu") == ["search elu"]
    assert searches(learning_rate="0.001") == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"baseline": "bn"}, "baseline: expected one of the variants compared: elu, alpha_dropout"),
        ({"variants": "elu,bnn"}, "Did you mean 'bn'"),
        ({"comparison": "twenty"}, "comparison: expected one of twenty_layers"),
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
    assert list(reasons(steps)) == [
        "prepare stripes",
        "search elu",
        "search alpha_dropout",
        "train elu seed 1",
        "train elu seed 2",
        "train alpha_dropout seed 1",
        "train alpha_dropout seed 2",
        "compare",
    ]
    assert {step.estimate for step in steps} == {None}
    assert list(reasons(steps).values()) == [
        *7 * ["no finished run of it yet"],
        "after the trainings",
    ]
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_that_is_named_but_not_there_is_not_created(
    store: Path, tiny_npz: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "nightly")
    assert reused(plan(asked(dataset=str(tiny_npz)))) == []
    assert mlflow.MlflowClient().get_experiment_by_name("nightly") is None


def _by_older_code(data: LoggedData) -> None:
    tags = client.get_run(data.run_id).data.tags
    inputs = recorded_inputs(tags) | {"code of pipeline.data.npz": "older"}
    connection = mlflow.MlflowClient()
    connection.set_tag(data.run_id, f"{HIDDEN}step_inputs", json.dumps(inputs))
    connection.set_tag(data.run_id, "step_key", "another")


def test_a_finished_preparation_is_reused_and_an_older_code_says_so(
    store: Path, tiny_npz: Path
) -> None:
    data = prepared_from(tiny_npz)
    steps = plan(asked(dataset=str(tiny_npz)))
    assert reused(steps) == ["prepare stripes"]
    assert steps[0].decision.reused
    assert steps[0].decision.reused.info.run_id == data.run_id
    assert reasons(steps)["search elu"] == "no finished run of it yet"

    other_split = reasons(plan(asked(dataset=str(tiny_npz), split_seed=2)))
    assert other_split["prepare stripes"] == "no finished run of it yet"
    assert other_split["search elu"] == "the data set is not prepared yet"

    _by_older_code(data)
    older_code = reasons(plan(asked(dataset=str(tiny_npz))))
    assert older_code["prepare stripes"] == (
        "code of pipeline.data.npz changed (taken to give the same data)"
    )
    assert older_code["search elu"] == "no finished run of it yet"


def test_a_preparation_of_some_classes_is_not_taken_for_one_of_all(
    store: Path, tiny_npz: Path
) -> None:
    of = asked(dataset=str(tiny_npz))
    some = Comparison(variants=(ELU, BN), data=Data(classes=(0, 1)))
    _by_older_code(prepared(of.asked, some))
    steps = reasons(plan(of))
    assert "taken to give" not in steps["prepare stripes"]
    assert steps["search elu"] == "the data set is not prepared yet"


def test_a_set_of_keras_that_is_not_cached_is_not_fetched(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(store / "keras"))
    monkeypatch.delenv("https_proxy", raising=False)
    steps = reasons(plan(asked(dataset="cifar10")))
    assert steps["prepare cifar10"] == "not cached: it is fetched first"
    assert steps["search elu"] == "the data set is not prepared yet"
    assert "prepare mnist_5k" in reasons(plan(asked(dataset="auto")))
    assert "If CIFAR-10 can be fetched, it is" in " ".join(capsys.readouterr().out.split())
    assert not (store / "keras").exists()
    with pytest.raises(InputError, match=r"missing\.npz"):
        plan(asked(dataset="missing.npz"))


def _parameters(finished: Finished) -> dict[str, Any]:
    """What `main` was called with in the finished comparison."""
    return dict(text.split("=", 1) for text in finished.arguments if "=" in text)


@pytest.mark.slow
def test_a_finished_comparison_is_reused_whole_and_left_as_it_is(
    finished_store: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    """This also fails when `prepare` and `compare` have inputs that the plan does not know."""
    before = _digests(finished_store.directory)
    steps = plan(asked(**_parameters(finished_store)))
    assert reasons(steps) == {}
    assert reused(steps) == [
        "prepare stripes",
        "train elu seed 1",
        "train elu seed 2",
        "train alpha_dropout seed 1",
        "train alpha_dropout seed 2",
        "comparison twenty_layers on stripes",
    ]
    main(Main(**_parameters(finished_store), plan="only"))
    said = capsys.readouterr().out
    assert "Nothing to run: all 6 steps are finished." in said
    assert said.startswith("Reused (same inputs): prepare stripes; train elu seeds 1 and 2; ")
    assert max(map(len, said.splitlines())) <= 80
    assert _digests(finished_store.directory) == before


@pytest.mark.slow
def test_another_comparison_reuses_the_variants_that_both_have(
    finished_store: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    given = _parameters(finished_store)
    given |= {"comparison": "initialisation", "variants": "elu,zero_weights"}
    steps = plan(asked(**given))
    assert reused(steps) == ["prepare stripes", "train elu seed 1", "train elu seed 2"]
    assert not any("elu" in name for name in reasons(steps))
    main(Main(**given, plan="only"))
    said = capsys.readouterr().out
    assert said.startswith("Reused (same inputs): prepare stripes; train elu seeds 1 and 2")


@pytest.mark.slow
def test_a_comparison_of_ones_own_runs_what_is_new_and_nothing_else(
    finished_store: Finished, tmp_path: Path
) -> None:
    """The runs of a variant are those of every comparison that has it."""
    path = tmp_path / "mine.py"
    path.write_text(
        BN_SWISH.replace("import BN", "import ELU as BN").replace(
            'reference="bn"', 'reference="elu"'
        ),
        "utf-8",
    )
    given = _parameters(finished_store)
    steps = plan(asked(**{**given, "variants": "auto", "comparison": str(path)}))
    assert reused(steps) == ["prepare stripes", "train elu seed 1", "train elu seed 2"]
    assert list(reasons(steps)) == [
        "search bn_swish",
        "train bn_swish seed 1",
        "train bn_swish seed 2",
        "compare",
    ]


@pytest.mark.slow
def test_a_changed_parameter_names_what_depends_on_it_and_how_long_that_takes(
    finished_store: Finished,
) -> None:
    steps = plan(asked(**{**_parameters(finished_store), "seeds": "2,3", "mc_samples": 11}))
    assert reasons(steps) == {
        "train elu seed 2": "parameter mc_samples changed from 10 to 11",
        "train elu seed 3": "no finished run of it yet",
        "train alpha_dropout seed 2": "parameter mc_samples changed from 10 to 11",
        "train alpha_dropout seed 3": "no finished run of it yet",
        "compare": "after the trainings",
    }
    assert reused(steps) == ["prepare stripes", "search elu", "search alpha_dropout"]
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
    started = values.pop("start_time", 1000)
    run_id = connection.create_run("0", start_time=started, tags=tags).info.run_id
    connection.log_batch(
        run_id,
        metrics=[Metric(name, value, 0, 0) for name, value in metrics.items()],
        params=[Param(name, str(value)) for name, value in values.items()],
    )
    connection.set_terminated(run_id, end_time=started + int(seconds * 1000))


def trained_run(seconds: float = 30.0, **changes: Any) -> None:
    metrics = {
        "median_epoch_seconds": changes.pop("epoch", 2.0),
        "train_seconds": 20.0,
        "epochs_run": changes.pop("epochs_run", 10),
        "stopped_early": changes.pop("stopped_early", 1.0),
    }
    values = {"variant": "elu", "dataset": "stripes", "batch_size": 32, **changes}
    finished_run("train", seconds, metrics, **values)


def estimates(dataset: Path, **changes: Any) -> dict[str, Estimate | None]:
    steps = plan(asked(dataset=str(dataset), variants="elu", seeds="1", **changes))
    return {step.decision.name: step.estimate for step in steps if step.timed}


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


def test_runs_that_were_capped_do_not_tell_when_training_stops(store: Path, tiny_npz: Path) -> None:
    trained_run(epochs_run=5, stopped_early=0.0)
    assert estimates(tiny_npz, learning_rate="0.1") == {
        "train elu seed 1": Estimate(210, 210, "1 run of elu", False)
    }


def test_time_is_taken_from_other_runs_where_there_are_none_of_the_same_kind(
    store: Path, tiny_npz: Path
) -> None:
    data = prepared_from(tiny_npz)
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


def test_a_name_that_would_end_the_text_of_a_query_is_found(store: Path, tiny_npz: Path) -> None:
    named = store / 'it\'s \\ "100%".npz'
    shutil.copy(tiny_npz, named)
    trained_run(dataset=named.stem)
    trained_run(dataset=named.stem.upper(), epoch=1000.0)
    expected = Estimate(30, 210, "1 run of elu", False)
    assert estimates(named, learning_rate="0.1") == {"train elu seed 1": expected}


def test_a_plan_reads_no_more_of_a_store_with_more_runs(
    store: Path, tiny_npz: Path, runs_read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "FEW", 2)
    searched = {"epochs_trained": 30, "epochs_saved_by_pruning": 10}
    _by_older_code(prepared_from(tiny_npz))

    def read() -> int:
        """How many runs a plan reads, after four more nights."""
        for _ in range(4):
            finished_run("prepare", 1.0, {}, dataset="stripes", start_time=2**42)
            for variant in ("elu", "bn"):
                trained_run(variant=variant)
                of = {"variant": variant, "dataset": "stripes", "batch_size": 32}
                finished_run("search", 90.0, searched, **of)
        runs_read.clear()
        found = estimates(tiny_npz)
        assert {one.basis for one in found.values() if one} == {"2 runs of elu"}
        return len(runs_read)

    assert read() == read()


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


# --- What is submitted ------------------------------------------------------------------------


class Submitted:
    """What `main` submits: of each step its order, its name, its group and what it comes after."""

    def __init__(self, of: Wanted) -> None:
        self.steps: list[tuple[int, str, int | None, int]] = []
        submit(self, decided(of, nothing_prepared(of), None), "auto", {})  # type: ignore[arg-type]

    def submit(
        self,
        _function: object,
        arguments: dict[str, Any],
        *,
        after: Sequence[object] = (),
        priority: int,
        group: int | None = None,
    ) -> str:
        step = arguments["step"]
        self.steps.append((-priority, step.name, group, len(after)))
        return f"the future of {step.name}"


def test_searches_come_first_then_trainings_seed_by_seed() -> None:
    submitted = sorted(Submitted(asked()).steps, key=lambda one: one[0])
    assert [(name, after) for _, name, _, after in submitted] == [
        *(("search elu", 0), ("search alpha_dropout", 0)),
        *(("train elu seed 1", 1), ("train alpha_dropout seed 1", 1)),
        *(("train elu seed 2", 1), ("train alpha_dropout seed 2", 1)),
    ]
    assert {group for _, _, group, _ in submitted} == {None}  # they follow their search


def test_of_a_seed_the_longest_trainings_come_first() -> None:
    steps = Submitted(asked(variants="one_cycle,elu,bn,selu", baseline="elu")).steps
    trainings = [name for _, name, _, after in sorted(steps) if after]
    assert trainings == [
        f"train {variant} seed {seed}"
        for seed in (1, 2)
        for variant in ("bn", "elu", "selu", "one_cycle")
    ]


def test_what_takes_longest_is_searched_and_trained_first() -> None:
    of = asked(comparison="habits", variants="elu,bn_after,selu_convolution", baseline="elu")
    steps = sorted(Submitted(of).steps)
    assert [name for _, name, _, _ in steps[:6]] == [
        *(f"search {name}" for name in ("selu_convolution", "bn_after", "elu")),
        *(f"train {name} seed 1" for name in ("selu_convolution", "bn_after", "elu")),
    ]


def test_without_a_search_the_trainings_of_a_variant_are_a_group() -> None:
    submitted = Submitted(asked(learning_rate="0.001")).steps
    assert [(name, group) for _, name, group, _ in submitted] == [
        *(("train elu seed 1", 0), ("train elu seed 2", 0)),
        *(("train alpha_dropout seed 1", 1), ("train alpha_dropout seed 2", 1)),
    ]


def test_what_others_start_from_comes_first_and_theirs_go_to_a_worker_of_each_variant() -> None:
    of = asked(comparison=TRANSFER, variants="scratch,frozen", seeds="2,1")
    submitted = sorted(Submitted(of).steps)
    assert [(name, group, after) for _, name, group, after in submitted] == [
        ("train digits seed 2", None, 1),
        ("train digits seed 1", None, 1),
        ("search scratch", None, 0),
        ("search digits", None, 0),
        ("search frozen", 1, 1),
        ("train scratch seed 2", None, 1),
        ("train frozen seed 2", 1, 2),
        ("train scratch seed 1", None, 1),
        ("train frozen seed 1", 1, 2),
    ]


def test_a_step_that_failed_for_another_names_that() -> None:
    of = asked(comparison=TRANSFER, variants="frozen", seeds="2")
    steps = decided(of, nothing_prepared(of), None).to_run
    errors = {one: "OSError: no space" for one in steps if one.name != "search digits"}
    assert {one.name: _why(one, errors) for one in errors} == {
        "train digits seed 2": "OSError: no space",
        "train digits seed 1": "OSError: no space",
        "search frozen": "train digits seed 1 failed",
        "train frozen seed 2": "train digits seed 2 failed",
    }


@pytest.mark.slow
def test_a_file_of_dasks_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dask.yaml").write_text("a: [")
    main = ["pipeline.main", "--dataset", "mnist_5k", "--variants", "elu", "--plan", "only"]
    ran = subprocess.run(
        [sys.executable, "-m", *main],
        env=environment_of_a_user()
        | {"DASK_CONFIG": str(tmp_path), "PYTHONPATH": str(PROJECT), "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 2, ran.stderr
    (line,) = ran.stderr.splitlines()
    assert "the configuration of Dask: expected YAML files that it can read; received" in line
    assert str(tmp_path / "dask.yaml") in line
