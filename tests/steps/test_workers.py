import errno
import gc
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import mlflow
import pytest
from distributed import Client, get_worker
from distributed.security import Security

from pipeline.base import InputError, progress
from pipeline.base.progress import Update
from pipeline.steps import running, workers
from pipeline.tracking.runs import StepRun

SERVER = "http://127.0.0.1:9"  # handed on to the workers, never asked


@pytest.fixture(scope="module")
def updates() -> list[Update]:
    """What the workers reported since the last test cleared it."""
    return []


@pytest.fixture(scope="module")
def client(updates: list[Update]) -> Iterator[Client]:
    """A local cluster of two workers, whose progress goes to `updates`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_RUN_ID", "the run that mlflow run opened")
        for name in ("MLFLOW_DISABLE_TELEMETRY", "KERAS_BACKEND"):  # which the workers are to set
            patch.delenv(name)
        patch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
        dask.config.refresh()
        with workers.connect(jobs=2, scheduler="none") as client:
            yield client


@pytest.fixture
def steps(
    client: Client, updates: list[Update], monkeypatch: pytest.MonkeyPatch
) -> workers.Submitter:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", SERVER)
    mlflow.set_tracking_uri(SERVER)
    updates.clear()
    steps = workers.Submitter(client, StepRun("the-pipeline-run", "the-experiment"))
    steps.show_progress(updates.append)
    return steps


@pytest.fixture
def collected() -> Iterator[None]:
    """Collect clients that found no scheduler now: at the start of another one Dask deadlocks."""
    yield
    gc.collect()


# --- What runs in the workers -------------------------------------------------------------------


def write_line(*, path: Path, line: str) -> int:
    time.sleep(0.05)
    with path.open("a") as file:
        file.write(f"{line}\n")
    return os.getpid()


def report_epochs(*, step: str, epochs: int) -> str:
    for epoch in range(1, epochs + 1):
        progress.update(step=step, done=epoch, total=epochs)
    progress.update(message=f"{step} is over")
    return step


def meet(*, directory: Path, own: str, other: str) -> int:
    """Wait until the other step runs, which it never does where steps run one by one."""
    (directory / own).touch()
    deadline = time.monotonic() + 120
    while not (directory / other).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return os.getpid()


def fail() -> None:
    raise InputError("thing", expected="a", received="b", action="Do c.")


def fill_the_disk() -> None:
    full = OSError("database or disk is full")
    raise RuntimeError("An exception is raised during the commit.") from full


def surroundings() -> dict[str, Any]:
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_ID", "MLFLOW_RUN_ID")
    return {
        **{name: os.environ.get(name) for name in names},
        "telemetry": os.environ["MLFLOW_DISABLE_TELEMETRY"],
        "backend": os.environ["KERAS_BACKEND"],
        "pipeline_run": running.pipeline_run_id.get(),
        "pid": os.getpid(),
    }


def watched() -> set[str]:
    """What the worker's event loop does at least ten times a second."""
    callbacks = get_worker().periodic_callbacks
    return {name for name, callback in callbacks.items() if callback.callback_time <= 100}


def allowed_failures() -> int:
    return dask.config.get("distributed.scheduler.allowed-failures")


def die_once(*, marker: Path) -> str:
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "finished by another worker"


# ------------------------------------------------------------------------------------------------


def test_a_step_starts_after_the_steps_it_reads(steps: workers.Submitter, tmp_path: Path) -> None:
    path = tmp_path / "order.txt"
    first = steps.submit(write_line, {"path": path, "line": "search"})
    second = steps.submit(write_line, {"path": path, "line": "train"}, after=[first], priority=9)
    third = steps.submit(write_line, {"path": path, "line": "compare"}, after=[first, second])
    futures, ended = {"search": first, "train": second, "compare": third}, list[str]()
    results, errors = workers.gather(futures, ended.append)
    assert sorted(ended) == ["compare", "search", "train"]
    assert path.read_text().split() == ["search", "train", "compare"]
    assert errors == {}
    assert list(results) == ["search", "train", "compare"]
    assert os.getpid() not in results.values()


def test_steps_with_equal_arguments_are_steps_of_their_own(
    steps: workers.Submitter, tmp_path: Path
) -> None:
    path = tmp_path / "lines.txt"
    futures = {
        name: steps.submit(write_line, {"path": path, "line": "same"}) for name in ("a", "b")
    }
    workers.gather(futures)
    assert path.read_text().split() == ["same", "same"]


def test_steps_run_at_the_same_time_in_different_workers(
    steps: workers.Submitter, tmp_path: Path
) -> None:
    futures = {
        name: steps.submit(meet, {"directory": tmp_path, "own": name, "other": other})
        for name, other in (("elu", "bn"), ("bn", "elu"))
    }
    results, errors = workers.gather(futures)
    assert errors == {}
    assert len(set(results.values())) == 2


def test_steps_of_a_group_run_in_the_same_worker(steps: workers.Submitter, tmp_path: Path) -> None:
    pairs = [("elu 1", "selu 1"), ("elu 2", "selu 2"), ("selu 1", "elu 1"), ("selu 2", "elu 2")]
    futures = {
        own: steps.submit(
            meet,
            {"directory": tmp_path, "own": own, "other": other},
            priority=-int(own[-1]),
            group=int(own.startswith("selu")),
        )
        for own, other in pairs
    }
    results, errors = workers.gather(futures)
    assert errors == {}
    assert results["elu 1"] == results["elu 2"] != results["selu 1"] == results["selu 2"]


def test_a_group_does_not_keep_the_other_workers_idle(
    steps: workers.Submitter, tmp_path: Path
) -> None:
    futures = {
        own: steps.submit(meet, {"directory": tmp_path, "own": own, "other": other}, group=0)
        for own, other in (("elu 1", "elu 2"), ("elu 2", "elu 1"))
    }
    results, errors = workers.gather(futures)
    assert errors == {}
    assert len(set(results.values())) == 2


@pytest.mark.usefixtures("steps")
def test_all_searches_come_before_the_trainings_that_are_ready(tmp_path: Path) -> None:
    path = tmp_path / "order.txt"
    names = [f"search-{place}" for place in range(5)]
    with workers.connect(jobs=1, scheduler="none") as alone:
        steps = workers.Submitter(alone, StepRun("another-pipeline-run", "the-experiment"))
        searches = {
            name: steps.submit(write_line, {"path": path, "line": name}, priority=-place)
            for place, name in enumerate(names)
        }
        trainings = {
            f"after {name}": steps.submit(
                write_line, {"path": path, "line": "train"}, after=[search], priority=-5
            )
            for name, search in searches.items()
        }
        _, errors = workers.gather(searches | trainings)
    assert errors == {}
    assert path.read_text().split() == [*names, *["train"] * 5]


@pytest.mark.usefixtures("steps")
def test_a_later_round_can_have_more_workers_than_the_first() -> None:
    with workers.connect(jobs=1, scheduler="none") as alone:
        steps = workers.Submitter(alone, StepRun("another-pipeline-run", "the-experiment"))
        for jobs, number in ((1, 1), (2, 2), (1, 2)):
            steps.grow(jobs)
            assert len(alone.scheduler_info()["workers"]) == number


def test_a_worker_is_not_watched_so_often_that_training_slows_down(
    steps: workers.Submitter,
) -> None:
    results, _ = workers.gather({"train": steps.submit(watched, {})})
    assert results == {"train": set()}


def test_what_dask_is_told_of_other_clusters_is_not_taken(steps: workers.Submitter) -> None:
    results, _ = workers.gather({"train": steps.submit(allowed_failures, {})})
    assert results == {"train": 3}


def test_nothing_to_wait_for_is_no_error() -> None:
    assert workers.gather({}) == ({}, {})


def test_progress_reaches_the_sink_in_order_before_the_result(
    steps: workers.Submitter, updates: list[Update]
) -> None:
    futures = {
        name: steps.submit(report_epochs, {"step": name, "epochs": 30}) for name in ("elu", "bn")
    }
    results, errors = workers.gather(futures)
    assert (results, errors) == ({"elu": "elu", "bn": "bn"}, {})
    for name in futures:
        assert [one["done"] for one in updates if one.get("step") == name] == list(range(1, 31))
    assert sorted(one["message"] for one in updates if "message" in one) == [
        "bn is over",
        "elu is over",
    ]


def test_a_failed_step_is_reported_by_name_and_the_others_finish(
    steps: workers.Submitter, tmp_path: Path
) -> None:
    failing = steps.submit(fail, {})
    after = steps.submit(surroundings, {}, after=[failing])
    well = steps.submit(report_epochs, {"step": "well", "epochs": 1})
    results, errors = workers.gather({"search bn": failing, "train bn": after, "train elu": well})
    assert results == {"train elu": "well"}
    message = "InputError: thing: expected a; received b. Do c."
    assert errors == {"search bn": message, "train bn": message}


def test_a_worker_knows_the_store_and_the_pipeline_run_and_forgets_the_adopted_one(
    steps: workers.Submitter,
) -> None:
    results, _ = workers.gather({"step": steps.submit(surroundings, {})})
    here = results["step"]
    assert here.pop("pid") != os.getpid()
    assert here == {
        "MLFLOW_TRACKING_URI": SERVER,
        "MLFLOW_EXPERIMENT_ID": "the-experiment",
        "MLFLOW_RUN_ID": None,
        "telemetry": "true",
        "backend": "tensorflow",
        "pipeline_run": "the-pipeline-run",
    }
    assert running.pipeline_run_id.get() is None


def test_the_step_of_a_worker_that_died_is_run_again(
    steps: workers.Submitter, tmp_path: Path
) -> None:
    marker = tmp_path / "died"
    results, errors = workers.gather({"step": steps.submit(die_once, {"marker": marker})})
    assert (results, errors) == ({"step": "finished by another worker"}, {})
    assert marker.exists()


def test_a_step_of_a_group_outlives_the_only_worker(
    steps: workers.Submitter, tmp_path: Path
) -> None:
    with workers.connect(jobs=1, scheduler="none") as alone:
        steps = workers.Submitter(alone, StepRun("another-pipeline-run", "the-experiment"))
        step = steps.submit(die_once, {"marker": tmp_path / "died"}, group=0)
        assert step.result(timeout=60) == "finished by another worker"


def test_what_a_scheduler_that_goes_away_leaves_undone_is_an_error_of_its_own(
    steps: workers.Submitter, client: Client
) -> None:
    left, done = (steps.submit(surroundings, {}) for _ in range(2))
    done.result()
    client.cancel([left], force=True)
    results, errors = workers.gather({"left": left, "done": done})
    assert list(results) == ["done"]
    assert errors["left"].startswith("FutureCancelledError: ")


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nonsense",
        "tcp://127.0.0.1",
        "bogus://host:8786",
        "tls://127.0.0.1:8786",
        pytest.param("tcp://127.0.0.1:9", marks=pytest.mark.slow),  # tried for ten seconds
    ],
)
def test_an_address_where_no_scheduler_answers_is_refused_in_seconds(
    address: str, collected: None
) -> None:
    started = time.monotonic()
    with pytest.raises(InputError) as error, workers.connect(jobs=1, scheduler=address):
        pass
    assert time.monotonic() - started < 15
    assert str(error.value) == (
        "scheduler: expected none, or the address of a running Dask scheduler; "
        f"received {address!r}. Start one with `dask scheduler`, and workers with "
        "`dask worker --nthreads 1`."
    )


def test_another_process_of_this_machine_cannot_send_work_to_the_local_workers(
    client: Client, collected: None
) -> None:
    keys = client.security.get_connection_args("client")
    assert keys["require_encryption"]
    address = client.scheduler_info()["address"]
    with pytest.raises(OSError, match="certificate"):
        Client(address, security=Security.temporary(), timeout=2)


def test_a_machine_that_can_start_no_workers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only() -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(workers, "Semaphore", read_only)
    with pytest.raises(InputError, match="Read-only file system"):  # noqa: SIM117
        with workers.connect(jobs=1, scheduler="none"):
            pass


def test_another_comparison_on_the_same_scheduler_does_not_show_the_news(
    steps: workers.Submitter, client: Client, updates: list[Update]
) -> None:
    others: list[Update] = []
    workers.Submitter(client, StepRun("another", "the-experiment")).show_progress(others.append)
    workers.gather({"train": steps.submit(report_epochs, {"step": "train", "epochs": 2})})
    assert len(updates) == 3
    assert others == []


def test_a_full_disk_is_told_in_its_own_words_though_another_error_was_raised_from_it(
    steps: workers.Submitter,
) -> None:
    _, errors = workers.gather({"search": steps.submit(fill_the_disk, {})})
    assert errors["search"].startswith("OSError: database or disk is full")
