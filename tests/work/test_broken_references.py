"""What MLflow, Optuna, checkpoints and artifacts say of one another can break: it is made again."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import optuna
import pytest
from small_layers import SMALL

from pipeline.base import progress
from pipeline.parameters import Compare, Search, Train
from pipeline.search import search
from pipeline.tracking import client
from pipeline.train import train

pytestmark = pytest.mark.slow

ASKED = Search(variant="elu", comparison=SMALL, n_trials=5, search_epochs=3, learning_rate_max=1)
Trials = list[tuple[int, str, float, dict[int, float]]]


class Watch:
    """Keeps what is said, and does something when a step's line of progress begins with a text."""

    def __init__(self, at: str = "", act: Callable[[], object] = lambda: None):
        self.said: list[str] = []
        self._at, self._act = at, act

    def __call__(self, news: progress.Update) -> None:
        self.said.append(news.get("message", ""))
        if self._at and news.get("text", "").startswith(self._at):
            self._at = ""
            self._act()


def interrupt() -> None:
    raise KeyboardInterrupt


def study_of(run: client.Run) -> Trials:
    """Number, state, rate and curve of every trial of a search's study."""
    study = optuna.load_study(study_name=run.data.tags["study"], storage=ASKED.storage)
    return [
        (one.number, one.state.name, one.params["learning_rate"], one.intermediate_values)
        for one in study.trials
    ]


def delete_runs(step: str) -> None:
    runs = client.search_runs("0", f"tags.step = '{step}'")
    assert runs
    for run in runs:
        client.connect().delete_run(run.info.run_id)


def only_run(step: str) -> client.Run:
    (run,) = client.search_runs("0", f"tags.step = '{step}'")
    return run


@pytest.fixture(scope="module")
def whole(tiny_npz: Path, tmp_path_factory: pytest.TempPathFactory) -> Trials:
    """The study of a search that nothing happened to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("whole"))
        patch.setenv("MLFLOW_TRACKING_URI", uri := f"sqlite:///{Path.cwd()}/mlflow.db")
        mlflow.set_tracking_uri(uri)
        return study_of(client.get_run(search(replace(ASKED, dataset=str(tiny_npz)))))


def delete_storage() -> None:
    Path("optuna.db").unlink()


def delete_search_and_trials() -> None:
    delete_runs("trial")
    delete_runs("search")


def delete_checkpoints() -> None:
    shutil.rmtree("checkpoints")


def take_another_store() -> None:
    mlflow.set_tracking_uri(f"sqlite:///{Path.cwd()}/another.db")


@pytest.mark.parametrize(
    ("lose", "news"),
    [
        (delete_storage, "is gone from sqlite:///optuna.db: its trials are made again."),
        (delete_search_and_trials, ""),
        (lambda: delete_runs("trial"), ""),
        (delete_checkpoints, ""),
        (take_another_store, ""),
    ],
    ids=["storage", "search", "trials", "checkpoints", "store"],
)
def test_a_search_that_was_cut_off_is_finished_whatever_was_lost_of_it(
    store: Path, tiny_npz: Path, whole: Trials, lose: Callable[[], None], news: str
) -> None:
    shutil.copy("mlflow.db", "another.db")
    asked = replace(ASKED, dataset=str(tiny_npz))
    with (
        pytest.raises(KeyboardInterrupt),
        progress.sending_to(Watch("trial 3 epoch 1", interrupt)),
    ):
        search(asked)
    lose()
    watch = Watch()
    with progress.sending_to(watch):
        run = client.get_run(search(asked))
    assert study_of(run) == whole
    assert run.info.status == "FINISHED"
    assert [line for line in watch.said if line.endswith(news)]
    trials = client.search_runs("0", "tags.step = 'trial' and attributes.status = 'FINISHED'")
    assert {run.data.tags["optuna_trial"] for run in trials} == {str(one[0]) for one in whole}


@pytest.mark.parametrize("step", ["search", "trial"])
def test_a_search_goes_on_where_a_run_of_it_is_deleted_meanwhile(
    store: Path, tiny_npz: Path, whole: Trials, step: str
) -> None:
    watch = Watch("trial 3 epoch 1", lambda: delete_runs(step))
    with progress.sending_to(watch):
        run = client.get_run(search(replace(ASKED, dataset=str(tiny_npz))))
    assert study_of(run) == whole
    assert run.info.status == "FINISHED"
    assert "failure_reason" not in run.data.tags
    assert [line for line in watch.said if "was deleted: what is missing is made again" in line]


def test_a_training_goes_on_in_a_new_run_where_its_own_is_deleted_meanwhile(
    store: Path, tiny_npz: Path
) -> None:
    asked = Train(
        variant="elu", comparison=SMALL, dataset=str(tiny_npz), learning_rate=0.01, epochs=4
    )
    watch = Watch()
    first: list[float] = []

    def delete() -> None:
        run = only_run("train")
        while not (logged := history(run, "elapsed_seconds")):  # in the background
            time.sleep(0.01)
        first.append(logged[0].value)
        watch.said.append(run.info.run_id)
        delete_runs("train")

    watch._at, watch._act = "val_accuracy", delete
    with progress.sending_to(watch):
        run = client.get_run(train(asked))
    deleted = next(line for line in watch.said if len(line) == 32)
    news = f"train elu seed 1: the run {deleted} was deleted: what is missing is made again."
    assert news in watch.said
    assert run.info.status == "FINISHED"
    assert [one.step for one in history(run, "val_loss")] == [1, 2, 3, 4]
    # It went on: the first epoch was not trained again, which would have taken another time.
    assert history(run, "elapsed_seconds")[0].value == first[0]


def history(run: client.Run, name: str) -> list[mlflow.entities.Metric]:
    return client.connect().get_metric_history(run.info.run_id, name)


def test_finished_steps_whose_artifacts_are_gone_are_made_again_and_it_is_said(
    store: Path, tiny_npz: Path
) -> None:
    asked = Train(
        variant="elu", comparison=SMALL, dataset=str(tiny_npz), learning_rate=0.01, epochs=1
    )
    first = client.get_run(train(asked))
    assert train(asked) == first.info.run_id
    shutil.rmtree("mlruns")
    watch = Watch()
    with progress.sending_to(watch):
        again = client.get_run(train(asked))
    (prepared, _) = client.finished_runs("prepare", "0")
    assert again.data.tags["prepare_run"] == prepared.info.run_id
    assert again.data.metrics["test_loss"] == first.data.metrics["test_loss"]
    for gone in ("data/x_train.npy of prepare stripes", "model/data/model.keras of train elu"):
        assert [line for line in watch.said if f"to run ({gone}" in line and " is gone)" in line]
    assert train(asked) == again.info.run_id


def test_a_comparison_whose_report_is_gone_is_made_again(store: Path, tiny_npz: Path) -> None:
    from pipeline.compare import compare

    asked = Train(
        variant="elu", comparison=SMALL, dataset=str(tiny_npz), learning_rate=0.01, epochs=1
    )
    train(asked)
    comparing = Compare(comparison=SMALL)
    first = compare(comparing)
    assert compare(comparing) == first
    Path(client.get_run(first).info.artifact_uri, "report.html").unlink()
    again = compare(comparing)
    assert again != first
    assert client.local_artifact(again, "report.html").stat().st_size > 1000
