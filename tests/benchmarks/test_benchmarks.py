"""The benchmarks: that both sides of each compute the same, and that nothing is left out of any."""

import dataclasses
import importlib
import inspect
import itertools
import math
import subprocess
import sys
import threading
import time
import timeit
import typing
from collections.abc import Callable
from pathlib import Path

import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Metric, Param
from small_layers import COMPARISON as SMALL
from step_runs import Small, finish

from benchmarks import (
    __main__,
    digits,
    growth,
    harness,
    jobs,
    limit,
    mc_dropout,
    memory,
    opening,
    outcomes,
    peers,
    rates,
    recipe,
    regressions,
    report,
    search,
    simulated,
    throughput,
    tracking,
    turns,
    verdicts,
)
from benchmarks import store as many_runs
from benchmarks.peers import Peer
from pipeline import command
from pipeline.base import InputError
from pipeline.comparisons import Data, Variant, files
from pipeline.comparisons.digits import DIGITS_BN
from pipeline.comparisons.pairs import PAIRS_SHARED
from pipeline.comparisons.transfer import CACHED, FROZEN
from pipeline.comparisons.twenty_layers import BN, COMPARISON, ELU, SELU
from pipeline.data import sources, splits
from pipeline.data.splitting import split_arrays
from pipeline.training.models import build_model

NO_BENCHMARK = {"__init__", "__main__", "harness", "launcher", "outcomes", "peers", "simulated"}
NO_BENCHMARK |= {"turns"}


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variants are small ones by the same names; for stores of their own alone."""
    monkeypatch.setattr(files, "load", lambda _: SMALL)


@pytest.fixture(scope="module")
def directory(tiny_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("splits")
    arrays = sources.load(sources.resolve(str(tiny_npz)))
    splits.save(split_arrays(arrays, Data(val_size=60)), directory)
    return str(directory)


def test_every_benchmark_is_run_by_all_and_is_a_function_of_its_modules_name() -> None:
    names = {path.stem for path in Path(harness.__file__).parent.glob("*.py")} - NO_BENCHMARK
    assert set(__main__.BENCHMARKS) == names
    for name in names:
        function = getattr(importlib.import_module(f"benchmarks.{name}"), name)
        takes_dataset = issubclass(typing.get_type_hints(function)["asked"], harness.OnData)
        assert takes_dataset or not __main__.BENCHMARKS[name]


@pytest.mark.parametrize("name", __main__.BENCHMARKS)
def test_every_benchmark_is_a_command_with_help(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    function = getattr(importlib.import_module(f"benchmarks.{name}"), name)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    assert command._parse(function) is None
    assert " What is measured " in capsys.readouterr().out


@pytest.mark.usefixtures("small_networks")
@pytest.mark.parametrize("layers", mc_dropout.TO_REACH)
def test_mc_dropout_comes_to_the_same_uncertainty_both_ways(layers: str, directory: str) -> None:
    arguments = (directory, layers, 20, 3)
    keras.utils.set_random_seed(1)  # of the loop's masks
    ours, peer = mc_dropout.in_one_graph(*arguments), mc_dropout.in_a_loop(*arguments)
    assert 0 < ours["entropy"] < math.log(3)
    assert ours["entropy"] == pytest.approx(peer["entropy"], rel=0.02)
    assert ours["wall_seconds"] > 0


@pytest.mark.usefixtures("small_networks")
def test_float32_images_are_those_of_the_same_network(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "LEARNING_RATE", 1e-12)  # so small that no weight moves
    peer = Peer(memory.VARIANT, directory)
    model = peer.model(seed=2, learning_rate=memory.LEARNING_RATE)
    expected, _ = model.evaluate(peer.arrays["x_val"], peer.arrays["y_val"], verbose=0)
    received = memory.fit(directory, seed=2)["val_losses"]
    assert received == pytest.approx([expected] * memory.EPOCHS, rel=1e-4)


def test_pairs_are_given_to_keras_by_a_generator_every_image_first_once_in_an_epoch(
    tiny_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = sources.load(sources.resolve(str(tiny_npz)))
    splits.save(split_arrays(arrays, Data(val_size=60, pairs=True)), tmp_path)
    small = dataclasses.replace(
        PAIRS_SHARED,
        hidden_layers=1,
        units=8,
        batch_normalization=False,  # whose moving statistics no rate keeps as they are
    )
    monkeypatch.setattr(peers, "find_variant", lambda _: (small, None))
    peer = Peer(small.name, str(tmp_path))
    images, n = peer.arrays["x_train"], len(peer.arrays["y_train"])
    batches = list(itertools.islice(peer._pairs(), 2 * math.ceil(n / 32)))
    assert {len(pairs) for pairs, _ in batches} == {32, n % 32}
    for half in (batches[: len(batches) // 2], batches[len(batches) // 2 :]):
        pairs, same = (np.concatenate(part) for part in zip(*half, strict=True))
        assert same.sum() == n // 2
        assert {one.tobytes() for one in pairs[:, 0]} == {one.tobytes() for one in images}
    model = peer.model(seed=2, learning_rate=1e-12)
    expected, _ = model.evaluate(peer.arrays["x_val"], peer.arrays["y_val"], verbose=0)
    assert peer.fit(model, epochs=2)["val_loss"] == pytest.approx([expected] * 2, rel=1e-4)


def test_frozen_layers_computed_once_come_to_the_same_as_every_epoch(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digits, "FROZEN_EPOCHS", {10: 2})
    two: dict[str, typing.Any] = {"hidden_layers": 2, "units": 8}
    monkeypatch.setattr(digits, "DIGITS_BN", dataclasses.replace(DIGITS_BN, **two))
    for name, variant in (("CACHED", CACHED), ("FROZEN", FROZEN)):
        frozen = dataclasses.replace(variant, **two, reused_layers=2, frozen_layers=2)
        monkeypatch.setattr(digits, name, frozen)
    # Other losses than the other side's would be refused.
    rows = pd.DataFrame(digits.frozen(directory, rounds=2)["rows"])
    assert list(rows["side"]) == [harness.OURS, digits.FROZEN_PEER] * 2
    assert set(rows["images"]) == {30}
    assert (rows[["epoch_wall_seconds", "epoch_cpu_seconds"]] > 0).all(axis=None)


@pytest.mark.usefixtures("small_networks")
def test_both_sides_of_tracking_train_the_same_and_only_one_writes(
    directory: str, tiny_npz: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[None] = []
    monkeypatch.setattr(turns, "end_turn", lambda: ended.append(None))
    tracked = tracking.tracked(str(tiny_npz), str(store), epochs=3, seeds=[1, 2])
    runs = mlflow.MlflowClient().search_runs(["0"], "tags.step = 'train'")
    untracked = tracking.untracked(directory, epochs=3, seeds=[1, 2])
    assert len(mlflow.MlflowClient().search_runs(["0"], "tags.step = 'train'")) == len(runs) == 2
    assert [run.data.metrics["epochs_run"] for run in runs] == [3, 3]
    assert recipe.epochs_run(store) == {tracking.VARIANT: 3}
    assert len(ended) == 2 * (1 + 2 * 3)
    assert tracked["best_val_losses"] == untracked["best_val_losses"]
    assert len(set(tracked["best_val_losses"])) == 2
    for row in (tracked, untracked):
        assert len(row["epoch_cpu_seconds"]) == 2 * 3 - 1
        assert all(0 < seconds < 60 for seconds in row["rest_seconds"])


@pytest.mark.usefixtures("small_networks")
def test_the_ways_to_search_train_what_they_say(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[int] = []

    def fit(self: Peer, model: keras.Model, *, epochs: int, **_: object) -> dict[str, list[float]]:
        rate = float(model.optimizer.learning_rate.numpy())
        fitted.append(epochs)
        return {
            "val_loss": [abs(math.log(rate / 0.001)) + 1 / (epoch + 1) for epoch in range(epochs)]
        }

    monkeypatch.setattr(Peer, "fit", fit)
    found = search.eight_rates("elu", directory, n_trials=12, epochs=2, seed=1)
    assert fitted == [2] * 8
    assert found == {"val_loss": pytest.approx(0.5, abs=1e-6), "epochs_trained": 16}


def test_the_accuracy_that_follows_from_a_rate_has_no_noise_of_trainings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    noise = [0.01, -0.01, 0.0] * 5  # of the seeds, the same at every rate
    grid = pd.DataFrame(
        {"variant": "elu", "rate": rate, "accuracy": 0.5 - 0.02 * math.log10(rate / 3e-4) ** 2}
        for rate in rates.RATES
        for _ in range(3)
    )
    grid["accuracy"] += noise
    studies = pd.DataFrame(
        {"variant": "elu", harness.OURS: 3e-4, rates.PEER: [3e-4, 3e-3, 3e-4], "epochs": 30.0}
    )
    published: list[outcomes.Result] = []
    monkeypatch.setattr(outcomes, "publish", lambda _name, results, **_: published.extend(results))
    rates.publish(studies, grid, {}, {})
    by_name = {(one.what.removeprefix("elu: "), one.peer_name): one for one in published}
    follows = by_name["test accuracy that follows, %", rates.PEER]
    assert follows.ours == pytest.approx([50.0] * 3)
    assert follows.peer == pytest.approx([50.0, 48.0, 50.0])
    assert by_name["SD of its log10", rates.PEER].peer == pytest.approx([math.sqrt(1 / 3)])
    judged = by_name["its SD, points", "SD between seeds"]
    assert (judged.ours, judged.reached) == (pytest.approx([0.0], abs=1e-9), True)
    assert judged.peer == pytest.approx([math.sqrt(5 * 2 / 12)])


def test_a_grid_of_rates_is_trained_with_every_seed(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    brief = dataclasses.replace(SMALL.variants[0], epochs=2)
    monkeypatch.setattr(rates, "find_variant", lambda _: (brief, SMALL))
    found = rates.trainings("elu", directory, rates=[0.001, 0.01], seeds=[5, 6])["trainings"]
    assert [(one["rate"], one["seed"]) for one in found] == [
        (rate, seed) for seed in (5, 6) for rate in (0.001, 0.01)
    ]
    assert all(0 <= one["accuracy"] <= 1 for one in found)


def test_a_way_to_search_that_is_unknown_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"against: .*'hyperbend'.*hyperband"):
        search.search(search.Search(against=("eight_rates", "hyperbend")))


@pytest.mark.slow
@pytest.mark.usefixtures("small_networks")
def test_a_step_is_taken_apart_as_it_is_trained(
    directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in limit.ONE_THREAD.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(limit, "_repeated", lambda function: timeit.timeit(function, number=1))
    monkeypatch.setattr(limit, "REPEATS", 1)
    row = limit.steps("elu", directory)
    assert min(row[part] for part in ("step", "program", "sgd", "forward", "gather")) > 0
    assert row["limit"] == pytest.approx(row["matmul"] + row["nadam_traffic"])


@pytest.mark.parametrize("variant", [ELU, BN, SELU], ids=lambda variant: variant.name)
def test_the_limits_multiplications_are_those_of_the_networks_dense_layers(
    variant: Variant, directory: str
) -> None:
    model = build_model(variant, splits.open_splits(Path(directory)), seed=1)
    kernels = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    sizes = [int(np.prod(kernel.shape)) for kernel in kernels]
    assert limit.weight_sizes(variant, 192, 3) == sizes
    counted = limit.multiplications(variant, features=192, classes=3)
    done = sum(math.prod(shape) * count for shape, count in counted.items())
    # Forward and for the weights' gradients all of them; for the inputs' all but the first.
    assert done == variant.batch_size * (3 * sum(sizes) - sizes[0])


def test_the_recipe_searches_for_every_variant() -> None:
    assert list(recipe.SEARCHED_EPOCHS) == [variant.name for variant in COMPARISON.variants]


def test_a_rerun_that_imports_tensorflow_is_refused(tmp_path: Path) -> None:
    python = [sys.executable, "-c"]
    for name in ("mlflow", "tensorflow"):  # what is imported does not matter, but its name
        (tmp_path / f"{name}.py").touch()
    many_runs.check_tensorflow_is_not_imported([*python, "import mlflow"], tmp_path)
    with pytest.raises(RuntimeError, match="imported TensorFlow"):
        many_runs.check_tensorflow_is_not_imported([*python, "import mlflow, tensorflow"], tmp_path)


def test_data_that_is_checked_is_the_data_that_is_mapped(directory: str) -> None:
    ours, peer = opening.checked(directory), opening.mapped(directory)
    assert ours["images"] == peer["images"] == 240
    assert ours["wall_seconds"] > 0


def test_images_that_grow_are_saved_whole(tmp_path: Path) -> None:
    growth.save_images(tmp_path, 2500)
    saved = growth.open_images(tmp_path)
    assert saved.x_train.shape == (2500, 32, 32, 3)
    assert saved.x_val.shape == (250, 32, 32, 3)
    assert len(saved.y_train) == 2500
    assert (saved.x_train[2000:2500] == saved.x_train[:500]).all()
    assert saved.x_train[2499].any()


def test_without_control_groups_there_is_no_limited_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "GROUPS", tmp_path / "missing")
    with growth.group_with(100) as group:
        assert group is None


def test_copied_runs_are_of_earlier_nights_and_no_better_than_the_original(store: Path) -> None:
    original = finish(
        Small(given={"variant": "elu", "seed": 1}),
        name="train elu",
        tags={"data_fingerprint": "f" * 64, "dataset": "mnist_5k"},
    )
    client = mlflow.MlflowClient()
    once = {"best_val_loss": 1.0, "best_val_accuracy": 0.5}
    curves = {"val_loss": 1.0, "elapsed_seconds": 1.0}
    points = [Metric(name, value, 0, 0) for name, value in (once | curves).items()]
    client.log_batch(original, metrics=points)
    copies = many_runs.Copies(mlflow.get_tracking_uri(), epochs=150)
    for count in (3, 6):
        copies.fill(count)
        newest, *added = client.search_runs(["0"], order_by=["attributes.start_time DESC"])
        assert (newest.info.run_id, 1 + len(added)) == (original, count)
    assert {run.info.status for run in added} == {"FINISHED"}
    # In turn of older code, on two other data sets, and with a seed of its own.
    assert [run.data.params["seed"] for run in added] == ["1", "1", "1", "4001", "1"]
    names = [run.data.tags["dataset"] for run in added]
    assert names == ["mnist_5k", "other_2", "other_3", "mnist_5k", "mnist_5k"]
    assert len({(run.data.tags["data_fingerprint"]) for run in added}) == 3
    assert len({run.data.tags["step_key"] for run in (newest, *added)}) == count
    for run in added:
        history = client.get_metric_history(run.info.run_id, "val_loss")
        assert [point.step for point in history] == list(range(1, 151))
        assert run.data.metrics["best_val_loss"] >= 1.0
        assert run.data.metrics["best_val_accuracy"] <= 0.5
        assert run.outputs
        assert len(run.outputs.model_outputs) == 1
    elapsed = client.get_metric_history(added[0].info.run_id, "elapsed_seconds")
    assert all(b.value > a.value for a, b in itertools.pairwise(elapsed))


@pytest.mark.usefixtures("store")
def test_copied_trainings_differ_in_seed_and_share_curve_and_artifacts() -> None:
    client = mlflow.MlflowClient()
    tags = {"step": "train", "step_key": "abc", "replicates_key": "of bn"}
    original = client.create_run("0", tags=tags).info.run_id
    parameters = [Param("variant", "bn"), Param("seed", "2")]
    client.log_batch(original, [Metric("val_loss", 2.0 / n, 0, n) for n in (1, 2, 3)], parameters)
    client.log_text(original, "logged once", "note.txt")
    client.set_terminated(original)
    report.Copies(Path(mlflow.get_tracking_uri().removeprefix("sqlite:///"))).fill(3)
    runs = client.search_runs(["0"], "tags.replicates_key = 'of bn'")
    assert sorted(int(run.data.params["seed"]) for run in runs) == [2, 14, 26]
    assert len({run.data.tags["step_key"] for run in runs}) == 3
    for run in runs:
        curve = client.get_metric_history(run.info.run_id, "val_loss")
        assert [(point.step, point.value) for point in curve] == [(1, 2.0), (2, 1.0), (3, 2 / 3)]
        assert Path(client.download_artifacts(run.info.run_id, "note.txt")).read_text("utf-8")


def test_a_simulated_training_is_held_ended_and_logged_as_a_real_one(store: Path) -> None:
    step = simulated.Sleeping(seed=7, epochs=3, seconds=0.1, workers=1)
    assert simulated.taken(step) > 3 * 0.1
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"], f"tags.step_key = '{step.key}'")
    assert (run.info.status, run.data.params["seed"]) == ("FINISHED", "7")
    for name in simulated.METRICS:
        assert [one.step for one in client.get_metric_history(run.info.run_id, name)] == [1, 2, 3]
    assert len(client.list_artifacts(run.info.run_id)) == len(simulated.ARTIFACTS)
    assert run.outputs
    (model,) = run.outputs.model_outputs
    files = client.list_logged_model_artifacts(model.model_id)
    assert sorted(one.file_size or 0 for one in files) == sorted(simulated.MODEL)
    assert list(Path("checkpoints").glob("*")) == []


def test_what_processes_have_used_counts_those_that_they_started_too() -> None:
    busy = "sum(range(5 * 10**7))"  # on a fast machine half a second
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}]); input()"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while simulated.used({"parent": [process.pid]})["parent"] < 0.1:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.communicate(b"\n")


def test_processes_train_at_once_and_an_epoch_is_the_median_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seconds = iter([[1.0, 2.0, 9.0], [3.0, 4.0, 5.0]])
    both = threading.Barrier(2)

    def call(function: Callable[..., harness.Row], given: harness.Row) -> harness.Row:
        both.wait(timeout=30)
        inspect.signature(function).bind(**given)
        assert (function, given["epochs"]) == (throughput.compiled, 3)
        return {"epoch_wall_seconds": next(seconds)}

    monkeypatch.setattr(harness, "call", call)
    assert jobs.at_once(2, directory="anywhere", epochs=3) == {"epoch_seconds": 3.5}


def test_two_jobs_are_held_against_what_the_machine_allows() -> None:
    sides = {harness.OURS: 6.0, jobs.PEER: 4.5, jobs.TOGETHER: 5.0, jobs.ALONE: 4.0}
    measured = pd.DataFrame(
        {"side": side, "epoch_seconds": seconds} for side, seconds in sides.items()
    )
    of_main, of_machine = jobs.epoch_notes(measured)
    assert "6.00 s beside another worker, 4.50 s alone" in of_main
    assert "train 1.60 times as many epochs" in of_machine


def test_verdicts_of_a_large_effect_are_right_and_take_few_trainings() -> None:
    setting = verdicts.Setting(sds="0.5", effect=4.0)
    outcome = verdicts.compare(setting, np.random.default_rng(0))
    assert (outcome.right, outcome.false_verdict, outcome.false_equal) == (1.0, False, False)
    assert outcome.covered == 1.0
    assert 15 <= outcome.trainings < 25


@pytest.mark.parametrize(("points", "slower", "found"), [(4.0, 1.0, 1.0), (0.0, 1.6, 1.0)])
def test_a_night_with_a_large_change_is_found(points: float, slower: float, found: float) -> None:
    setting = regressions.Setting(then=12, now=3, points=points, slower=slower, variants=2)
    outcome = regressions.night(setting, np.random.default_rng(0))
    assert outcome == regressions.Outcome(false_alarm=False, false_better=False, found=found)


def test_alarms_without_a_cause_are_counted() -> None:
    setting = regressions.Setting(then=3, now=3, points=9.0, variants=1)
    generator = np.random.default_rng(0)
    outcome = regressions.night(setting, generator)
    assert (outcome.false_alarm, outcome.found) == (False, 1.0)
    unchanged = dataclasses.replace(setting, points=0.0)
    found = regressions.shifts_of(setting, generator)
    assert regressions.outcome(found, unchanged).false_alarm


def test_verdicts_of_a_fixed_design_take_its_trainings_and_no_more() -> None:
    for variants, trainings in ((5, 25), (2, 10)):
        setting = verdicts.Setting(sds="1.0", effect=0.0, fixed=5, variants=variants)
        outcome = verdicts.compare(setting, np.random.default_rng(0))
        assert outcome.trainings == trainings
        assert math.isnan(outcome.right)


def test_verdicts_that_are_false_are_counted() -> None:
    """A question's variant that is worse by far, whose effect is taken to be none, or large."""
    found = verdicts.answers(
        verdicts.QUESTIONS[:1],
        {
            name: {
                "test_accuracy": mean + np.array([0.0, 0.001, 0.002]),
                "train_seconds": np.ones(3),
            }
            for name, mean in {"a": 0.5, "b": 0.4}.items()
        },
    )
    (question,) = (one.question.id for one in found)
    for effect in (0.0, 0.04):
        outcome = verdicts.outcome(found, {question: effect}, {}, {"a": 3, "b": 3})
        assert outcome.false_verdict
        assert outcome.covered == 0
    assert outcome.right == 0
