"""The comparison before: found by its name and data, and read as it was logged."""

from pathlib import Path

import pytest
from compared_runs import accuracies, evidence_of

from pipeline.answers import tables
from pipeline.comparing.previous import previous
from pipeline.tracking import client

FINGERPRINT = "f" * 64


def compared(name: str = "twenty_layers", *, status: str = "FINISHED", **tags: str) -> str:
    """The id of a run with what `compare` logs of three seeds of two variants."""
    connection = client.connect()
    run_id = connection.create_run("0", run_name=f"compare {name}").info.run_id
    connection.log_param(run_id, "comparison", name)
    for tag, value in {"step": "compare", "data_fingerprint": FINGERPRINT, **tags}.items():
        connection.set_tag(run_id, tag, value)
    found = evidence_of(accuracies(elu=[0.5, 0.51, 0.49], bn=[0.55, 0.56, 0.54]))
    frames = {"runs": found.runs, "summary": found.summary}
    frames["answers"] = tables.answers_frame(found.answers)
    for of, frame in frames.items():
        connection.log_text(run_id, frame.to_csv(index=False), f"{of}.csv")
    connection.set_terminated(run_id, status)
    return run_id


def test_it_is_the_newest_finished_one_of_the_name_and_the_data(store: Path) -> None:
    assert previous("twenty_layers", FINGERPRINT, "0") is None
    compared()
    wanted = compared(champion="version 1 (`bn`)")
    compared("it's mine")
    compared(data_fingerprint="e" * 64)
    compared(status="FAILED")
    compared(status="RUNNING")
    found = previous("twenty_layers", FINGERPRINT, "0")
    assert found is not None
    assert (found.run_id, found.champion) == (wanted, "version 1 (`bn`)")
    assert found.ended == client.get_run(wanted).info.end_time
    assert previous("it's mine", FINGERPRINT, "0") is not None


def test_one_whose_parameter_is_what_a_person_gave_is_known_by_its_tag(store: Path) -> None:
    run_id = compared("auto", comparison="twenty_layers")
    found = previous("twenty_layers", FINGERPRINT, "0")
    assert found is not None
    assert found.run_id == run_id
    assert previous("auto", FINGERPRINT, "0") is None


def test_answers_are_read_as_they_were_logged(store: Path) -> None:
    compared()
    found = previous("twenty_layers", FINGERPRINT, "0")
    assert found is not None
    logged = evidence_of(accuracies(elu=[0.5, 0.51, 0.49], bn=[0.55, 0.56, 0.54]))
    assert [one.question.id for one in found.answers] == [one.question.id for one in logged.answers]
    for frame in (found.answers, logged.answers):
        assert [one.verdict for one in frame][:2] == ["better", "undecided"]
    assert tables.answers_frame(found.answers)["effect"].equals(
        tables.answers_frame(logged.answers)["effect"]
    )


@pytest.mark.parametrize("name", ["runs", "summary", "answers"])
def test_one_that_can_no_longer_be_read_counts_for_none_and_it_is_said(
    store: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client.connect().log_text(compared(), "nonsense\n1\n", f"{name}.csv")
    assert previous("twenty_layers", FINGERPRINT, "0") is None
    assert f"{name}.csv of compare twenty_layers is left out" in capsys.readouterr().out
