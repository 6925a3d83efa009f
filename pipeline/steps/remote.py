"""Workers of a Dask scheduler elsewhere: what they need, and how this package gets to them.

They have the packages of `conda.yaml`, but not this one: every step brings the code of its `main`.
"""

import hashlib
import io
import os
import pickle
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, chdir, contextmanager, nullcontext, suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from distributed import Client, Reschedule, Status, Worker, get_worker
from distributed.diagnostics.plugin import UploadFile
from distributed.versions import get_package_info

from pipeline.base import InputError, hide_passwords, progress
from pipeline.steps.step import PACKAGE

OF_DASK = ("dask", "distributed")  # which a scheduler needs, too
Work = Callable[[Any], Any]  # it is given the results that it waits for


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a worker needs, to do the work of this process as it would be done here.

    A folder is known by a file of a random name in it: elsewhere, its path may be another one's.
    """

    versions: Mapping[str, str | None]
    stores: Mapping[str, str]  # those that are files here, each with the file beside it
    folder: str  # where this process works
    file_in_it: str

    @property
    def packages(self) -> list[str]:
        """The packages of which it needs the versions that are here."""
        return [name for name in self.versions if name != "python"]

    def unmet(
        self, versions: Mapping[str, str | None], threads: int = 1, unseen: Sequence[str] = ()
    ) -> dict[str, str]:
        """What one lacks that has some versions and threads, each with what to do about it.

        Args:
            unseen: the files that it does not see.
        """
        others = [
            f"{name} {versions[name] or 'missing'} instead of {self.versions[name]}"
            for name in self.versions.keys() & versions.keys()
            if versions[name] != self.versions[name]
        ]
        pinned = "Install there what conda.yaml and requirements-cluster.txt pin."
        lacks = dict.fromkeys(sorted(others), pinned)
        if threads != 1:
            lacks[f"{threads} threads"] = "Start workers with `dask worker --nthreads 1`."
        reach = "Give a tracking server and a storage that all reach, or share their folder."
        missing = [store for store, file in self.stores.items() if file in unseen]
        return lacks | {f"no {store} of this machine": reach for store in missing}


@contextmanager
def joined(
    client: Client, stores: Iterable[str], packages: Iterable[str]
) -> Iterator[Callable[[Work], Work]]:
    """Give a scheduler's workers this package; yields what makes work one that they can do.

    Args:
        stores: URIs of what is read and written.
        packages: those whose versions decide the results.

    Raises:
        InputError: if workers differ from this process in what decides the results, or do not see
            a store. One that joins later and does is told to leave, and its work goes to others.
    """
    with ExitStack() as stack:
        needs = _needs(stack, stores, packages)
        _check(client, needs)
        code, name = _archive(), f"twenty-layers-{client.id}"
        client.subscribe_topic(name, _telling())
        archive = Path(stack.enter_context(tempfile.TemporaryDirectory()), f"{name}.zip")
        archive.write_bytes(code)
        client.register_plugin(UploadFile(str(archive), load=False), name=name)
        stack.callback(_unregister, client, name)
        digest = hashlib.sha256(code).hexdigest()[:16]
        yield lambda work: _brought(
            archive.name, digest, pickle.dumps(partial(_do, needs, name, pickle.dumps(work)))
        )


def _telling() -> Callable[[tuple[float, str]], None]:
    """What tells whoever watches this process what workers say; called in another thread."""
    context = copy_context()
    return lambda event: context.copy().run(progress.update, message=event[1])


def _unregister(client: Client, name: str) -> None:
    with suppress(OSError, ValueError):  # the scheduler has gone, or is another one
        client.unregister_worker_plugin(name)


def _needs(stack: ExitStack, stores: Iterable[str], packages: Iterable[str]) -> Needs:
    def file_in(folder: Path) -> str:
        while not folder.is_dir():  # a file, or what is still to be made
            folder = folder.parent
        return stack.enter_context(tempfile.NamedTemporaryFile(dir=folder, prefix=".seen-")).name

    paths = {hide_passwords(store): path for store in stores if (path := _path(store))}
    here, file_in_it = str(Path.cwd()), file_in(Path.cwd())
    beside = {store: file_in(path.absolute()) for store, path in paths.items()}
    if not all(path.is_absolute() for path in paths.values()):
        beside |= {f"folder {here}": file_in_it}
    versions = _versions(get_package_info([*packages, *OF_DASK]))
    return Needs(versions=versions, stores=beside, folder=here, file_in_it=file_in_it)


def _path(store: str) -> Path | None:
    """The path of a store that is a file or a folder; None of a server's."""
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    if store.startswith("sqlite"):
        return Path(store.partition(":///")[2].partition("?")[0])
    local = is_local_uri(store, is_tracking_or_registry_uri=False)
    return Path(local_file_uri_to_path(store)) if local else None


def _versions(found: Mapping[str, str | None]) -> dict[str, str | None]:
    """The versions that Dask found, Python's without the digits that no result depends on."""
    return {**found, "python": ".".join((found["python"] or "").split(".")[:2])}


def _check(client: Client, needs: Needs) -> None:
    """Refuse a scheduler and workers that lack something, and say what, one by one."""
    found: Any = client.get_versions(packages=[*needs.packages])
    info = client.scheduler_info()
    files = {needs.file_in_it, *needs.stores.values()}
    sees = {file: client.run(os.path.exists, file) for file in files}
    of_scheduler = _versions(found["scheduler"]["packages"])
    versions = {name: of_scheduler[name] for name in ("python", *OF_DASK)}
    lacks = {f"scheduler {info['address']}": needs.unmet(versions)}
    for address in info["workers"].keys() & found["workers"].keys():  # they come and go
        versions = _versions(found["workers"][address]["packages"])
        unseen = [file for file in files if not sees[file].get(address, True)]
        threads = info["workers"][address]["nthreads"]
        lacks[f"worker {address}"] = needs.unmet(versions, threads, unseen)
    if not info["workers"]:
        progress.update(message=f"No worker has joined {info['address']} yet: waiting for one.")
    _refuse(lacks)


def _refuse(lacks: Mapping[str, Mapping[str, str]]) -> None:
    who = [f"{name} with {', '.join(one)}" for name, one in sorted(lacks.items()) if one]
    if who:
        actions = dict.fromkeys(action for one in lacks.values() for action in one.values())
        raise InputError(
            "scheduler",
            expected="workers of one thread, with the packages that are here, that see the stores",
            received="; ".join(who),
            action=" ".join(actions),
        )


def _archive() -> bytes:
    """This package as a .zip file; the same code is the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(PACKAGE.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                name = zipfile.ZipInfo(path.relative_to(PACKAGE.parent).as_posix())
                archive.writestr(name, path.read_bytes())
    return content.getvalue()


def _brought(archive: str, digest: str, work: bytes) -> Work:
    """Work that imports this package from an archive that the worker was sent."""

    # A function in a function is pickled whole. One to be imported, neither the scheduler nor a
    # worker could unpickle, nor anything else of this package before it is there.
    def run(after: Sequence[Any]) -> Any:
        import pickle
        import shutil
        import sys
        import time
        from pathlib import Path

        from distributed import Reschedule, Status, get_worker

        worker = get_worker()
        folder = Path(worker.local_directory, digest)
        package = sys.modules.get("pipeline")
        if package is None:
            shutil.unpack_archive(folder.with_name(archive), folder)
            sys.path.insert(0, str(folder))
        elif folder not in Path(str(package.__file__)).parents:
            # Other code has set up this process, TensorFlow in it: the worker begins anew.
            if worker.nanny is None:
                raise RuntimeError(f"{worker.address} has run other code: start it with a nanny.")
            worker.loop.add_callback(worker.close_gracefully, restart=True)
            while worker.status == Status.running:
                time.sleep(0.05)
            raise Reschedule
        return pickle.loads(work)(after)

    return run


def _do(needs: Needs, topic: str, work: bytes, after: Sequence[Any]) -> Any:
    """Do work in a worker, in the folder of `main` if it sees it; if it lacks what that needs, not.

    Then it leaves the scheduler, which gives the work to another one, and says why to the topic.
    """
    worker: Worker = get_worker()
    unseen = [file for file in needs.stores.values() if not os.path.exists(file)]
    versions = _versions(get_package_info(needs.packages))
    try:
        lacks = needs.unmet(versions, worker.state.nthreads, unseen)
        _refuse({f"worker {worker.address}": lacks})
    except InputError as refusal:
        worker.log_event(topic, f"{refusal} It leaves, and its work goes to others.")
        worker.loop.add_callback(worker.close_gracefully, restart=False)
        while worker.status == Status.running:
            time.sleep(0.05)
        raise Reschedule from refusal
    shared = os.path.exists(needs.file_in_it)
    with chdir(needs.folder) if shared else nullcontext():
        return pickle.loads(work)(after)
