"""A finished training trained again: equal to the last digit, or what differs first, and why."""

import json
import sqlite3
from contextlib import closing

import mlflow
import numpy as np
import pytest
from conftest import Finished

from pipeline.nights import replay as replays
from pipeline.nights.replay import Replay, replayed
from pipeline.tracking import client, names

pytestmark = pytest.mark.slow
LIKE_BEFORE = Replay(name="train bn seed 2", epochs=7)


def trainings(variant: str = "alpha_dropout") -> list[client.Run]:
    of_it = f"tags.step = 'train' and params.variant = '{variant}'"
    return client.search_runs("0", of_it)


def replay_runs() -> list[client.Run]:
    return client.search_runs("0", "tags.step = 'replay'")


def test_a_training_trained_again_is_equal_to_the_last_digit(finished_store: Finished) -> None:
    training = trainings()[0]
    found = replayed(training.info.run_id)
    assert found == Replay(
        name=training.info.run_name, epochs=int(training.data.metrics["epochs_run"])
    )
    (run,) = replay_runs()
    assert run.info.status == "FINISHED"
    assert run.data.tags["replay"] == "equal"
    assert run.data.tags["replayed_run"] == training.info.run_id
    curves = client.metric_histories(run.info.run_id, ["val_loss"])
    assert curves == client.metric_histories(training.info.run_id, ["val_loss"])
    # It counts as no seed, and nothing reuses it.
    assert not {"step_key", "replicates_key"} & run.data.tags.keys()


def test_the_last_digit_of_one_epoch_is_noticed(finished_store: Finished) -> None:
    run_id = trainings("elu")[0].info.run_id
    was = client.metric_histories(run_id, ["val_loss"])["val_loss"][2]
    other = float(np.nextafter(np.float32(was), np.float32(9)))
    with closing(sqlite3.connect("mlflow.db")) as database, database:
        database.execute(
            "UPDATE metrics SET value = ? WHERE run_uuid = ? AND key = 'val_loss' AND step = 2",
            [other, run_id],
        )
    found = replayed(run_id)
    numbers = np.float32(other), np.float32(was)
    assert found.differs == "val_loss of epoch 2 was {!s} and is {!s}".format(*numbers)
    assert found.finding().is_alarm
    assert replay_runs()[0].data.tags["replay"] == found.differs


def test_other_probabilities_are_noticed(
    finished_store: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = trainings("elu")[0]
    logged = np.load(client.local_artifact(training.info.run_id, "predictions/test.npy"))
    monkeypatch.setattr(replays.artifacts, "read", lambda *_, **__: logged)
    logged[5] = np.nan  # of a network whose weights are too large
    now = logged.astype(np.float32)
    assert replays._of_predictions(training, now) == ""
    now[3, 0] = np.nextafter(logged[3, 0], np.float16(9))
    said = "the probabilities of 1 of 60 test images are others"
    assert replays._of_predictions(training, now) == said


@pytest.mark.parametrize(("run_on", "said"), [(1, "goes on now"), (-1, "it went on to epoch")])
def test_another_number_of_epochs_is_noticed(
    finished_store: Finished, run_on: int, said: str
) -> None:
    run_id = trainings("elu")[0].info.run_id
    curve = client.metric_histories(run_id, [*replays.CURVES])
    history = [{name: curve[name][epoch] for name in curve} for epoch in curve["val_loss"]]
    assert replays._of_curve(run_id, history) == ""
    other = [*history, history[-1]] if run_on > 0 else history[:-1]
    assert said in replays._of_curve(run_id, other)


@pytest.mark.parametrize(
    ("found", "is_alarm", "cause"),
    [
        (LIKE_BEFORE, False, ""),
        (LIKE_BEFORE._replace(changed="keras from 1 to 2"), False, ""),
        (LIKE_BEFORE._replace(differs="x"), True, "Nothing that decides its result has changed"),
        (LIKE_BEFORE._replace(differs="x", changed="the code of y"), False, "the code of y"),
    ],
)
def test_only_what_nothing_explains_is_an_alarm(found: Replay, is_alarm: bool, cause: str) -> None:
    finding = found.finding()
    assert finding.is_alarm == is_alarm
    assert cause in finding.cause
    assert ("equal to the last digit" in finding.text) == (not found.differs)
    assert found.changed in finding.text + finding.cause


def test_what_is_other_than_then_is_named(finished_store: Finished) -> None:
    tags = trainings("elu")[0].data.tags
    assert replays._changed(tags) == ""
    forged = replays._changed({**tags, "processor": "an abacus"})
    assert forged.startswith("the processor, from an abacus to ")
    name = names.HIDDEN + "step_inputs"
    inputs = json.loads(tags[name]) | {"version of keras": "1.0"}
    assert replays._changed({**tags, name: json.dumps(inputs)}).startswith("keras from 1.0 to ")
    assert replays._changed({"processor": tags["processor"]}) == ""  # of an older version


def test_every_night_has_another_training(finished_store: Finished) -> None:
    ids = [run.info.run_id for run in [*trainings("elu"), *trainings()]]
    met = []
    for _ in range(5):
        training = replays._next(ids, "0")
        assert training
        met.append(training.info.run_id)
        # Also one that failed: else its turn would come again every night.
        mlflow.MlflowClient().create_run("0", tags={"step": "replay", "replayed_run": met[-1]})
    assert met == [*ids, ids[0]]
    client.connect().delete_run(ids[1])
    next_one = replays._next(ids, "0")
    assert next_one
    assert next_one.info.run_id == ids[2]


def test_what_was_accepted_of_earlier_trainings_rings_no_more(finished_store: Finished) -> None:
    training = trainings("elu")[0]
    ended = training.info.end_time / 1000
    found = LIKE_BEFORE._replace(differs="x").finding()
    assert replays._unless_accepted(found, training, 0.0) == found
    assert replays._unless_accepted(found, training, ended) == found
    accepted = replays._unless_accepted(found, training, ended + 1)
    assert (accepted.is_alarm, accepted.text.endswith("was accepted.")) == (False, True)
