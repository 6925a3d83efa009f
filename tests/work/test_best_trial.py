"""The best trial of a search: gone on with where it is the training itself, and nowhere else."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_layers import SMALL

from pipeline.comparisons import Variant
from pipeline.comparisons.twenty_layers import ELU, ONE_CYCLE
from pipeline.parameters import Search as AskedSearch
from pipeline.parameters import Train as Asked
from pipeline.search import search
from pipeline.steps import running
from pipeline.tracking import client
from pipeline.train import train
from pipeline.training.checkpoints import Checkpoint, Checkpoints
from pipeline.work import trials
from pipeline.work.search import SearchStep
from pipeline.work.train import TrainStep

SETTINGS: dict[str, Any] = {
    "epochs": 4,
    "patience": 4,
    "seed": 1,
    "mc_samples": 5,
    "n_trials": 2,
    "search_epochs": 2,
    "learning_rate_min": 0.0001,
    "learning_rate_max": 0.01,
}


def history(run_id: str, name: str) -> list[float]:
    return [metric.value for metric in client.connect().get_metric_history(run_id, name)]


@pytest.fixture
def noise_npz(tiny_npz: Path, store: Path) -> Path:
    """Images with labels of others: the validation loss is lowest in one of the first epochs."""
    arrays = dict(np.load(tiny_npz))
    for name in ("y_train", "y_test"):
        arrays[name] = np.random.default_rng(0).permutation(arrays[name])
    np.savez(store / "noise.npz", allow_pickle=False, **arrays)
    return store / "noise.npz"


def logged_checkpoints(search_run: str) -> list[str]:
    artifacts = client.connect().list_artifacts(search_run, trials.FOLDER)
    return [Path(artifact.path).name for artifact in artifacts]


@pytest.mark.slow
def test_a_training_that_begins_with_the_best_trial_equals_one_of_all_epochs(
    noise_npz: Path,
) -> None:
    given = {**SETTINGS, "variant": "alpha_dropout", "dataset": str(noise_npz)}
    given |= {"comparison": SMALL, "search_epochs": 4}
    for epochs in (4, 6):
        asked = (Asked(**given | {"epochs": epochs, "reuse": reuse}) for reuse in ("auto", "never"))
        short, whole = (client.get_run(train(one)) for one in asked)
        search_run = short.data.tags["search_run"]
        assert logged_checkpoints(search_run) == ["epoch-000004.npz"]
        trial_run = client.get_run(search_run).data.tags["best_trial_run"]
        _check_begun(short, trial_run)
        _check_equal(whole, short, trial_run, epochs)
    assert list(Path("checkpoints").iterdir()) == []


def _check_begun(short: client.Run, trial_run: str) -> None:
    """A training began with the four epochs of a trial."""
    assert short.data.tags["trial_run"] == trial_run
    of_trial = history(trial_run, "epoch_seconds")
    assert history(short.info.run_id, "epoch_seconds")[:4] == of_trial  # not trained again
    assert short.data.metrics["trial_epochs"] == 4
    assert short.data.metrics["best_epoch"] < 4  # the weights kept are the trial's
    assert short.data.metrics["trial_seconds"] == pytest.approx(sum(of_trial))
    assert (
        f"4 epochs of [the search's best trial](#/experiments/0/runs/{trial_run})"
        in (short.data.tags["mlflow.note.content"])
    )


def _check_equal(whole: client.Run, short: client.Run, trial_run: str, epochs: int) -> None:
    """A training of all its epochs came to the same as one that began with those of a trial."""
    assert "trial_run" not in whole.data.tags
    assert "trial" not in whole.data.tags["mlflow.note.content"]
    of_trial = history(trial_run, "epoch_seconds")
    assert not set(history(whole.info.run_id, "epoch_seconds")) & set(of_trial)
    for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
        assert history(short.info.run_id, name) == history(whole.info.run_id, name)
        assert len(history(short.info.run_id, name)) == epochs
    for name in ("best_epoch", "judged_val_loss", "test_loss", "mc_nll", "stopped_early"):
        assert short.data.metrics[name] == whole.data.metrics[name]


@pytest.mark.slow
def test_a_search_under_a_schedule_keeps_no_checkpoint(store: Path, tiny_npz: Path) -> None:
    asked = AskedSearch(
        variant="one_cycle", comparison=SMALL, dataset=str(tiny_npz), n_trials=2, search_epochs=2
    )
    assert logged_checkpoints(search(asked)) == []
    assert list(Path("checkpoints").iterdir()) == []


@pytest.mark.parametrize(
    ("variant", "changes", "begins"),
    [
        (ELU, {}, True),
        (ELU, {"seed": 2}, False),
        (ELU, {"seed": 2, "search_seed": 2}, True),
        (ELU, {"learning_rate": 0.001}, False),
        (ELU, {"epochs": 2, "patience": 2}, True),
        (ELU, {"epochs": 1}, False),
        (ELU, {"patience": 1}, False),
        (ELU, {"patience": "none"}, False),
        (ONE_CYCLE, {"epochs": 2}, False),
        (ONE_CYCLE, {"epochs": 2, "patience": "none"}, False),
    ],
)
def test_a_training_begins_as_a_trial_only_where_its_first_epochs_are_the_same(
    variant: Variant, changes: dict[str, Any], begins: bool
) -> None:
    asked = Asked(variant=variant.name, **{**SETTINGS, **changes})
    configured = asked.configured(variant)
    searched = SearchStep(variant=configured, prepared=None, asked=asked)
    training = TrainStep(
        variant=configured, prepared=None, seed=asked.seed, asked=asked, search=searched
    )
    assert training.begins_as_a_trial is begins


@pytest.fixture
def search_run(store: Path) -> str:
    """A search with the checkpoint of its best trial, as `log_checkpoint` leaves it."""
    with running.step_run("trial", {}, name="trial 0") as trial:
        pass
    with running.step_run("search", {}, name="search elu") as run:
        Checkpoints(store / "logged").save(checkpoint(2))
        run.log_directory(store / "logged", trials.FOLDER)
        fingerprint = checkpoint(2).fingerprint
        run.set_tags({"best_trial_run": trial.run_id, trials.FINGERPRINT: fingerprint})
    return run.run_id


def checkpoint(epoch: int) -> Checkpoint:
    rows = [{"elapsed_seconds": 1.5 * row} for row in range(1, epoch + 1)]
    return Checkpoint(epoch=epoch, arrays={"weight_0": np.zeros(3)}, state={"history": rows})


def begun(search_run: str, checkpoints: Checkpoints) -> client.Run:
    with running.step_run("train", {}, name="train elu seed 1") as run:
        trials.begin_with(client.get_run(search_run), run, checkpoints, name="train elu seed 1")
    return client.get_run(run.run_id)


def test_the_checkpoint_of_the_trial_becomes_the_trainings(
    store: Path, search_run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begun(search_run, checkpoints := Checkpoints(store / "own"))
    newest = checkpoints.newest()
    assert newest is not None
    assert (newest.epoch, newest.state) == (2, checkpoint(2).state)
    assert run.data.metrics == {"trial_epochs": 2.0, "trial_seconds": 3.0}
    assert "the first 2 epochs are those of its search's best trial" in capsys.readouterr().out


def _tag(name: str) -> Callable[[str], None]:
    def change(search_run: str) -> None:
        trial_run = client.get_run(search_run).data.tags["best_trial_run"]
        client.connect().set_tag(trial_run, name, "another")

    return change


def _artifact(search_run: str) -> Path:
    return client.local_artifact(search_run, trials.FOLDER)


@pytest.mark.parametrize(
    "change",
    [
        _tag("host"),
        _tag("processor"),
        lambda search_run: client.connect().delete_tag(search_run, "best_trial_run"),
        lambda search_run: client.connect().set_tag(search_run, "best_trial_run", "0" * 32),
        lambda search_run: shutil.rmtree(_artifact(search_run)),
        lambda search_run: (_artifact(search_run) / "epoch-000002.npz").write_bytes(b"PK"),
        lambda search_run: Checkpoints(_artifact(search_run)).save(
            Checkpoint(2, {"weight_0": np.ones(3)}, checkpoint(2).state)
        ),
        lambda search_run: Checkpoints(_artifact(search_run)).save(
            Checkpoint(2, checkpoint(2).arrays, {"history": [{"elapsed_seconds": 0.1}] * 2})
        ),
    ],
    ids=[
        *("another host", "another processor", "none kept", "trial deleted", "deleted", "damaged"),
        *("other weights", "another history"),
    ],
)
def test_where_the_trial_is_not_to_be_had_or_not_the_same_all_epochs_are_trained(
    store: Path, search_run: str, change: Callable[[str], None]
) -> None:
    change(search_run)
    run = begun(search_run, checkpoints := Checkpoints(store / "own"))
    assert checkpoints.newest() is None
    assert "trial_run" not in run.data.tags


def test_a_training_that_was_cut_off_goes_on_from_its_own_checkpoint(
    store: Path, search_run: str
) -> None:
    checkpoints = Checkpoints(store / "own")
    checkpoints.save(checkpoint(3))
    assert "trial_run" not in begun(search_run, checkpoints).data.tags
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.epoch == 3
