"""The whole comparison through `mlflow run`, and what a second run reuses."""

import re
from collections import Counter
from pathlib import Path

import mlflow
import pytest
from conftest import Finished, run_in

from pipeline.errors import InputError
from pipeline.main import main

pytestmark = pytest.mark.slow


def test_runs_every_step_once(finished_store: Finished) -> None:
    runs = mlflow.MlflowClient().search_runs(["0"], max_results=1000)
    steps = Counter((run.data.tags["step"], run.info.status) for run in runs)
    assert steps == {
        ("main", "FINISHED"): 1,
        ("prepare", "FINISHED"): 1,
        ("search", "FINISHED"): 2,
        ("trial", "FINISHED"): steps["trial", "FINISHED"],
        ("train", "FINISHED"): 4,
        ("compare", "FINISHED"): 1,
    }
    assert steps["trial", "FINISHED"] in range(6, 9)  # three per variant, more if a range widened


def test_prints_the_table_the_answers_and_the_address(finished: Finished) -> None:
    assert "alpha_dropout" in finished.output
    assert "Does alpha dropout" not in finished.output  # its reference, selu, was not trained
    assert "Does MC Dropout make alpha_dropout more accurate?" in finished.output
    assert "#/experiments/0/runs?compareRunsMode=CHART" in finished.output


def test_prints_nothing_a_user_can_do_nothing_about(finished: Finished) -> None:
    assert not re.search(r"absl|oneDNN|cuda|retracing|UserWarning|Traceback", finished.output)


def test_training_runs_are_flat_and_linked_to_their_pipeline_run(finished_store: Finished) -> None:
    client = mlflow.MlflowClient()
    (pipeline_run,) = client.search_runs(["0"], "tags.step = 'main'")
    for run in client.search_runs(["0"], "tags.step = 'train'"):
        assert run.data.tags["pipeline_run"] == pipeline_run.info.run_id
        assert "mlflow.parentRunId" not in run.data.tags


def test_every_variant_has_one_colour(finished_store: Finished) -> None:
    runs = mlflow.MlflowClient().search_runs(["0"], "tags.step = 'train'")
    colors = {(run.data.tags["variant"], run.data.tags["mlflow.runColor"]) for run in runs}
    assert len(colors) == len({color for _, color in colors}) == 2


def test_second_run_reuses_everything_and_imports_nothing_heavy(finished: Finished) -> None:
    script = (
        "import sys; from pipeline import cli; from pipeline.main import main\n"
        f"sys.argv = ['main', *{_options(finished)!r}]\n"
        "try: cli.run(main)\n"
        "finally: print('HEAVY', [name for name in ('tensorflow', 'keras', 'distributed') "
        "if name in sys.modules])"
    )
    done = run_in(finished.directory, "python", "-c", script)
    assert done.returncode == 0, done.stdout
    assert "HEAVY []" in done.stdout
    reused = re.findall(r"^(\S.*): reused ", done.stdout, re.MULTILINE)
    trainings = [
        f"train {name} seed {seed}" for name in ("elu", "alpha_dropout") for seed in (1, 2)
    ]
    assert reused == ["prepare stripes", *trainings, "compare"]


def test_changed_parameter_reruns_only_what_depends_on_it(finished: Finished) -> None:
    options = _options(finished)
    options[options.index("--mc-samples") + 1] = "11"
    options[options.index("--variants") + 1] = "elu"
    options[options.index("--seeds") + 1] = "2"
    done = run_in(finished.directory, "python", "-m", "pipeline.main", *options)
    assert done.returncode == 0, done.stdout
    assert "prepare stripes: reused" in done.stdout
    assert "train elu seed 2: to run (parameter mc_samples changed from 10 to 11)" in done.stdout
    assert "search elu: to run" not in done.stdout


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"variants": "elu,bnn"}, "Did you mean 'bn'?"),
        ({"seeds": "1,1"}, "different items"),
        ({"jobs": "0"}, "at least 1"),
        ({"reuse": "sometimes"}, "one of auto, never"),
        ({"baseline": "bn", "variants": "elu,selu"}, "one of the variants compared"),
        ({"dataset": "missing.npz"}, "missing.npz"),
        ({"storage": "postgresql://user:secret@host/studies"}, r"user:\*\*\*@host"),
    ],
)
def test_bad_input_is_refused_before_any_run_starts(
    store: Path, parameters: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said) as refused:
        main(**parameters)
    assert "secret" not in str(refused.value)
    assert not mlflow.MlflowClient().search_runs(["0"])


def test_wrong_type_ends_the_mlflow_run_as_failed_with_the_reason(finished_store: Finished) -> None:
    done = run_in(finished_store.directory, *finished_store.arguments, "-P", "jobs=many")
    assert done.returncode != 0
    runs = mlflow.MlflowClient().search_runs(["0"], "attributes.status = 'FAILED'")
    assert len(runs) == 1
    assert "jobs: expected auto or an integer" in runs[0].data.tags["failure_reason"]
    assert "received 'many'" in done.stdout


def _options(finished: Finished) -> list[str]:
    """The parameters of the finished comparison as options of `python -m pipeline.main`."""
    pairs = [text.split("=", 1) for text in finished.arguments if "=" in text]
    return [text for name, value in pairs for text in (f"--{name.replace('_', '-')}", value)]
