"""Trials: nested and linked, and a search that was cut off goes on with them."""

import re
from dataclasses import replace
from pathlib import Path

import mlflow
import optuna
import pytest
from conftest import Finished
from small_layers import SMALL

from pipeline.base import progress
from pipeline.comparisons import Variant
from pipeline.comparisons.twenty_layers import ELU, ONE_CYCLE
from pipeline.parameters import Search as Asked
from pipeline.search import search
from pipeline.tracking import addresses
from pipeline.tracking.runs import StepRun
from pipeline.work import trials
from pipeline.work.search import MOST_WIDENED
from pipeline.work.study import StudySettings


def test_link_holds_the_address_where_there_is_a_server_but_never_its_password(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = optuna.create_study()
    run = StepRun("a1", "7")
    trials.link(study, run, {"variant": "elu"})
    page = "/#/experiments/7/runs/a1?workflowType=machine_learning"
    here = f"http://127.0.0.1:5000{page}"  # where `make ui` shows it
    assert study.user_attrs == {"variant": "elu", "mlflow_run_id": "a1", "mlflow_url": here}
    mlflow.set_tracking_uri("http://user:hunter2@host:5000/")
    trials.link(study, run, {})
    assert study.user_attrs["mlflow_url"] == f"http://host:5000{page}"


@pytest.mark.slow
def test_trials_are_nested_runs_with_a_curve_and_linked_both_ways(finished_store: Finished) -> None:
    client = mlflow.MlflowClient()
    (run,) = client.search_runs(["0"], "tags.step = 'search' and tags.variant = 'elu'")
    runs = client.search_runs(["0"], f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    study = optuna.load_study(study_name=run.data.tags["study"], storage="sqlite:///optuna.db")
    name = rf"elu on stripes, \d{{4}}-\d\d-\d\d \d\d:\d\d UTC, run {run.info.run_id[:8]}"
    assert re.fullmatch(name, study.study_name)
    assert study.user_attrs.items() >= {"variant": "elu", "dataset": "stripes"}.items()
    assert study.user_attrs["mlflow_run_id"] == run.info.run_id
    note = study._storage.get_study_system_attrs(study._study_id)["dashboard:note_str:0"]
    assert f"](http://127.0.0.1:5000{addresses.run_page('0', run.info.run_id)})" in note
    assert f"Chosen: learning rate **{run.data.params['best_learning_rate']}**" in note
    linked = {
        (
            trial.data.tags["optuna_study"],
            int(trial.data.tags["optuna_trial"]),
            trial.info.run_id,
            trial.info.run_name,
        )
        for trial in runs
    }
    assert linked == {
        (
            study.study_name,
            trial.number,
            trial.user_attrs["mlflow_run_id"],
            f"trial {trial.number} elu on stripes",
        )
        for trial in study.trials
    }
    assert {trial.user_attrs["name"] for trial in study.trials} == {
        trial.info.run_name for trial in runs
    }
    for trial in study.trials:
        history = client.get_metric_history(trial.user_attrs["mlflow_run_id"], "val_loss")
        assert {metric.step: metric.value for metric in history} == trial.intermediate_values


@pytest.mark.parametrize(("variant", "judged"), [(ELU, (2, 1.0)), (ONE_CYCLE, (3, 2.0))])
def test_a_trial_is_judged_as_a_training_is(variant: Variant, judged: tuple[int, float]) -> None:
    asked = Asked(variant=variant.name, n_trials=1, search_epochs=3)
    settings = StudySettings(variant=asked.configured(variant), asked=asked)
    trial = optuna.create_study(pruner=optuna.pruners.NopPruner()).ask()
    trained = trials.Trial(trial, settings)
    for epoch, loss in enumerate((3.0, 1.0, 2.0), start=1):
        trained.report(epoch, loss)
    assert trained.judged == judged


# A study of elu on the tiny data: five trials spread over the range, the others drawn by TPE.
ASKED = Asked(variant="elu", comparison=SMALL, n_trials=7, search_epochs=4, learning_rate_max=0.001)
Trials = list[tuple[int, str, float, dict[int, float]]]


def _trials(directory: Path) -> Trials:
    """Number, state, rate and curve of every trial of the one study of a folder."""
    storage = f"sqlite:///{directory}/optuna.db"
    (name,) = optuna.get_all_study_names(storage)
    return [
        (one.number, one.state.name, one.params["learning_rate"], one.intermediate_values)
        for one in optuna.load_study(study_name=name, storage=storage).trials
    ]


def _search_cut_off_at(moments: list[str], tiny_npz: Path) -> None:
    """Search, interrupted at each of these lines of progress, and started again every time."""
    asked = replace(ASKED, dataset=str(tiny_npz))
    left = list(moments)

    def interrupt(news: progress.Update) -> None:
        if left and news.get("text", "").startswith(left[0]):
            left.pop(0)
            raise KeyboardInterrupt

    for _ in moments:
        with pytest.raises(KeyboardInterrupt), progress.sending_to(interrupt):
            search(asked)
    with progress.sending_to(interrupt):
        search(asked)
    assert left == []


@pytest.mark.slow
def test_a_search_that_was_cut_off_goes_on_and_equals_one_that_was_not(
    store: Path, tiny_npz: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(_folder(tmp_path / "whole"))
    _search_cut_off_at([], tiny_npz)
    whole = _trials(tmp_path / "whole")
    for run in mlflow.search_runs(output_format="list"):  # none but the data is to be reused
        if run.data.tags["step"] != "prepare":
            mlflow.delete_run(run.info.run_id)

    monkeypatch.chdir(_folder(tmp_path / "cut off"))
    # Every trial of the spread ones begins; one that waits and one that goes on are cut off.
    moments = ["compiling", "trial 0 epoch 1", "trial 4 epoch 1", "trial 4 epoch 3", "trial 6"]
    _search_cut_off_at(moments, tiny_npz)
    assert _trials(tmp_path / "cut off") == whole
    # The best rate lay at an edge, again and again.
    assert len(whole) == 7 + 2 * MOST_WIDENED
    assert max(rate for _, _, rate, _ in whole) > 10 * ASKED.learning_rate_max

    client = mlflow.MlflowClient()
    runs = client.search_runs(["0"], "attributes.status != 'FINISHED'")
    assert [run.info.run_name for run in runs] == []
    trial_runs = client.search_runs(["0"], "tags.step = 'trial'")
    assert len(trial_runs) == len(whole)
    for run in trial_runs:
        history = client.get_metric_history(run.info.run_id, "val_loss")
        number = int(run.data.tags["optuna_trial"])
        assert {metric.step: metric.value for metric in history} == whole[number][3]
        assert len(history) == len(whole[number][3])
    assert list(Path("checkpoints").iterdir()) == []


def _folder(path: Path) -> Path:
    path.mkdir()
    return path
