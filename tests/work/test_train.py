"""What a training run logs, whether it can be used, and whether it can be repeated."""

import json
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import Finished
from mlflow.models.cli import commands
from small_layers import COMPARISON, SMALL
from step_runs import opened_by_mlflow_run

from pipeline.base import InputError
from pipeline.comparing import evidence, predictions
from pipeline.data.splits import open_splits
from pipeline.main import main
from pipeline.mc_dropout import mc_dropout
from pipeline.parameters import Main, McDropout, Train, declared
from pipeline.steps.step import recorded_settings
from pipeline.tracking import addresses, client
from pipeline.tracking.names import revealed
from pipeline.train import train
from pipeline.work.train import for_json

pytestmark = pytest.mark.slow

PER_EPOCH = {
    "train_loss",
    "train_accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "epoch_seconds",
    "epoch_cpu_seconds",
    "elapsed_seconds",
}


def _training_run(variant: str, seed: int) -> client.Run:
    query = f"tags.step = 'train' and params.variant = '{variant}' and params.seed = '{seed}'"
    runs = mlflow.MlflowClient().search_runs(["0"], query, order_by=["attributes.start_time"])
    return runs[0]


def _metric(run: client.Run, name: str) -> list[float]:
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, name)
    assert [metric.step for metric in history] == list(range(1, len(history) + 1))
    return [metric.value for metric in history]


def test_curves_have_one_value_per_epoch_from_epoch_one(finished_store: Finished) -> None:
    run = _training_run("elu", 1)
    lengths = {name: len(_metric(run, name)) for name in PER_EPOCH}
    assert set(lengths.values()) == {int(run.data.metrics["epochs_run"])}


def test_final_metrics_agree_with_the_curves(finished_store: Finished) -> None:
    run = _training_run("elu", 2)
    losses = _metric(run, "val_loss")
    metrics = run.data.metrics
    assert metrics["best_epoch"] == 1 + int(np.argmin(losses))
    assert metrics["best_val_loss"] == min(losses)
    assert metrics["best_val_accuracy"] == _metric(run, "val_accuracy")[np.argmin(losses)]
    gap = metrics["best_train_accuracy"] - metrics["test_accuracy"]
    assert metrics["generalization_gap"] == pytest.approx(gap)
    path = client.local_artifact(run.info.run_id, "class_precision.json")
    precisions = json.loads(path.read_text("utf-8"))
    assert metrics["test_precision"] == pytest.approx(np.mean(list(precisions.values())))
    for name in ("epoch_seconds", "epoch_cpu_seconds"):
        assert metrics[f"median_{name}"] == pytest.approx(np.median(_metric(run, name)))


def test_no_number_has_digits_that_mean_nothing(finished_store: Finished) -> None:
    for variant in ("elu", "alpha_dropout"):
        run = _training_run(variant, 1)
        rate = run.data.params["chosen_learning_rate"]
        assert rate == f"{float(rate):.3g}"
        numbers = [
            *run.data.metrics.values(),
            *(one for name in PER_EPOCH for one in _metric(run, name)),
        ]
        assert [
            one
            for one in numbers
            if len(f"{one!r}".split("e")[0].replace(".", "").lstrip("-0")) > 9
        ] == []
        assert f"-P learning_rate={rate} " in run.data.tags["mlflow.note.content"]


def test_note_says_what_the_metrics_are_and_links_what_the_run_was_made_from(
    finished_store: Finished,
) -> None:
    run = _training_run("alpha_dropout", 1)
    note, metrics, tags = run.data.tags["mlflow.note.content"], run.data.metrics, run.data.tags
    rows = dict(re.findall(r"^\| `(\w+)`&emsp; \| ([^|]+)&emsp; \|", note, re.MULTILINE))
    assert set(rows) - {"chosen_learning_rate"} <= set(metrics)
    assert rows["test_accuracy"] == f"{metrics['test_accuracy']:.2%}"
    assert rows["best_val_loss"] == f"{metrics['best_val_loss']:.4f}&nbsp;nats"
    for tag in ("search_run", "prepare_run", "pipeline_run"):
        assert f"({addresses.run_page('0', tags[tag])[1:]})" in note
    linked = re.findall(rf"\(#/experiments/0/runs/{run.info.run_id}/artifacts/([^?)]+)\?", note)
    artifacts = mlflow.artifacts.list_artifacts(run_id=run.info.run_id)
    assert len(linked) == 5
    assert set(linked) <= {artifact.path for artifact in artifacts}
    assert "\\" not in note


def test_logged_model_predicts_raw_images_as_the_run_says(finished_store: Finished) -> None:
    run = _training_run("alpha_dropout", 1)
    splits = open_splits(client.local_artifact(run.data.tags["prepare_run"], "data"))
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/alpha_dropout")
    probabilities = np.asarray(model.predict(np.asarray(splits.x_test)))
    assert probabilities.shape == (60, 3)
    accuracy = (probabilities.argmax(axis=1) == splits.y_test).mean()
    assert accuracy == pytest.approx(run.data.metrics["test_accuracy"])
    logged = np.load(client.local_artifact(run.info.run_id, "predictions/test.npy"))
    np.testing.assert_allclose(logged, probabilities, rtol=2e-3, atol=1e-6)


def test_every_run_logs_what_it_predicts_on_test_and_validation_images(
    finished_store: Finished,
) -> None:
    runs = [_training_run(variant, seed) for variant in ("elu", "alpha_dropout") for seed in (1, 2)]
    for name, expected in {"test": runs, "validation": runs, "mc_test": runs[2:]}.items():
        found = predictions.read(runs, name)
        assert list(found.probabilities) == [run.info.run_id for run in expected]
        for run in expected:
            accuracy = run.data.metrics[predictions.LOGGED[name][1]]
            assert found.correct[run.info.run_id].mean() == pytest.approx(accuracy)


def test_logged_model_answers_mlflow_models_predict(
    finished_store: Finished, tmp_path: Path
) -> None:
    run = _training_run("alpha_dropout", 1)
    images = np.zeros((2, 8, 8, 3), np.uint8).tolist()
    (tmp_path / "in.json").write_text(json.dumps({"inputs": images}))
    command = [
        *("predict", "-m", f"runs:/{run.info.run_id}/alpha_dropout", "--env-manager", "local"),
        *("-i", str(tmp_path / "in.json"), "-t", "json", "-o", str(tmp_path / "out.json")),
    ]
    done = CliRunner().invoke(commands, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    answer = json.loads((tmp_path / "out.json").read_text())
    assert np.shape(answer["predictions"]) == (2, 3)


def test_artifacts_and_inputs_of_a_run_with_dropout(finished_store: Finished) -> None:
    run = _training_run("alpha_dropout", 2)
    artifacts = mlflow.artifacts.list_artifacts(run_id=run.info.run_id)
    assert {artifact.path for artifact in artifacts} >= {
        "learning_curve.png",
        "confusion_matrix.png",
        "class_accuracy.png",
        "class_accuracy.json",
        "class_precision.json",
        "activations.png",
        "model_summary.txt",
        "mc_dropout",
        "predictions",
    }
    assert run.inputs is not None
    contexts = {tag.value for given in run.inputs.dataset_inputs for tag in given.tags}
    assert contexts == {"training", "validation", "test"}


def test_statistics_that_are_not_finite_are_null_as_json_has_no_such_numbers() -> None:
    assert for_json({"mean": [np.inf, 0.5], "rank": [np.nan]}) == {
        "mean": [None, 0.5],
        "rank": [None],
    }


def test_statistics_of_all_layers_are_logged(finished_store: Finished) -> None:
    run = _training_run("elu", 1)
    path = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="layers.json")
    statistics = json.loads(Path(path).read_text())
    variant, _ = recorded_settings(run.data.tags)
    for when in ("at initialisation", "after training"):
        assert {len(of) for of in statistics[when].values()} == {variant["hidden_layers"]}
    after, metrics = statistics["after training"], run.data.metrics
    assert metrics["dead_units"] == np.mean(after["dead_units"])
    assert metrics["distinct_units"] == min(after["distinct_units"])
    assert metrics["activation_rank"] == min(after["rank"])
    assert metrics["distance_from_initial_weights"] > 0.1


def test_repeated_training_gives_the_same_curve_to_the_last_digit(
    finished_store: Finished,
) -> None:
    first = _training_run("alpha_dropout", 1)
    given = dict(text.split("=", 1) for text in finished_store.arguments if "=" in text)
    same: dict[str, Any] = {name: given[name] for name in declared(Train) if name in given}
    again = train(Train(**same, variant="alpha_dropout", seed=1, reuse="never"))
    second = mlflow.MlflowClient().get_run(again)
    assert again != first.info.run_id
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        assert _metric(second, name) == _metric(first, name)
    for name in ("test_loss", "mc_accuracy", "mc_nll", "mc_ece"):
        assert second.data.metrics[name] == first.data.metrics[name]


def test_what_follows_a_training_under_mlflow_run_reads_its_resolved_parameters(
    store: Path, tiny_npz: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("patience", "batch_size", "dropout_rate", "dropout_layers", "dataset")
    opened = opened_by_mlflow_run(
        "train", experiment="0", variant="one_cycle", epochs="3", **dict.fromkeys(names, "auto")
    )
    asked: dict[str, Any] = {
        "comparison": SMALL,
        "dataset": str(tiny_npz),
        "learning_rate": 0.01,
        "epochs": 3,
        "mc_samples": 10,
    }
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_RUN_ID", opened)
        assert opened == train(Train(variant="one_cycle", **asked))
    assert client.get_run(opened).data.params["dropout_rate"] == "auto"

    mc_dropout(McDropout(run_id=opened, mc_samples=20))
    run = client.get_run(opened)
    assert run.data.metrics["mc_samples"] == 20
    assert list(predictions.read([run], "mc_test").probabilities) == [opened]
    found = evidence.collect([run], [], comparison=COMPARISON, baseline="one_cycle")
    assert not found.runs["capped"].any()  # it has no patience
    assert "Patience" not in [fact.name for fact in found.facts if fact.flagged]

    capsys.readouterr()
    main(Main(variants=("one_cycle",), plan="only", **asked))
    assert "1 run of one_cycle" in capsys.readouterr().out


def test_a_comparison_adds_seeds_to_those_trained_by_hand_until_it_ends_and_then_does_nothing(
    store: Path, tiny_npz: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {
        "comparison": SMALL,
        "dataset": str(tiny_npz),
        "learning_rate": 1e-12,  # nothing is learnt, so that nothing is decided
        "epochs": 1,
        "batch_size": 64,
    }
    by_hand = train(Train(variant="bn", seed=9, **asked))
    of = {**asked, "variants": ("elu", "bn"), "max_seeds": 4, "jobs": 1}
    main(Main(**of))
    trainings = mlflow.MlflowClient().search_runs(["0"], "tags.step = 'train'")
    ids = {run.data.tags["mlflow.runName"]: run.info.run_id for run in reversed(trainings)}
    assert next(iter(ids)) == "train bn seed 9"
    assert (
        len({revealed(run.data.tags)["pid"] for run in trainings}) == 2
    )  # one worker for all rounds
    rounds = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Round")]
    assert rounds[0].startswith("Round 1: seeds 1 to 3 of elu; seeds 1 and 2 of bn, since no ver")
    assert rounds[1].startswith("Round 2: seed 4 of elu; seed 3 of bn, since `bn` against `elu` is")
    assert len(rounds) == 2
    (compared,) = mlflow.MlflowClient().search_runs(["0"], "tags.step = 'compare'")
    table = client.local_artifact(compared.info.run_id, "runs.csv").read_text("utf-8")
    assert all(table.count(run_id) == 1 for run_id in ids.values())
    assert compared.data.params["runs"] == "8, see runs.csv"
    assert by_hand in ids.values()

    main(Main(**of))
    assert "comparison small_layers on stripes: reused" in capsys.readouterr().out
    assert len(mlflow.MlflowClient().search_runs(["0"], "tags.step = 'train'")) == len(trainings)


def test_bad_values_are_refused_before_anything_is_run(store: Path, tiny_npz: Path) -> None:
    data = str(tiny_npz)
    with pytest.raises(InputError, match="no dropout"):
        train(Train(variant="elu", dropout_rate=0.2, dataset=data))
    with pytest.raises(InputError, match="Did you mean 'alpha_dropout'"):
        train(Train(variant="alpha_drop", dataset=data))
    with pytest.raises(InputError, match="storage"):
        train(Train(variant="elu", storage="postgresql://user:secret@host/studies", dataset=data))
    assert not mlflow.MlflowClient().search_runs(["0"])


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may get larger than some bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


WIDE = """
from pipeline.comparisons import Comparison, Variant

COMPARISON = Comparison(variants=(Variant(name="wide", hidden_layers=1, units=1000),))
"""


def test_disk_full_at_a_checkpoint_leaves_nothing_behind_and_the_same_command_goes_on(
    store: Path, tiny_npz: Path
) -> None:
    # Its checkpoints are larger than MLflow's database.
    (store / "wide.py").write_text(WIDE, "utf-8")
    asked: dict[str, Any] = {"comparison": "wide.py", "variant": "wide", "dataset": str(tiny_npz)}

    def run() -> str:
        return train(Train(**asked, learning_rate=0.001, epochs=3))

    with largest_file(2_000_000), pytest.raises(OSError, match="File too large"):
        run()
    (failed,) = mlflow.MlflowClient().search_runs(["0"], "tags.step = 'train'")
    assert failed.info.status == "FAILED"
    assert "File too large" in failed.data.tags["failure_reason"]
    assert [path for path in store.glob("checkpoints/*/*") if path.is_file()] == []
    assert client.get_run(run()).info.status == "FINISHED"
