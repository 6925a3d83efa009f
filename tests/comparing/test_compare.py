"""The comparison of finished training runs."""

import io
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from compared_runs import train_run
from conftest import Finished, run_in
from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag

from pipeline import compare as door
from pipeline.base import InputError
from pipeline.comparing import compare as work
from pipeline.comparing import evidence
from pipeline.comparing.choice import choose
from pipeline.comparisons import Variant
from pipeline.comparisons.twenty_layers import BN, COMPARISON, ELU
from pipeline.parameters import Compare
from pipeline.tracking import client

PICTURES = {"accuracy_by_time", "curves_by_epoch", "curves_by_seconds", "epoch_seconds"}
PICTURES |= {"time_to_target"}


def _artifact(run_id: str, name: str) -> str:
    return mlflow.artifacts.load_text(f"runs:/{run_id}/{name}")


def _artifacts(run_id: str) -> set[str]:
    return {item.path for item in mlflow.artifacts.list_artifacts(run_id=run_id)}


def _table(run_id: str, name: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(_artifact(run_id, f"{name}.csv")))


def compare(**asked: Any) -> str:
    return door.compare(Compare(**asked))


def _key(runs: list[client.Run] | None = None) -> str:
    """What a comparison of the newest runs, or of some, is known by."""
    chosen = runs or choose(None, COMPARISON)
    return work.step_of(COMPARISON, chosen, baseline="elu").key


def _trained(variant: Variant, seed: int, *, epochs: int = 3, **changes: Any) -> str:
    """The id of a run with the metrics that `train` logs, made up: no network is trained."""
    run_id = train_run(variant, seed, **changes).info.run_id
    connection = mlflow.MlflowClient()
    model = connection.create_logged_model("0", name="model", source_run_id=run_id)
    connection.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    generator = np.random.default_rng([seed, len(variant.name)])
    val_loss = np.sort(generator.uniform(1, 2, epochs))[::-1]
    metrics = [
        Metric(name, float(values[epoch - 1]), epoch, epoch)
        for epoch in range(1, epochs + 1)
        for name, values in {
            "train_loss": val_loss - 0.1,
            "train_accuracy": 1 - val_loss / 3,
            "val_loss": val_loss,
            "val_accuracy": 1 - val_loss / 3,
            "learning_rate": np.full(epochs, 0.001),
            "epoch_seconds": np.full(epochs, 2.0),
            "epoch_cpu_seconds": np.full(epochs, 2.0),
            "elapsed_seconds": 2.0 * np.arange(1, epochs + 1),
        }.items()
    ]
    once = {
        "best_val_loss": val_loss[-1],
        "best_val_accuracy": 1 - val_loss[-1] / 3,
        "best_epoch": epochs,
        "epochs_run": epochs,
        "test_accuracy": 0.5 + seed / 100,
        "test_loss": 1.5 if variant == ELU else 1.6,
        "median_epoch_seconds": 2.0,
        "train_seconds": 2.0 * epochs,
    }
    metrics += [Metric(name, float(value), 0, 0) for name, value in once.items()]
    connection.log_batch(
        run_id,
        metrics=metrics,
        params=[Param("chosen_learning_rate", "0.001")],
        tags=[RunTag("prepare_run", "gone")],
    )
    return run_id


@pytest.fixture
def four_runs(store: Path) -> list[str]:
    return [_trained(variant, seed) for variant in (ELU, BN) for seed in (1, 2)]


def test_report_tables_and_pictures_are_logged(four_runs: list[str]) -> None:
    run_id = compare()
    names = _artifacts(run_id)
    assert {"report.html", "comparison.md", "summary.csv", "answers.csv"} <= names
    assert {name.removesuffix(".png") for name in names if name.endswith(".png")} == PICTURES
    assert "4 training runs of 2 variants" in _artifact(run_id, "report.html")
    assert "## Not compared" not in _artifact(run_id, "comparison.md")
    assert list(_table(run_id, "runs")["run_id"]) == four_runs


def test_report_says_who_is_champion_and_links_runs_as_they_open_on_the_server(
    four_runs: list[str],
) -> None:
    run_id = compare()
    page = _artifact(run_id, "report.html")
    server = "http://127.0.0.1:5000/#/"
    for one in (run_id, *four_runs):
        assert f'href="{server}experiments/0/runs/{one}?workflowType=machine_learning"' in page
    (note,) = re.findall(r"## Champion\n\n(.*)\n", _artifact(run_id, "comparison.md"))
    reason = note.rpartition("; ")[2]
    assert reason in page
    assert page.count(f'href="{server}models/twenty-layers-') == 1
    assert datetime.now(UTC).strftime("%Y-%m-%d") in page


def test_answers_are_logged_as_values_and_as_tags(four_runs: list[str]) -> None:
    for variant in (ELU, BN):
        _trained(variant, 3)
    run_id = compare()
    answers = _table(run_id, "answers").set_index("question")
    assert list(answers["metric"]) == ["test_accuracy", "epochs_to_target", "median_epoch_seconds"]
    quality = answers.loc["bn_quality_over_elu"]
    assert (quality["verdict"], quality["runs"], quality["reference_runs"]) == ("undecided", 3, 3)
    assert quality["low"] == -quality["high"] < quality["effect"] == 0
    tags = client.get_run(run_id).data.tags
    assert tags["verdict.bn_quality_over_elu"].startswith("Undecided, +0.00 points (")
    assert tags["comparison"] == "twenty_layers"


def test_curves_are_those_that_were_logged(four_runs: list[str]) -> None:
    curves = _table(compare(), "curves")
    assert list(curves["run_id"]) == [run_id for run_id in four_runs for _ in range(3)]
    assert list(curves["epoch"]) == [1, 2, 3] * 4
    for row in curves.to_dict("records"):
        history = mlflow.MlflowClient().get_metric_history(row["run_id"], "val_loss")
        assert row["val_loss"] in {
            metric.value for metric in history if metric.step == row["epoch"]
        }
    assert not curves[list(evidence.CURVE_METRICS.values())].isna().any().any()


def test_what_changed_is_told_against_the_newest_comparison_of_its_name_and_data(
    four_runs: list[str],
) -> None:
    first = "This is the first comparison of its name on this data."
    assert first in _artifact(compare(), "comparison.md")
    assert _changed(compare(reuse="never")).startswith("Nothing has changed since")
    for variant in (ELU, BN):
        _trained(variant, 3)
    said = _changed(run_id := compare())
    assert "Added: seed 3 of elu and bn." in said
    assert said in client.get_run(run_id).data.tags["mlflow.note.content"]
    assert said in mlflow.get_experiment("0").tags["mlflow.note.content"]
    assert "Added: seed 3 of elu and bn." in _artifact(run_id, "report.html")
    assert "elu, test accuracy</td>" in _artifact(run_id, "report.html")


def _changed(run_id: str) -> str:
    """What a comparison says has changed."""
    lines = _artifact(run_id, "comparison.md").splitlines()
    (found,) = [line for line in lines if "since the comparison of" in line.lower()]
    return found


def test_runs_that_failed_are_named_and_make_for_a_new_comparison(four_runs: list[str]) -> None:
    before = _key()
    assert _key() == before
    reason = {"failure_reason": "DivergenceError: loss is nan in epoch 2 & <b>"}
    train_run(BN, 3, status="FAILED", tags=reason)
    assert _key() != before
    after = compare()
    said = "train bn seed 3: diverged (loss is nan in epoch 2 &amp; &lt;b&gt;)"
    assert f"## Not compared\n\n- {said}\n" in _artifact(after, "comparison.md")
    page = _artifact(after, "report.html")
    assert said in page
    assert "<b>" not in page
    assert len(_table(after, "runs")) == 4


def test_a_model_that_was_deleted_is_said_and_the_runs_are_compared(four_runs: list[str]) -> None:
    connection = mlflow.MlflowClient()
    outputs = connection.get_run(four_runs[-1]).outputs
    assert outputs
    for output in outputs.model_outputs:
        connection.delete_logged_model(output.model_id)
    _rank_first(four_runs[-1])
    run_id = compare()
    assert list(_table(run_id, "runs")["run_id"]) == four_runs
    text = _artifact(run_id, "comparison.md")
    assert "not all registered as" in text
    assert f"run {four_runs[-1]}: expected a logged model" in text


def test_runs_that_a_person_gave_one_name_are_all_told_apart(four_runs: list[str]) -> None:
    for run_id in four_runs[:2]:
        client.connect().set_tag(run_id, "mlflow.runName", "nightly")
    runs = [client.get_run(run_id) for run_id in four_runs]
    assert len({_key(runs), _key(runs[1:]), _key([runs[0], *runs[2:]])}) == 3


def _rank_first(run_id: str) -> None:
    """Make a run the best one of its variant."""
    mlflow.MlflowClient().log_metric(run_id, "val_accuracy", 0.99, step=3)


def test_runs_of_a_variant_that_the_comparison_has_not_are_compared_where_they_are_named(
    four_runs: list[str],
) -> None:
    other = _trained(ELU.derive(name="of_old"), 3)
    assert [run.info.run_id for run in choose(None, COMPARISON)] == four_runs
    named = [four_runs[2], other, four_runs[0]]
    run_id = compare(runs=",".join(named))
    assert list(_table(run_id, "summary")["variant"]) == ["bn", "of_old", "elu"]
    assert list(_table(run_id, "runs")["run_id"]) == named
    command = mlflow.get_experiment("0").tags["mlflow.note.content"]
    assert f"-P runs={','.join(named)}" in command


def test_many_runs_are_counted_where_their_names_would_be_cut_off(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "MOST_NAMED", 3)
    for seed in range(1, 5):
        _trained(ELU, seed)
    run_id = compare()
    assert client.get_run(run_id).data.params["runs"] == "4, see runs.csv"
    note = mlflow.get_experiment("0").tags["mlflow.note.content"]
    assert "Run again: `mlflow run . -e compare`" in note
    assert compare() == run_id
    key = _key()
    _trained(ELU, 5)
    assert _key() != key


def test_a_long_note_loses_lines_of_the_middle_but_not_the_command(
    four_runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "RUN_NOTE_LENGTH", 1500)
    run_id = compare(baseline="bn")
    note = client.get_run(run_id).data.tags["mlflow.note.content"]
    assert 1000 < len(note) <= 1500
    assert note.startswith("No model is shown to be better (1 undecided). ")
    assert note.endswith("-P baseline=bn`")
    assert "**Champion**" in note
    assert len(_artifact(run_id, "comparison.md")) > len(note)


def test_nothing_to_compare_is_refused(store: Path) -> None:
    with pytest.raises(InputError, match="none"):
        compare()


@pytest.mark.slow
def test_table_has_the_means_of_the_runs(finished_store: Finished) -> None:
    (run,) = mlflow.MlflowClient().search_runs(["0"], "tags.step = 'compare'")[-1:]
    summary = _table(run.info.run_id, "summary")
    assert list(summary["variant"]) == ["elu", "alpha_dropout"]
    for row in summary.itertuples():
        query = f"tags.step = 'train' and params.variant = '{row.variant}'"
        runs = mlflow.MlflowClient().search_runs(
            ["0"], f"{query} and params.mc_samples = '10'", order_by=["attributes.start_time"]
        )[:2]
        accuracies = [one.data.metrics["test_accuracy"] for one in runs]
        assert row.test_accuracy == pytest.approx(sum(accuracies) / 2)
        assert row.seeds == 2


WITHOUT_TENSORFLOW = """
import sys
from pipeline.compare import compare
from pipeline.parameters import Compare

compare(Compare(runs=sys.argv[1], reuse="never"))
print("imported:", {"tensorflow", "keras"} & set(sys.modules))
"""


@pytest.mark.slow
def test_a_champion_is_challenged_without_tensorflow(finished_store: Finished) -> None:
    champion = mlflow.MlflowClient().get_model_version_by_alias("twenty-layers-stripes", "champion")
    query = f"tags.step = 'train' and params.variant != '{champion.tags['variant']}'"
    runs = mlflow.MlflowClient().search_runs(["0"], query)
    program = ("python", "-c", WITHOUT_TENSORFLOW)
    done = run_in(finished_store.directory, *program, ",".join(run.info.run_id for run in runs))
    assert "imported: set()" in done.stdout, done.stdout
    (latest,) = mlflow.MlflowClient().search_runs(["0"], "tags.step = 'compare'", max_results=1)
    assert "exact McNemar test" in _artifact(latest.info.run_id, "comparison.md")
    ensembles = _table(latest.info.run_id, "ensembles")
    single, ensemble, *with_dropout = ensembles.to_dict("records")
    assert single["accuracy"] == pytest.approx(
        np.mean([run.data.metrics["test_accuracy"] for run in runs])
    )
    assert (ensemble["model"], ensemble["seeds"]) == ("ensemble", 2)
    assert len(with_dropout) == (2 if "mc_accuracy" in runs[0].data.metrics else 0)


@pytest.mark.slow
def test_report_of_a_finished_comparison_has_every_part(finished_store: Finished) -> None:
    (run,) = mlflow.MlflowClient().search_runs(["0"], "tags.step = 'compare'")[-1:]
    pictures = PICTURES | {"learning_rate_search", "activations", "mc_dropout"}
    assert {f"{name}.png" for name in pictures} <= _artifacts(run.info.run_id)
    page = _artifact(run.info.run_id, "report.html")
    parts = ("Learning-rate searches", "Self-normalisation", "Most uncertain images")
    for part in (*parts, "Side by side", "Of 60 test images", "Misclassified images"):
        assert part in page
    assert page.count(" nats</span>") == 12  # the most uncertain images
    assert "first comparison of its name" in page
    assert run.data.tags["champion"].startswith("version ")
    plain = ["one seed", "ensemble"]
    with_dropout = [f"{model} with MC Dropout" for model in plain]
    of = _table(run.info.run_id, "ensembles").groupby("variant")["model"].agg(list)
    assert of.to_dict() == {"elu": plain, "alpha_dropout": plain + with_dropout}


def test_runs_on_different_data_are_refused_and_named(store: Path) -> None:
    one = train_run(ELU, 1).info.run_id
    other = train_run(ELU, 7, tags={"data_fingerprint": "e" * 64}).info.run_id
    with pytest.raises(InputError) as refused:
        compare(runs=f"{one},{other}")
    expected = f"data {'f' * 64}: train elu seed 1; data {'e' * 64}: train elu seed 7"
    assert refused.value.received == expected


def test_mc_dropout_anew_makes_for_a_new_comparison(four_runs: list[str]) -> None:
    first = _key()
    mlflow.MlflowClient().log_metric(four_runs[0], "mc_samples", 1000)
    assert _key() != first


def test_a_baseline_that_is_no_variant_is_refused_and_one_not_compared_is_said(
    four_runs: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = choose(None, COMPARISON)
    with pytest.raises(InputError, match="Did you mean 'elu'"):
        work.step_of(COMPARISON, runs, baseline="elo")
    work.step_of(COMPARISON, runs, baseline="selu")
    assert "The baseline selu is not among the runs compared" in capsys.readouterr().out
