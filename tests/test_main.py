"""The whole comparison through `mlflow run`, and what a second run reuses."""

import os
import re
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from conftest import Finished, run_in, start_in
from step_runs import opened_by_mlflow_run

from pipeline.base import InputError, StepsFailedError
from pipeline.comparing.comparison import DecidedSteps
from pipeline.comparing.crew import Crew
from pipeline.main import main
from pipeline.parameters import Main
from pipeline.steps.running import once
from pipeline.tracking.client import Run

pytestmark = pytest.mark.slow


def _first_comparison() -> mlflow.entities.Run:
    """The run of the comparison that the fixture made; later ones are other tests'."""
    oldest_first = ["attributes.start_time ASC"]
    return mlflow.MlflowClient().search_runs(["0"], "tags.step = 'compare'", 1, 1, oldest_first)[0]


def test_runs_every_step_once(finished_store: Finished) -> None:
    linked = f"tags.pipeline_run = '{_first_comparison().info.run_id}'"
    runs = mlflow.MlflowClient().search_runs(["0"], linked, max_results=1000)
    steps = Counter((run.data.tags["step"], run.info.status) for run in runs)
    trials = steps.pop(("trial", "FINISHED"))
    assert trials in range(6, 11)  # three per variant, more if a range was widened
    assert steps == {
        ("search", "FINISHED"): 2,
        ("train", "FINISHED"): 4,
        ("variant", "FINISHED"): 2,
    }


def test_ends_with_one_screen_of_80_columns_and_one_address(finished: Finished) -> None:
    lines = finished.output.splitlines()
    after = max(place for place, line in enumerate(lines) if re.match(r"train \S+ seed \d: ", line))
    screen = [line for line in lines[after + 1 :] if "mlflow.projects" not in line]  # MLflow's own
    assert len(screen) <= 30
    *others, address = screen
    assert max(map(len, others)) <= 80
    assert "http" not in "".join(others)
    report = re.fullmatch(r"Report \(`make ui` has the rest\): file://(/\S+/report.html)", address)
    assert report
    assert "<html" in Path(report[1]).read_text("utf-8")
    shown = "\n".join(others)
    assert re.search(r"^Variant +Seeds +Test accuracy ", shown, re.MULTILINE)
    assert re.search(r"^alpha_dropout, MC Dropout +accuracy +undecided ", shown, re.MULTILINE)
    assert "alpha_dropout over" not in shown  # its reference, selu, was not trained


def test_prints_nothing_a_user_can_do_nothing_about(finished: Finished) -> None:
    assert not re.search(r"absl|oneDNN|cuda|retracing|UserWarning|Traceback", finished.output)


def test_training_runs_are_flat_in_the_list(finished_store: Finished) -> None:
    for run in mlflow.MlflowClient().search_runs(["0"], "tags.step = 'train'"):
        assert "mlflow.parentRunId" not in run.data.tags


def test_every_variant_has_one_colour(finished_store: Finished) -> None:
    runs = mlflow.MlflowClient().search_runs(["0"], "tags.step = 'train'")
    colors = {(run.data.tags["variant"], run.data.tags["mlflow.runColor"]) for run in runs}
    assert len(colors) == len({color for _, color in colors}) == 2


def test_second_run_reuses_everything_and_imports_nothing_heavy(finished: Finished) -> None:
    options = [
        text
        for name, value in _parameters(finished).items()
        for text in (f"--{name.replace('_', '-')}", str(value))
    ]
    script = (
        "import sys; from pipeline import command; from pipeline.main import main\n"
        f"sys.argv = ['main', *{options!r}]\n"
        "try: command.run(main)\n"
        "finally: print('HEAVY', [name for name in ('tensorflow', 'keras', 'distributed') "
        "if name in sys.modules])"
    )
    done = run_in(finished.directory, "python", "-c", script)
    assert done.returncode == 0, done.stdout
    assert "HEAVY []" in done.stdout
    assert done.stdout.splitlines()[:3] == [
        "prepare stripes: reused (same inputs)",
        "Reused (same inputs): train elu seeds 1 and 2; train alpha_dropout seeds 1 and 2",
        "comparison twenty_layers on stripes: reused (same inputs)",
    ]


def test_mlflow_run_with_nothing_left_to_do_links_the_comparison(
    finished_store: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = mlflow.MlflowClient().search_runs(["0"])
    opened = opened_by_mlflow_run("main", experiment="0")
    monkeypatch.setenv("MLFLOW_RUN_ID", opened)
    main(Main(**_parameters(finished_store)))
    run = mlflow.MlflowClient().get_run(opened)
    assert run.info.run_name == "reused comparison twenty_layers on stripes"
    assert run.data.tags["reused_run"] == _first_comparison().info.run_id
    assert len(mlflow.MlflowClient().search_runs(["0"])) == len(before) + 1


def test_a_comparison_of_which_a_step_failed_is_failed_and_has_its_report(
    finished_store: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_crew: Crew, steps: DecidedSteps) -> tuple[dict[Any, Run], dict[Any, str]]:
        return {}, dict.fromkeys(steps.missing, "DivergenceError: loss is nan")

    monkeypatch.setattr(Crew, "run", failing)
    with pytest.raises(StepsFailedError, match="train elu seed 3"):
        main(Main(**{**_parameters(finished_store), "variants": "elu", "seeds": "1,2,3"}))
    (run, *_) = mlflow.MlflowClient().search_runs(["0"], "tags.step = 'compare'")
    assert run.info.run_id != _first_comparison().info.run_id
    assert (run.info.status, run.info.run_name) == (
        "FAILED",
        "comparison twenty_layers on stripes",
    )
    artifacts = mlflow.MlflowClient().list_artifacts(run.info.run_id)
    assert {"report.html", "answers.csv"} <= {file.path for file in artifacts}


def test_changed_parameter_reruns_only_what_depends_on_it(
    finished_store: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    to_train: list[str] = []

    def run(_crew: Crew, steps: DecidedSteps) -> tuple[dict[Any, Run], dict[Any, str]]:
        """What a worker does before it trains."""
        to_train.extend(one.name for one in steps.missing)
        for search in steps.before:
            once(search, reuse="auto", announce=False)
        return {}, {}

    monkeypatch.setattr(Crew, "run", run)
    changed = {"variants": "elu", "seeds": "1,2", "mc_samples": 11}
    main(Main(**{**_parameters(finished_store), **changed}))
    said = capsys.readouterr().out
    assert to_train == ["train elu seed 1", "train elu seed 2"]
    assert "prepare stripes: reused" in said
    again = "To run (parameter mc_samples changed from 10 to 11): train elu seeds 1 and 2"
    assert f"Reused (same inputs): search elu\n{again}\n" in said


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"variants": "elu,bnn"}, "Did you mean 'bn'?"),
        ({"seeds": "1,1"}, "different items"),
        ({"seeds": "0,1"}, "seeds: expected other than search_seed, 0"),
        ({"jobs": "0"}, "from 1 to 1000000"),
        ({"plan": "onyl"}, "Did you mean 'only'"),
        ({"reuse": "sometimes"}, "one of auto, never"),
        ({"baseline": "bn", "variants": "elu,selu"}, "one of the variants compared"),
        ({"dataset": "missing.npz"}, "missing.npz"),
        ({"storage": "postgresql://user:secret@host/studies"}, r"user:\*\*\*@host"),
    ],
)
def test_bad_input_is_refused_before_any_run_starts(
    store: Path, parameters: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said) as refused:
        main(Main(**parameters))
    assert "secret" not in str(refused.value)
    assert not mlflow.MlflowClient().search_runs(["0"])


@pytest.mark.parametrize(
    "interrupt", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.faults)]
)
def test_interrupted_comparison_leaves_no_run_running_and_ends_killed(
    finished: Finished, tmp_path: Path, interrupt: signal.Signals
) -> None:
    """As a terminal or a scheduler does it: the signal goes to the whole process group."""
    for name in ("MLproject", "conda.yaml", "pipeline"):
        (tmp_path / name).symlink_to(finished.directory / name)
    long = {
        "n_trials=3": "n_trials=1000",
        "variants=elu,alpha_dropout": "variants=elu",
        "seeds=1,2": "seeds=1",
    }
    process = start_in(tmp_path, *(long.get(text, text) for text in finished.arguments))
    _wait_for((tmp_path / "optuna.db").exists)  # by then the tables of both stores are made
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    _wait_for(lambda: client.search_runs(["0"], "tags.step = 'trial'"))
    os.killpg(process.pid, interrupt)
    assert process.wait(60) != 0
    _wait_for(lambda: _ended_as_interrupted(client))


def _ended_as_interrupted(client: mlflow.MlflowClient) -> bool:
    statuses: dict[str, set[str]] = defaultdict(set)
    for run in client.search_runs(["0"]):
        statuses[run.data.tags["step"]].add(run.info.status)
    trials = statuses.pop("trial")  # of which some had come to their end
    ended = {"prepare": {"FINISHED"}, "main": {"KILLED"}, "search": {"KILLED"}}
    return trials <= {"FINISHED", "KILLED"} and statuses == ended


def _wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def _parameters(finished: Finished) -> dict[str, Any]:
    """The parameters of the finished comparison."""
    return dict(text.split("=", 1) for text in finished.arguments if "=" in text)
