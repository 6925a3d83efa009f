"""What decides results, from runs, and what of it is another since, in words."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from compared_runs import train_run

from pipeline.nights.causes import cause, factors, trained_of
from pipeline.nights.other_data import OtherData
from pipeline.nights.record import Trained
from pipeline.tracking import client

INPUTS = {
    "parameter batch_size": "32",
    "parameter seed": "1",
    "code of pipeline.training.fit": "a",
    "code of pipeline.work.train": "a",
    "version of keras": "3.15.1",
    "fingerprint of the data": "f",
    "search": "key",
}
OF_SEARCH = {"parameter n_trials": "12", "parameter seed": "0", "version of optuna": "5.0.0"}


def training(seed: int = 1, **tags: str) -> client.Run:
    known = {"step_inputs": json.dumps(INPUTS), "processor": "EPYC", "prepare_run": "p"}
    return train_run("bn", seed, tags=known | {"replicates_key": "r"} | tags)


def search(**tags: str) -> str:
    run = client.connect().create_run("0", tags={"step_inputs": json.dumps(OF_SEARCH)} | tags)
    return run.info.run_id


def test_trainings_are_known_by_their_inputs_and_those_of_their_search(store: Path) -> None:
    found = search()
    runs = [training(1, search_run=found), training(2, search_run=found, processor="Xeon")]
    trained = trained_of(runs)
    assert trained.run_ids == [run.info.run_id for run in runs]
    assert (trained.replicates_key, trained.prepare_run) == ("r", "p")
    assert trained.processors == ["EPYC", "Xeon"]
    assert trained.inputs == {
        **{name: INPUTS[name] for name in INPUTS if name not in ("parameter seed", "search")},
        "parameter n_trials": "12",
        "parameter search_seed": "0",
        "version of optuna": "5.0.0",
    }


def test_without_its_search_a_training_keeps_the_key_of_it(store: Path) -> None:
    found = search()
    run = training(search_run=found)
    client.connect().delete_run(found)
    assert trained_of([run]).inputs["search"] == "key"
    assert trained_of([training()]).inputs["search"] == "key"


def test_runs_of_earlier_versions_may_lack_everything(store: Path) -> None:
    old = train_run("bn", 1, tags={"step_inputs": "{cut off", "data_fingerprint": ""})
    assert trained_of([old]) == Trained(
        replicates_key="", run_ids=[old.info.run_id], inputs={}, processors=[], prepare_run=""
    )
    assert factors(trained_of([old]), trained_of([training()])) == []


THEN = Trained(
    replicates_key="r",
    run_ids=[],
    inputs={name: of for name, of in INPUTS.items() if name != "parameter seed"},
    processors=["EPYC"],
)


def differing(processors: Any = ("EPYC",), **given: Any) -> dict[str, str]:
    """The factors that inputs of tonight come to, by their kinds."""
    inputs = given.pop("inputs", {})
    kept = {name: of for name, of in (THEN.inputs | inputs).items() if of}
    now = replace(THEN, inputs=kept, processors=processors)
    return {one.kind: one.text for one in factors(THEN, now, **given)}


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({}, {}),
        ({"code of pipeline.training.fit": "b"}, {"code": "the code of training.fit"}),
        ({"code of pipeline.training.new": "b"}, {"code": "the code of training.new"}),
        ({"version of keras": "3.15.0"}, {"version": "keras from 3.15.1 to 3.15.0"}),
        ({"parameter batch_size": "64"}, {"setting": "batch_size from 32 to 64"}),
        ({"variant activation": "selu"}, {"setting": "activation from elu to selu"}),
        ({"fingerprint of the data": "g"}, {"data": "the data"}),
        ({"search": "other"}, {"setting": "the search"}),
    ],
)
def test_what_differs_is_told_with_what_it_was_and_is(inputs, expected):
    assert differing(inputs=inputs) == expected


def test_code_is_told_with_the_commits_of_both_nights() -> None:
    code = {"code of pipeline.training.fit": "b", "code of pipeline.work.train": None}
    said = differing(inputs=code, commits=("a" * 40, "b" * 40))["code"]
    assert said == "the code of training.fit, work.train (commit aaaaaaa to bbbbbbb)"
    said = differing(inputs=code, commits=("a" * 40, "a" * 40))["code"]
    assert said.endswith(" (not committed: both nights are at aaaaaaa)")


def test_data_is_told_with_the_images_that_are_others() -> None:
    data = OtherData(relabelled=1200, new=0, gone=3, images=60_000, test_images=0)
    said = differing(inputs={"fingerprint of the data": "g"}, data=data)
    assert said == {"data": "the data (of 60,000 images 1,200 relabelled and 3 gone)"}


def test_a_processor_that_there_was_none_of_is_told() -> None:
    assert differing(("EPYC", "Xeon")) == {"processor": "the processor, from EPYC to Xeon"}
    assert differing(()) == {}


def test_the_cause_is_as_sure_as_what_differs_is_one_thing() -> None:
    now = replace(THEN, inputs={**THEN.inputs, "version of keras": "3.15.0"}, processors=["Xeon"])
    one, other = factors(THEN, now)
    assert cause([]) == "Nothing that decides results is known to differ since."
    assert cause([one]) == "All that differs since: keras from 3.15.1 to 3.15.0."
    assert cause([one, other]) == (
        "What differs since: keras from 3.15.1 to 3.15.0 and the processor, from EPYC to Xeon."
    )
