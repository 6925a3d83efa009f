"""A training that starts from another: made after it, linked with it, repeated, gone on with."""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import PROJECT, Finished, _work_in, copy_of, run_in
from small_transfer import TRANSFER
from step_runs import opened_by_mlflow_run

from pipeline import command
from pipeline.base import InputError, progress
from pipeline.main import main
from pipeline.nights.replay import Replay, replayed
from pipeline.parameters import Main, Train
from pipeline.search import search
from pipeline.tracking import addresses, client
from pipeline.train import train
from pipeline.work.trained_model import WEIGHTS, trained_model
from pipeline.work.variant_step import splits_of

pytestmark = pytest.mark.slow
GIVEN: dict[str, Any] = {"comparison": TRANSFER, "n_trials": 2, "learning_rate_min": 0.001}
CURVE = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A network for digits 0 to 4, and one for the others from its layers, by `mlflow run`."""
    directory = tmp_path_factory.mktemp("transfer")
    for name in ("MLproject", "conda.yaml", "pipeline"):
        (directory / name).symlink_to(PROJECT / name)
    given = {**GIVEN, "variants": "frozen", "seeds": "1", "jobs": 1}
    parameters = [text for item in given.items() for text in ("-P", "{}={}".format(*item))]
    arguments = ("mlflow", "run", ".", "--env-manager", "local", *parameters)
    done = run_in(directory, *arguments)
    assert done.returncode == 0, done.stdout
    return Finished(directory=directory, arguments=arguments, output=done.stdout)


@pytest.fixture
def transferred(original: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """The same, as the store that this test's process talks to."""
    copied = copy_of(original, tmp_path / "transfer")
    _work_in(copied.directory, monkeypatch)
    return copied


def the_run(name: str) -> client.Run:
    (run,) = client.search_runs("0", f"tags.`mlflow.runName` = '{name}'")
    return run


def curve(run: client.Run) -> dict[str, dict[int, float]]:
    return client.metric_histories(run.info.run_id, CURVE)


def planned(capsys: pytest.CaptureFixture[str], seeds: str) -> str:
    capsys.readouterr()
    given: dict[str, Any] = {**GIVEN, "variants": ("frozen",), "seeds": seeds}
    main(Main(**given, plan="only"))
    return " ".join(capsys.readouterr().out.split())


def test_the_source_is_trained_first_and_the_two_are_linked(transferred: Finished) -> None:
    names = ("search digits", "train digits seed 1", "search frozen", "train frozen seed 1")
    runs = [the_run(name) for name in names]
    assert all(before.info.end_time <= after.info.start_time for before, after in pairwise(runs))
    _, source, search, frozen = runs
    page = addresses.run_page("0", source.info.run_id)[1:]
    for one in (search, frozen):
        assert one.data.tags["source_run"] == source.info.run_id
        assert f"[the training that it starts from]({page})" in one.data.tags["mlflow.note.content"]
        assert source.data.tags[f"source_of.{one.info.run_name}"] == one.info.run_id
    started = client.search_runs("0", f"tags.source_run = '{source.info.run_id}'")
    assert [one.info.run_id for one in started] == [frozen.info.run_id, search.info.run_id]
    note = source.data.tags["mlflow.note.content"]
    assert (
        note.count("[Runs that start from it](#/experiments/0/runs?searchFilter=tags.source") == 1
    )
    assert source.data.tags["prepare_run"] != frozen.data.tags["prepare_run"]


def test_frozen_layers_are_those_of_the_source_which_is_as_it_was(transferred: Finished) -> None:
    source, frozen = (
        trained_model(run, splits_of(run))  # refuses weights that are not those that were logged
        for run in map(the_run, ("train digits seed 1", "train frozen seed 1"))
    )
    for kind in ("dense", "batch_normalization"):
        for number in (1, 2, 3):
            own, theirs = (
                of.get_layer(f"{kind}_{number}").get_weights() for of in (frozen, source)
            )
            assert len(own) == len(theirs) > 0
            assert all(map(np.array_equal, own, theirs))
    one, other = (splits_of(the_run(f"train {name} seed 1")) for name in ("digits", "frozen"))
    np.testing.assert_array_equal(one.mean, other.mean)


def test_what_is_finished_is_reused_whatever_became_of_its_source(
    transferred: Finished, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Nothing to run" in planned(capsys, "1")
    said = planned(capsys, "1,2")
    reused, to_run = said.split("To run (", 1)
    assert "search digits; search frozen; train frozen seed 1" in reused
    assert "no finished run of it yet): train digits seed 2; train frozen seed 2" in to_run
    client.connect().delete_run(the_run("train digits seed 1").info.run_id)
    assert "Nothing to run" in planned(capsys, "1")


def test_mlflow_run_of_a_training_opens_its_run_and_not_that_of_its_source(
    transferred: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, source = the_run("train frozen seed 1"), the_run("train digits seed 1")
    opened = opened_by_mlflow_run("train", experiment="0", variant="frozen", seed="1")
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    assert train(Train(**GIVEN, variant="frozen", reuse="never")) == opened
    run = client.get_run(opened)
    assert run.info.run_name == "train frozen seed 1"
    assert run.data.tags["source_run"] == source.info.run_id
    assert "reused_run" not in run.data.tags
    assert curve(run) == curve(before)


def test_a_training_that_was_cut_off_goes_on_and_equals_one_that_was_not(
    transferred: Finished,
) -> None:
    before, again = the_run("train frozen seed 1"), Train(**GIVEN, variant="frozen", reuse="never")

    def interrupt(news: progress.Update) -> None:
        if (news.get("step"), news.get("done")) == ("train frozen seed 1", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), progress.sending_to(interrupt):
        train(again)
    (cut_off,) = client.search_runs("0", "attributes.status = 'KILLED'")
    went_on = client.get_run(train(again))
    assert went_on.info.run_id == cut_off.info.run_id
    assert curve(went_on) == curve(before)
    assert went_on.data.tags[WEIGHTS] == before.data.tags[WEIGHTS]


def test_a_replay_starts_from_the_same_and_is_equal(transferred: Finished) -> None:
    training = the_run("train frozen seed 1")
    epochs = int(training.data.metrics["epochs_run"])
    assert replayed(training.info.run_id) == Replay(name="train frozen seed 1", epochs=epochs)


# --- Refusals ----------------------------------------------------------------------------------

OWN = """
from pipeline.comparisons import Comparison, Variant

ONE = Variant(name="one", hidden_layers=2, starts_from="{one}", reused_layers={layers})
TWO = Variant(name="two", hidden_layers=2, units={units}, starts_from="{two}", reused_layers=1)
COMPARISON = Comparison(variants=(ONE, TWO))
"""
IMAGES = """
from pipeline.comparisons import Comparison, Data, Variant

LIKE = dict(units=16, hidden_layers=3, batch_normalization=True)
SOUND = Variant(name="sound", **LIKE)
ONE = Variant(name="one", **LIKE, {changes})
COMPARISON = Comparison(data=Data(source="{source}"), variants=(SOUND, ONE))
"""
SOUND: dict[str, Any] = {"one": "elu", "two": "one", "layers": 2, "units": 100}


@pytest.mark.parametrize("door", [main, train, search])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"one": "elo"}, "starts_from of variant 'one': expected one of one, two, elu, "),
        ({"one": "./other.py:elu"}, "received "),
        ({"units": 50}, "units of variant 'two': expected 100, as in the layers of 'one' that it"),
        ({"layers": 3}, "reused_layers of variant 'one'"),
        ({"one": "two"}, "received two -> one -> two|received one -> two -> one"),
    ],
)
def test_what_nothing_can_start_from_is_refused_in_one_line_by_every_door(
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    door: Any,
    wrong: dict[str, Any],
    said: str,
) -> None:
    own = store / "own.py"
    own.write_text(OWN.format(**SOUND | wrong), "utf-8")
    one = [] if door is main else ["--variant", "two"]
    monkeypatch.setattr(sys, "argv", ["door", "--comparison", str(own), *one])
    with pytest.raises(SystemExit) as exited:
        command.run(door)
    assert exited.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert any(one in line for one in said.split("|")), line
    assert client.search_runs("0", "") == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ("images_per_class=1000", "images_per_class of the variant: expected from 1 to "),
        ('starts_from="small_digits.py:digits", reused_layers=1', "data set .*expected images of"),
    ],
)
def test_images_that_there_are_not_are_refused_before_anything_is_searched(
    store: Path, tiny_npz: Path, changes: str, said: str
) -> None:
    (store / "small_digits.py").write_text(
        Path(TRANSFER).with_name("small_digits.py").read_text("utf-8"), "utf-8"
    )
    own = store / "own.py"
    own.write_text(IMAGES.format(changes=changes, source=tiny_npz), "utf-8")
    with pytest.raises(InputError, match=said):
        main(Main(comparison=str(own), seeds=(1,), epochs=1, n_trials=1, search_epochs=1))
    assert {run.info.run_name.split()[0] for run in client.search_runs("0", "")} == {"prepare"}
