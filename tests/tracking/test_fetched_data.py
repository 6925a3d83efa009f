"""Data sets of a remote artifact store: fetched once per host, and only what is whole is used."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import mlflow
import numpy as np
import pytest
from browser import free_port

from pipeline.base import InputError
from pipeline.data.splits import FILES
from pipeline.parameters import DataSet, comparison_of
from pipeline.tracking import client, fetched_data
from pipeline.tracking.server import server
from pipeline.work.prepare import prepared
from pipeline.work.variant_step import LoggedData, logged_splits


class Remote(NamedTuple):
    """A data set that a server has, and the log of what is asked of it."""

    data: LoggedData
    log: Path

    def fetched(self) -> list[str]:
        """The files of data that were fetched, one by one."""
        lines = self.log.read_text("utf-8").splitlines()
        asked = [line.split(" HTTP/")[0] for line in lines if "GET" in line]
        return [one.rpartition("/")[2] for one in asked if "/mlflow-artifacts/artifacts/" in one]


@contextmanager
def logging_server(folder: Path) -> Iterator[Path]:
    """A tracking server that hands out artifacts; yields its log of requests."""
    log, settings = folder / "requests", folder / "log.json"
    handlers = {"file": {"class": "logging.FileHandler", "filename": str(log)}}
    loggers = {"uvicorn.access": {"handlers": ["file"], "level": "INFO"}}
    settings.write_text(json.dumps({"version": 1, "handlers": handlers, "loggers": loggers}))
    options = ("--uvicorn-opts", f"--log-config {settings}")
    store, before = f"sqlite:///{folder}/mlflow.db", mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with server(host="127.0.0.1", port=free_port(), store=store, options=options) as (_, here):
            patch.setenv("MLFLOW_TRACKING_URI", here)
            mlflow.set_tracking_uri(here)
            yield log
    mlflow.set_tracking_uri(before)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_npz: Path) -> Iterator[Remote]:
    folder = tmp_path_factory.mktemp("server")
    with logging_server(folder) as log:
        asked = DataSet(dataset=str(tiny_npz))
        yield Remote(prepared(asked, comparison_of(asked)), log)


@pytest.fixture
def remote(served: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Remote:
    """The same, to a host that has fetched nothing."""
    monkeypatch.setenv("TWENTY_LAYERS_CACHE", str(tmp_path / "cache"))
    client.local_artifact.cache_clear()
    served.log.write_text("")
    return served


def in_processes(data: LoggedData, caches: list[Path]) -> list[int]:
    """Open the data in processes at once, each with a cache; their exit codes."""

    def opened(cache: Path) -> None:
        os.environ["TWENTY_LAYERS_CACHE"] = str(cache)
        splits = logged_splits(data.run_id, data.fingerprint)
        assert isinstance(splits.x_train, np.memmap)
        assert Path(str(splits.x_train.filename)).is_relative_to(cache)

    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=opened, args=(cache,)) for cache in caches]
    for one in processes:
        one.start()
    for one in processes:
        one.join(60)
    return [one.exitcode or 0 for one in processes]


def test_processes_of_one_host_fetch_once_and_two_hosts_once_each(
    remote: Remote, tmp_path: Path
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    assert in_processes(remote.data, [one] * 4) == [0] * 4
    assert sorted(remote.fetched()) == sorted(FILES)
    assert in_processes(remote.data, [one, other, other]) == [0] * 3
    assert sorted(remote.fetched()) == sorted(FILES * 2)
    assert (one / "data").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", ["cut short", "another's labels", "a file gone", "no folder"])
def test_what_is_not_what_the_fingerprint_tells_is_fetched_again(
    remote: Remote, damage: str
) -> None:
    found = fetched_data.directory(remote.data.run_id, remote.data.fingerprint)
    images, labels = found / "x_train.npy", found / "y_train.npy"
    match damage:
        case "cut short":
            images.write_bytes(images.read_bytes()[:-100])
        case "another's labels":
            np.save(labels, np.roll(np.load(labels), 1))
        case "a file gone":
            images.unlink()
        case "no folder":
            shutil.rmtree(found)
    before = len(remote.fetched())
    assert in_processes(remote.data, [found.parents[1]]) == [0]
    assert len(remote.fetched()) - before == len(FILES)
    assert in_processes(remote.data, [found.parents[1]]) == [0]
    assert len(remote.fetched()) - before == len(FILES)


def test_data_that_were_not_used_for_longest_are_removed(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetched_data, "KEPT", 2)
    cache = tmp_path / "cache" / "data"
    for age, name in enumerate(["data-newer", "data-older", "unfinished"]):
        (cache / name).mkdir(parents=True)
        os.utime(cache / name, (1e9 - age, 1e9 - age))
    found = fetched_data.directory(remote.data.run_id, remote.data.fingerprint)
    assert {one.name for one in cache.iterdir()} == {found.name, "data-newer", "lock"}


def another_user_s(cache: Path) -> None:
    (cache / "data").mkdir(parents=True)
    try:
        os.chown(cache / "data", 65534, 65534)
    except PermissionError:
        pytest.skip("giving a folder away takes root")


@pytest.mark.parametrize("hindrance", [another_user_s, Path.touch])
def test_where_nothing_can_be_kept_a_process_has_a_copy_of_its_own(
    remote: Remote,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    hindrance: Callable[[Path], None],
) -> None:
    hindrance(tmp_path / "cache")
    found = fetched_data.directory(remote.data.run_id, remote.data.fingerprint)
    assert not found.is_relative_to(tmp_path)
    assert "The data set is fetched for this process alone" in capsys.readouterr().out
    assert logged_splits(remote.data.run_id, remote.data.fingerprint).name == "stripes"


def test_a_disk_that_is_full_leaves_nothing_in_the_cache(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download = client.download

    def full(run_id: str, path: str, to: Path) -> Path:
        fetched = download(run_id, path, to)
        if to.is_relative_to(tmp_path):
            raise mlflow.MlflowException("{'y_test.npy': 'No space left on device'}")
        return fetched

    monkeypatch.setattr(client, "download", full)
    found = fetched_data.directory(remote.data.run_id, remote.data.fingerprint)
    assert not found.is_relative_to(tmp_path)
    assert {one.name for one in (tmp_path / "cache" / "data").iterdir()} == {"lock"}


def test_data_that_are_damaged_where_they_were_logged_are_refused(
    remote: Remote,
) -> None:
    with pytest.raises(InputError, match=r"artifact 'data' of run .* Run the prepare step again"):
        logged_splits(remote.data.run_id, "0" * 64)


def test_a_tag_that_leads_elsewhere_does_not(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "cache" / "data" / "data-x").mkdir(parents=True)
    (elsewhere := tmp_path / "elsewhere").mkdir()
    found = fetched_data.directory(remote.data.run_id, "x/../../../elsewhere")
    assert not found.is_relative_to(tmp_path)
    assert list(elsewhere.iterdir()) == []
