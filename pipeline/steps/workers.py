"""Where the steps of a comparison run: Dask workers, local by default."""

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing import Semaphore
from typing import Any, TypeVar

import dask
from distributed import Client, Future, LocalCluster, as_completed, get_worker
from distributed.client import FuturesCancelledError
from distributed.versions import VersionMismatchWarning

from pipeline.base import InputError, disks, output, progress
from pipeline.base.environment import configure
from pipeline.steps.remote import Work
from pipeline.steps.running import pipeline_run_id
from pipeline.tracking import outages
from pipeline.tracking.client import tracking_uri
from pipeline.tracking.runs import StepRun
from pipeline.training import runtime

Of = TypeVar("Of")  # what a future is of

CLUSTER_SETTINGS = {
    "distributed.logging.distributed": "critical",
    # By default Dask profiles what the workers do a hundred times a second and looks at every event
    # loop fifty times a second: time that training would lack.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    # Else Dask holds some of the searches back, and trainings of a lower priority overtake them.
    "distributed.scheduler.worker-saturation": "inf",
}


@contextmanager
def connect(jobs: int, scheduler: str) -> Iterator[Client]:
    """A Dask client: of a local cluster of so many workers, or of the scheduler at an address.

    Raises:
        InputError: if nobody answers at the address, or this machine cannot start workers.
    """
    if scheduler == "none":
        # As Dask comes: what DASK_... and ~/.config/dask say of other clusters can break this one.
        dask.config.refresh(paths=[], env={})
    with dask.config.set(CLUSTER_SETTINGS), ExitStack() as stack:
        if scheduler == "none":
            _check_semaphores()
            cluster = LocalCluster(
                n_workers=jobs,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",  # any port: several comparisons may run at once
                memory_limit=0,
                silence_logs="CRITICAL",
                security=True,  # TLS, with keys of its own: its ports run whatever they are sent
            )
            yield stack.enter_context(Client(stack.enter_context(cluster)))
        else:
            yield stack.enter_context(_remote(scheduler))


def _check_semaphores() -> None:
    """Refuse a machine without those of processes, which Dask starts and ends its workers by."""
    try:
        Semaphore()
    except OSError as error:
        raise InputError(
            "workers on this machine",
            expected="semaphores, which Linux keeps in /dev/shm",
            received=str(error),
            action="Make /dev/shm writable (a container: --tmpfs /dev/shm), or give a scheduler.",
        ) from error


def _remote(scheduler: str) -> Client:
    warnings.simplefilter("ignore", VersionMismatchWarning)  # what differs is refused
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what fails is raised, too
    try:
        return Client(scheduler, timeout=10)
    except (OSError, TypeError, ValueError) as error:  # TypeError: tls:// without certificates
        raise InputError(
            "scheduler",
            expected="none, or the address of a running Dask scheduler",
            received=repr(scheduler),
            action="Start one with `dask scheduler`, and workers with `dask worker --nthreads 1`.",
        ) from error


class Submitter:
    """Submits the steps of one comparison, linked to the run of `main`, to its workers.

    What is submitted can be made to bring along what workers elsewhere lack, see `remote.joined`.
    """

    def __init__(
        self, client: Client, run: StepRun, brought: Callable[[Work], Work] = lambda work: work
    ):
        self._client, self._brought = client, brought
        self._pipeline_run = run.run_id  # also the topic of its news: others may share a scheduler
        self._environment = {
            "MLFLOW_TRACKING_URI": tracking_uri(),
            "MLFLOW_EXPERIMENT_ID": run.experiment,
        }

    def show_progress(self, sink: progress.Sink) -> None:
        """Show on this terminal what the workers report of the steps."""
        self._client.subscribe_topic(self._pipeline_run, lambda event: sink(event[1]))

    def grow(self, jobs: int) -> None:
        """Start more workers on this machine where there are fewer."""
        if (cluster := self._client.cluster) and jobs > len(cluster.workers):
            cluster.scale(jobs)
            self._client.wait_for_workers(jobs)

    def submit(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        *,
        after: Sequence[Future] = (),
        priority: int = 0,
        group: int | None = None,
    ) -> Future:
        """Submit a step; it starts when those it comes after are done, of a higher priority first.

        Steps of one group run in the same worker of this machine unless another one is idle; those
        of none (None) run where what they come after has run.
        """
        where: dict[str, Any] = {}
        addresses = sorted(self._client.scheduler_info()["workers"])
        # Where all workers are gone for a moment, Dask waits for the one at the address for good.
        if group is not None and self._client.cluster and len(addresses) > 1:
            where = {"workers": addresses[group % len(addresses)], "allow_other_workers": True}
        work = partial(
            _run_in_worker,
            function,
            dict(arguments),
            environment=self._environment,
            pipeline_run=self._pipeline_run,
        )
        return self._client.submit(
            self._brought(work),
            list(after),
            pure=False,
            priority=priority,
            **where,
        )


def _run_in_worker(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    _after: Sequence[Any],
    *,
    environment: Mapping[str, str],
    pipeline_run: str,
) -> Any:
    output.never_fails()
    configure()
    runtime.configure()
    runtime.refuse_other_settings()
    os.environ.pop("MLFLOW_RUN_ID", None)  # the run that `mlflow run` opened belongs to `main`
    os.environ |= environment
    outages.expect_server()  # the process of `main` has had its answers
    pipeline_run_id.set(pipeline_run)
    worker = get_worker()
    with progress.sending_to(lambda news: worker.log_event(pipeline_run, dict(news))):
        try:
            return function(**arguments)
        except Exception as error:
            # What an error was raised from does not come along to another process.
            if said := disks.failure(error):
                raise OSError(said) from error
            raise


def gather(
    futures: Mapping[Of, Future], on_end: Callable[[Of], None] = lambda _: None
) -> tuple[dict[Of, Any], dict[Of, str]]:
    """Wait for futures: the results of those that ended well, the errors of the others.

    As soon as one has ended, `on_end` is called with what it is of.
    """
    names = {future: name for name, future in futures.items()}
    with suppress(FuturesCancelledError):
        for future in as_completed(list(futures.values())):
            on_end(names[future])
    results, errors = {}, {}
    for name, future in futures.items():
        try:
            results[name] = future.result()
        except Exception as error:  # it is anyone's; or the scheduler has gone
            errors[name] = f"{type(error).__name__}: {error}"
    return results, errors
