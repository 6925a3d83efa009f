"""What is read of runs for a comparison."""

import dataclasses
import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest
from compared_runs import train_run

from pipeline.comparing import artifacts, evidence
from pipeline.comparisons.twenty_layers import BN, ELU
from pipeline.steps.step import settings_tag
from pipeline.tracking import client
from pipeline.tracking.names import hidden


def test_record_of_a_run_has_its_variant_as_it_was_and_what_was_given(store: Path) -> None:
    inputs = {"parameter epochs": "7", "version of keras": "3.15.1"}
    inputs["code of pipeline.work.train"] = "1"
    run = train_run(
        "elu",
        3,
        parameters={"epochs": "auto"},
        tags={
            "step_inputs": json.dumps(inputs),
            **settings_tag(ELU.derive(name="elu", patience=None), {"patience": None}),
        },
    )
    record = evidence.record(run)
    assert (record.run_id, record.name) == (run.info.run_id, "train elu seed 3")
    assert (record.variant, record.seed, record.status) == ("elu", 3, "FINISHED")
    assert record.start_time == run.info.start_time
    assert record["patience"] == "none"
    assert record["optimizer"] == "nadam"
    assert record.given == {"patience": None}
    assert record.settings["epochs"] == "7"  # not what `mlflow run` logged
    assert (record.code, record.versions) == ({"work.train": "1"}, {"keras": "3.15.1"})


def test_record_of_a_run_that_recorded_no_variant_has_its_parameters(store: Path) -> None:
    run = train_run("elu", parameters={"patience": "5"}, tags=hidden({"settings": "{}"}))
    record = evidence.record(run)
    assert (record.declared, record.given) == ({}, {})
    assert (record["patience"], record["batch_size"]) == ("5", "32")


def test_runs_that_were_made_from_others_have_their_records_as_long_as_they_are_there(
    store: Path,
) -> None:
    search = client.connect().create_run("0", run_name="search elu").info.run_id
    tags = {"search_run": search, "prepare_run": "gone"}
    (record,) = evidence._records([train_run("elu", tags=tags)])
    assert record.search is not None
    assert record.search.name == "search elu"
    assert record.prepare is None


def test_failures_of_its_variants_on_the_same_data_are_left_out_and_no_others(store: Path) -> None:
    chosen = [train_run("elu")]
    train_run("bn", 2, status="FAILED", tags={"failure_reason": "OSError: disk full"})
    train_run("bn", status="FAILED", tags={"data_fingerprint": "other"})
    train_run("bn", status="FAILED", tags={"step": "search"})
    train_run("bn", status="RUNNING")
    train_run("selu", status="KILLED")
    unnamed = client.connect().create_run("0", run_name="before its parameters").info.run_id
    client.connect().set_tag(unnamed, "step", "train")
    client.connect().set_tag(unnamed, "data_fingerprint", "f" * 64)
    client.connect().set_terminated(unnamed, "KILLED")
    assert [str(one) for one in evidence.left_out(chosen, ["elu", "bn"])] == [
        "train bn seed 2: failed (OSError: disk full)"
    ]


def test_colours_are_those_that_the_runs_have_in_the_ui_where_they_can_be_read(
    store: Path,
) -> None:
    tags = {"elu": "#123456", "bn": "red; }", "selu": "#ABCDEF"}
    runs = [train_run(name, tags={"mlflow.runColor": color}) for name, color in tags.items()]
    records = [evidence.record(run) for run in runs]
    assert evidence._colors(records) == {"elu": "#123456", "selu": "#ABCDEF"}


def test_a_damaged_artifact_is_left_out_and_said_to_be(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = {"elu": '{"after training": 1}', "bn": "{}", "selu": ""}
    ids = {name: train_run(name).info.run_id for name in contents}
    for name, run_id in ids.items():
        client.connect().log_text(run_id, contents[name], "activations.json")
    read = evidence._of_each(ids, "activations.json", artifacts.layers)
    assert read == {"bn": {}}
    (line,) = capsys.readouterr().out.splitlines()
    said = "activations.json of elu is left out, as it is not what was logged: AttributeError"
    assert line.startswith(said)


def test_a_run_of_an_earlier_version_has_a_row_by_what_its_weights_came_to(store: Path) -> None:
    run = train_run("one_cycle", parameters={"learning_rate": "0.1", "patience": "none"})
    logged = {"best_val_accuracy": 0.6, "judged_val_accuracy": 0.5, "judged_epoch": 9}
    for name, value in logged.items():
        client.connect().log_metric(run.info.run_id, name, value)
    row = evidence._row(evidence.record(client.get_run(run.info.run_id)))
    assert (row["best_val_accuracy"], row["best_epoch"]) == (0.5, 9)


@pytest.mark.parametrize(
    ("seeds", "shown"),
    [
        ({"elu": (1, 2, 3), "bn": (2, 3)}, {"elu": 2, "bn": 2}),
        ({"elu": (3, 1), "bn": (3, 1), "selu": (3,)}, {"elu": 3, "bn": 3, "selu": 3}),
        ({"elu": (2, 1), "bn": (3, 4)}, {"elu": 1, "bn": 3}),  # none that both have
    ],
)
def test_the_runs_that_are_shown_have_the_first_seed_that_all_variants_have(
    seeds: dict[str, tuple[int, ...]], shown: dict[str, int]
) -> None:
    runs = [
        evidence.RunRecord(run_id=f"{name}{seed}", name=name, variant=name, seed=seed)
        for name, of in seeds.items()
        for seed in of
    ]
    found = evidence._examples(runs)
    assert {name: run.seed for name, run in found.items()} == shown


def test_mc_dropout_is_the_mean_over_all_runs_that_have_it_with_the_images_of_one(
    store: Path,
) -> None:
    records = []
    for seed, accuracy in enumerate((0.4, 0.6), start=1):
        run = train_run("alpha_dropout", seed)
        client.connect().log_metric(run.info.run_id, "mc_accuracy", accuracy)
        record = {"deterministic_accuracy": accuracy, "accuracy_by_samples": [accuracy]}
        guesses = [["cat", accuracy]]
        image = {"true": "cat", "guesses": guesses, "entropy": 1, "image": "data:image/png;base64,"}
        record |= {"calibration": {}, "most_uncertain": [image]}
        client.connect().log_dict(run.info.run_id, record, "mc_dropout/record.json")
        records.append(evidence.record(client.get_run(run.info.run_id)))
    records.append(evidence.record(train_run("elu")))
    examples = {"alpha_dropout": records[1].run_id, "elu": records[2].run_id}
    found = evidence._uncertainty(records, examples)
    assert list(found) == ["alpha_dropout"]
    assert found["alpha_dropout"]["accuracy_by_samples"] == [0.5]
    assert found["alpha_dropout"]["deterministic_accuracy"] == 0.5
    assert [one["guesses"] for one in found["alpha_dropout"]["most_uncertain"]] == [[["cat", 0.6]]]


def test_settings_are_what_decides_a_training_and_of_old_runs_there_are_none(store: Path) -> None:
    run = train_run("bn")
    client.connect().log_metric(run.info.run_id, "parameter_count", 508_210)
    found = evidence._settings(evidence.record(client.get_run(run.info.run_id)))
    assert (found["batch_normalization"], found["parameters"]) == (True, 508_210)
    assert found["derived_from"] == "elu"
    assert not found.keys() & {"name", "color", "description"}
    assert (
        evidence._settings(evidence.record(train_run("elu", tags=hidden({"settings": "{}"})))) == {}
    )


def test_a_run_from_before_a_setting_was_trained_as_its_default_says(store: Path) -> None:
    before = {name: value for name, value in asdict(BN).items() if name in ("name", "activation")}
    tags = hidden({"settings": json.dumps({"variant": before, "given": {}})})
    old = evidence.record(train_run("bn", tags=tags))
    found = evidence._settings(old)
    assert (found["starts_from"], found["arms"], found["images_per_class"]) == ("", "one", None)
    parameters = {"learning_rate": "0.1", "patience": "20"}
    tags = {"source_run": "a run"}
    rows = [
        evidence._row(evidence.record(train_run("bn", parameters=parameters, tags=of)))
        for of in ({}, tags)
    ]
    assert [row["source_run"] for row in rows] == ["", "a run"]
    assert math.isnan(float(str(rows[0]["generalization_gap"])))


def test_images_of_each_class_are_those_asked_for_or_else_all_of_the_data() -> None:
    data = evidence.RunRecord(run_id="data", name="prepare", metrics={"train_images": 4000})
    every = evidence.RunRecord(run_id="1", name="all", declared=asdict(BN), prepare=data)
    few = dataclasses.replace(every, declared=asdict(BN) | {"images_per_class": 20})
    pairs = dataclasses.replace(every, declared=asdict(BN) | {"arms": "two"})
    found = [evidence._images_per_class(run, 10) for run in (every, few, pairs)]
    assert found == [400, 20, 0]
    assert evidence._images_per_class(every, 0) == 0
