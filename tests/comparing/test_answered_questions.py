"""The entry point `questions`: by finished comparisons, with what is missing, also in a README."""

from pathlib import Path

import mlflow
import pytest
from pages import HOSTILE, Page
from test_compare import _trained as trained
from test_compare import compare

from pipeline.base import InputError
from pipeline.comparing.questionnaire import questionnaire
from pipeline.comparisons import files
from pipeline.comparisons.twenty_layers import BN, ELU
from pipeline.parameters import Questions
from pipeline.questions import questions
from pipeline.tracking import client

MINE = f'''"""Is `bn` better? {HOSTILE}"""
from pipeline.comparisons import Comparison, ask
from pipeline.comparisons.twenty_layers import BN, ELU
COMPARISON = Comparison(
    variants=(ELU, BN),
    questions=ask(
        ("bn", "elu", "test_accuracy", "Is it better?", "worse", "It is worse. {HOSTILE}"),
        ("bn", "elu", "distinct_units", "Has it more units that differ?", "equal", "It has not."),
        ("bn", "elu", "median_epoch_seconds"),
    ),
)
'''
README = "# Mine\n\n<!-- questions -->\nof before\n<!-- /questions -->\n\nThe rest.\n"


def text_of(run_id: str, name: str) -> str:
    return mlflow.artifacts.load_text(f"runs:/{run_id}/{name}")


@pytest.fixture
def compared(store: Path) -> str:
    """The id of a comparison of which something is commonly said, of six trainings."""
    Path("mine.py").write_text(MINE, "utf-8")
    ids = [trained(variant, seed) for variant in (ELU, BN) for seed in (1, 2, 3)]
    return compare(comparison="mine.py", runs=tuple(ids))


def test_what_is_finished_is_said_and_what_is_missing_with_its_command(
    compared: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("README.md").write_text(README, "utf-8")
    run_id = questions(Questions(comparisons="mine.py,momentum", readme="README.md"))  # type: ignore[arg-type]
    run = client.get_run(run_id)
    assert (run.data.tags["step"], run.info.status) == ("questions", "FINISHED")
    said = capsys.readouterr().out
    assert "questions.html" in said
    assert "\nTo measure what is missing: mlflow run . -P comparison=momentum\n" in said
    verdict = client.get_run(compared).data.tags["verdict.bn_quality_over_elu"]
    page, markdown = Page(text_of(run_id, "questions.html")), text_of(run_id, "questions.md")
    assert HOSTILE in page.text  # shown, not obeyed
    assert page.count("script") == 0
    assert verdict in page.text
    assert "Undecided, no run of bn and elu has logged distinct_units." in page.text
    assert "What if the momentum of SGD is set too close to 1" in page.text
    assert [of["href"] for tag, of in page.elements if tag == "a"][-1].endswith(  # type: ignore[union-attr]
        f"{compared}?workflowType=machine_learning"
    )
    (picture,) = (of["src"] for tag, of in page.elements if tag == "img")
    assert str(picture).startswith("data:image/png;base64,")
    row = f"| Is it better? | {verdict[0].lower()}{verdict[1:]} |"
    missing = "11 questions of `momentum`: `mlflow run . -P comparison=momentum`"
    readme = Path("README.md").read_text("utf-8")
    for one in (markdown, run.data.tags["mlflow.note.content"], readme):
        assert row in one
        assert missing in one
    assert readme.startswith(
        "# Mine\n\n<!-- questions -->\n\n<!-- questions of mine -->\n\n<details>\n<summary><b>Is "
    )
    assert readme.endswith("\n\n<!-- /questions -->\n\nThe rest.\n")
    questions(Questions(comparisons="mine.py,momentum", readme="README.md"))  # type: ignore[arg-type]
    assert Path("README.md").read_text("utf-8") == readme


def test_in_a_readme_answers_stay_that_this_store_has_none_to_replace_with(compared: str) -> None:
    kept = "<!-- questions of momentum -->\n\n<details>\nmeasured elsewhere\n</details>"
    asked = "<!-- questions of a&lt;b -->\n\nnot asked for now"
    old = "<!-- questions of mine -->\n\n<details>\nof before\n</details>"
    missing = "<!-- questions of sparsity -->\n\nNot measured yet: all"
    Path("R.md").write_text(README.replace("of before", f"{kept}\n\n{old}\n\n{asked}\n{missing}"))
    questions(Questions(comparisons="mine.py,momentum,sparsity", readme="R.md"))  # type: ignore[arg-type]
    found = Path("R.md").read_text("utf-8")
    assert f"<!-- questions -->\n\n{kept}\n\n<!-- questions of mine -->\n\n<details>" in found
    assert f"\n\n{asked}\n\n<!-- questions of sparsity -->\n\nNot measured yet: 18 qu" in found
    assert "of before" not in found
    assert "| Is it better? |" in found


def test_by_default_it_is_every_comparison_that_is_there(store: Path) -> None:
    text = text_of(questions(Questions()), "questions.md")
    for name in files.names():
        assert f" of `{name}`: `mlflow run . " in text
    assert "| Question |" not in text  # nothing is measured


def test_of_every_comparison_the_newest_run_counts_with_the_minutes_of_both_variants(
    compared: str,
) -> None:
    older = {name: finished(name) for name in ("mine", "momentum")}
    mlflow.MlflowClient().log_text(compared, "no picture", "accuracy_by_time.png")
    mine, momentum = questionnaire(Questions(comparisons="mine.py,momentum"))  # type: ignore[arg-type]
    assert (mine.run_id, momentum.run_id) == (compared, older["momentum"])
    trained = client.finished_runs("train", client.experiment_id())
    minutes = sum(one.data.metrics["train_seconds"] for one in trained) / 60
    assert [entry.minutes for entry in mine.entries] == pytest.approx(3 * [minutes])
    assert mine.minutes == pytest.approx(minutes)
    assert mine.picture == ""


def finished(name: str) -> str:
    """The id of an older comparison of this name that has logged nothing."""
    connection = client.connect()
    tags = {"step": "compare", "comparison": name}
    run_id = connection.create_run("0", start_time=1, tags=tags).info.run_id
    connection.set_terminated(run_id)
    return run_id


def test_another_data_set_has_answers_of_its_own(compared: str) -> None:
    text = text_of(questions(Questions(comparisons="mine.py", dataset="cifar10")), "questions.md")  # type: ignore[arg-type]
    assert (
        "- 3 questions of `mine`: `mlflow run . -P comparison=mine.py -P dataset=cifar10`" in text
    )


@pytest.mark.parametrize(
    "content", [None, "no marks", README.replace("/questions", "end"), 2 * README]
)
def test_a_file_that_has_no_place_for_it_is_refused_before_a_run_is_opened(
    store: Path, content: str | None
) -> None:
    if content is not None:
        Path("R.md").write_text(content, "utf-8")
    with pytest.raises(InputError, match="readme"):
        questions(Questions(comparisons="momentum", readme="R.md"))  # type: ignore[arg-type]
    assert client.search_runs("0", "") == []
    with pytest.raises(InputError, match="momentum"):
        questions(Questions(comparisons="momentun"))  # type: ignore[arg-type]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_file_keeps_its_line_ends(store: Path, newline: str) -> None:
    kept = "\n<!-- questions of momentum -->\n\n<details>\nmeasured elsewhere\n</details>\n"
    Path("R.md").write_text(README.replace("of before", kept), "utf-8", newline=newline)
    before = Path("R.md").read_bytes()
    assert (b"\r\n" in before) == (newline == "\r\n")
    questions(Questions(comparisons="momentum", readme="R.md"))  # type: ignore[arg-type]
    assert Path("R.md").read_bytes() == before


def test_a_folder_is_no_file_to_write_to_and_refused_before_a_run_is_opened(store: Path) -> None:
    Path("folder.md").mkdir()
    with pytest.raises(InputError, match="written"):
        questions(Questions(comparisons="momentum", readme="folder.md"))  # type: ignore[arg-type]
    assert client.search_runs("0", "") == []
