"""A Dask scheduler and workers that were started elsewhere: no `pipeline`, folders of their own."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from dask_workers import WORKER, scheduler, started
from distributed import Client

from pipeline.base import InputError
from pipeline.steps import remote, workers

FOLDER, PID = "__import__('os').getcwd()", "__import__('os').getpid()"
CODE = "__import__('pipeline').__file__"
NEW = "__import__('pipeline.new').new.VALUE"  # a module that only other code has


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A scheduler with two workers."""
    folder = tmp_path_factory.mktemp("cluster")
    with (
        scheduler(folder) as found,
        started(folder / "one", *WORKER, found),
        started(folder / "other", *WORKER, found),
    ):
        with workers.connect(1, found) as client:
            client.wait_for_workers(2, timeout=60)
        yield found


@pytest.fixture
def client(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """A client that works in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    with workers.connect(1, address) as client:
        yield client


def test_work_runs_on_the_code_of_this_process_in_its_folder(client: Client) -> None:
    with remote.joined(client, [], []) as brought:
        said = client.map(brought(eval), [FOLDER, CODE], pure=False)
        folder, code = client.gather(said)
    assert folder == os.getcwd()
    assert Path(code).parent != remote.PACKAGE


def test_a_worker_that_has_run_other_code_begins_anew(
    client: Client, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.copytree(remote.PACKAGE, tmp_path / "pipeline")
    (other / "new.py").write_text("VALUE = 'of the other code'", "utf-8")
    only = {"workers": min(client.scheduler_info()["workers"]), "pure": False}
    with remote.joined(client, [], []) as brought:
        before = client.submit(brought(eval), PID, **only).result()
        assert client.submit(brought(eval), PID, **only).result() == before
        with pytest.raises(ModuleNotFoundError, match="new"):
            client.submit(brought(eval), NEW, **only).result()
        monkeypatch.setattr(remote, "PACKAGE", other)
        with (
            workers.connect(1, address) as other_client,
            remote.joined(other_client, [], []) as brought_other,
        ):
            said = other_client.map(brought_other(eval), [NEW, PID] * 2, pure=False)
            texts = other_client.gather(said)
    assert texts[0] == texts[2] == "of the other code"
    assert before not in texts


def test_what_workers_lack_is_refused_one_by_one_and_one_that_joins_later_leaves(
    client: Client, address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "packages" / "optuna-4.9.9.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: optuna\nVersion: 4.9.9\n")
    store = tmp_path / "store"
    store.mkdir()
    hidden = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs "$0" && exec "$@"', store)
    if subprocess.run([*hidden, "true"], capture_output=True).returncode:
        pytest.skip("hiding a folder from a process takes root")
    worker = (*WORKER, address, "--nthreads", "2", "--name", "odd")
    stores, packages = [f"sqlite:///{store}/mlflow.db", "http://127.0.0.1:9"], ["optuna", "numpy"]
    with ExitStack() as stack:
        brought = stack.enter_context(remote.joined(client, stores, packages))
        # Who has other code begins anew, which is to be over: where all workers are gone for a
        # moment, Dask waits for the one that work was meant for.
        client.gather(client.map(brought(eval), 4 * ["__import__('time').sleep(1)"], pure=False))
        own = {"PYTHONPATH": str(package.parent)}
        process = stack.enter_context(started(tmp_path / "odd", *hidden, *worker, **own))
        client.wait_for_workers(3, timeout=60)
        info = client.scheduler_info()["workers"]
        (odd,) = (where for where, one in info.items() if one["name"] == "odd")
        with pytest.raises(InputError) as refused, remote.joined(client, stores, packages):
            pass
        only = {"workers": odd, "allow_other_workers": True}
        client.submit(brought(eval), PID, **only, pure=False).result(180)
        process.wait(60)
        assert odd not in client.scheduler_info()["workers"]
    assert str(refused.value) == (
        "scheduler: expected workers of one thread, with the packages that are here, that see the "
        f"stores; received worker {odd} with optuna 4.9.9 instead of 5.0.0, 2 threads, no "
        f"sqlite:///{store}/mlflow.db of this machine. Install there what conda.yaml and "
        "requirements-cluster.txt pin. Start workers with `dask worker --nthreads 1`. Give a "
        "tracking server and a storage that all reach, or share their folder."
    )
    said = f"{refused.value} It leaves, and its work goes to others.\n"
    assert capsys.readouterr().out == said


def test_an_older_package_in_a_worker_s_environment_is_not_taken(
    client: Client, address: str, tmp_path: Path
) -> None:
    older = tmp_path / "installed" / "pipeline"
    older.mkdir(parents=True)
    (older / "__init__.py").write_text("")  # without all that is needed
    worker = (*WORKER, address, "--name", "older")
    with (
        started(tmp_path / "older", *worker, PYTHONPATH=str(older.parent)),
        remote.joined(client, [], []) as brought,
    ):
        client.wait_for_workers(3, timeout=60)
        info = client.scheduler_info()["workers"]
        (where,) = (where for where, one in info.items() if one["name"] == "older")
        code = client.submit(brought(eval), CODE, workers=where, pure=False).result(60)
    assert not Path(code).is_relative_to(tmp_path / "installed")


@pytest.mark.parametrize(
    ("store", "path"),
    [
        ("sqlite:///optuna.db", "optuna.db"),
        ("sqlite+pysqlite:////data/optuna.db?timeout=3", "/data/optuna.db"),
        ("/data/mlruns", "/data/mlruns"),
        ("file:///data/mlruns", "/data/mlruns"),
        ("postgresql+psycopg2://user@host/optuna", None),
        ("http://127.0.0.1:5000", None),
        ("mlflow-artifacts:/0", None),
        ("s3://bucket/0", None),
    ],
)
def test_a_store_is_a_file_or_a_server_s(store: str, path: str | None) -> None:
    assert remote._path(store) == (Path(path) if path else None)
