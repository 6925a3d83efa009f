"""The Dask workers that run the steps of a comparison, and what is submitted to them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from pipeline.base import InputError, progress
from pipeline.comparing.comparison import DecidedSteps, Wanted, import_dask
from pipeline.comparing.outlook import Outlook
from pipeline.comparisons import Variant
from pipeline.steps.running import once
from pipeline.tracking import client
from pipeline.tracking.runs import StepRun, kill_running_steps
from pipeline.training.checkpoints import packages_for
from pipeline.work.search import SearchStep
from pipeline.work.storage import create_storage
from pipeline.work.train import TrainStep
from pipeline.work.variant_step import VariantStep

if TYPE_CHECKING:
    from pipeline.steps import workers

# Multiplications of a filter of 3 x 3 on 32 x 32 pixels of three colours and of the 100 units that
# read its 900 outputs, over those between two layers of 100 units.
LAYERS_OF_A_FILTER = 11


class Crew:
    """Workers that start when there is first something to run, and live on until the last round.

    So TensorFlow is imported, and a variant compiled, once.
    """

    def __init__(self, of: Wanted, main_run: StepRun):
        self._of, self._main_run = of, main_run
        self._stack = ExitStack()
        self._queue: workers.Submitter | None = None
        self._futures: dict[VariantStep, workers.Future] = {}
        self._known: set[str] = set()  # the variants that Keras has all for

    def __enter__(self) -> "Crew":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def run(
        self, steps: DecidedSteps
    ) -> tuple[dict[VariantStep, client.Run], dict[VariantStep, str]]:
        """Search and train: the runs of the steps, and why others failed.

        Raises:
            InputError: if Keras does not have what a variant declares; nothing was begun.
        """
        jobs = min(self._of.workers(), len(steps.to_run))
        if self._queue is None:
            self._queue = self._started(jobs)
        self._queue.grow(jobs)
        self._outlook.begin(steps)
        self._refuse_unknown(steps, jobs)
        submit(self._queue, steps, self._of.asked.reuse, self._futures)
        import pipeline.report.page  # noqa: F401  for the comparison, while workers are busy
        from pipeline.steps import workers

        futures = {one: self._futures[one] for one in steps.to_run}
        runs, errors = workers.gather(futures, lambda one: self._outlook.ended(one.name))
        return runs, {one: _why(one, errors) for one in errors}

    def _refuse_unknown(self, steps: DecidedSteps, jobs: int) -> None:
        """Make what the variants declare, in every worker: all of them import TensorFlow by it."""
        from pipeline.steps import workers

        declared = {one.variant.name: one.variant for one in steps.to_run}
        new = {"variants": [of for name, of in declared.items() if name not in self._known]}
        self._known |= declared.keys()
        if not new["variants"] or not self._queue:
            return
        made = {number: self._queue.submit(_refusal, new, group=number) for number in range(jobs)}
        # Whatever else goes wrong there, the steps meet it, too.
        for refusal in filter(None, workers.gather(made)[0].values()):
            raise refusal

    def _started(self, jobs: int) -> "workers.Submitter":
        of, main_run = self._of, self._main_run
        create_storage(of.asked.storage)
        if of.asked.scheduler == "none":
            # When those on this machine have ended; those of another scheduler go on.
            self._stack.callback(kill_running_steps, main_run.run_id, main_run.experiment)
        submitting = self._stack.enter_context(connected(of, jobs))
        sink = self._stack.enter_context(progress.display())
        queue = submitting(main_run)
        self._outlook = Outlook(of, main_run.experiment, sink)
        queue.show_progress(self._outlook.follow)
        self._stack.callback(self._outlook.end)
        return queue


@contextmanager
def connected(of: Wanted, jobs: int) -> Iterator[Callable[[StepRun], "workers.Submitter"]]:
    """Dask workers that can do the steps; yields what submits those of a run of `main`."""
    import_dask()
    from pipeline.steps import remote, workers

    with workers.connect(jobs, of.asked.scheduler) as dask:
        if of.asked.scheduler == "none":
            yield partial(workers.Submitter, dask)
            return
        artifacts = client.connect().get_experiment(client.experiment_id()).artifact_location
        stores = (client.tracking_uri(), artifacts, of.asked.storage)
        packages = dict.fromkeys((*TrainStep.packages, *SearchStep.packages, "mlflow"))
        packages |= dict.fromkeys(packages_for(of.asked.checkpoints))
        with remote.joined(dask, stores, [*packages]) as brought:
            yield partial(workers.Submitter, dask, brought=brought)


def _refusal(variants: Sequence[Variant]) -> InputError | None:
    """In a worker, since only they have TensorFlow: why one of some variants cannot be made."""
    from pipeline.training import runtime

    runtime.import_tensorflow()
    from pipeline.training import settings

    try:
        settings.refuse_unknown(variants)
    except InputError as error:
        return error
    return None


def _why(failed: VariantStep, errors: Mapping[VariantStep, str]) -> str:
    """Why a step failed; to one that never began, Dask gives the error of the one before it."""
    before = [one.name for one in failed.after() if one in errors]
    return f"{before[0]} failed" if before else errors[failed]


def submit(
    queue: "workers.Submitter",
    steps: DecidedSteps,
    reuse: str,
    futures: dict[VariantStep, "workers.Future"],
) -> None:
    """Submit the steps that are to run, each after those that it reads.

    The futures are those of earlier rounds; new ones are added.
    """
    # Seed by seed: variants are compared in pairs of a seed, and what slows the machine down for a
    # while is to meet both of a pair. Of a seed the longest first: at the end, no worker is to
    # train for long while the others have nothing left to do.
    seeds = list(dict.fromkeys(one.seed for one in steps.missing))
    ordered = sorted(steps.missing, key=lambda one: (seeds.index(one.seed), -_cost(one)))
    before = sorted(steps.before, key=lambda one: -_cost(one))
    ranks = {one: place for place, one in enumerate([*before, *ordered])}
    variants = list(dict.fromkeys(one.variant.name for one in steps.trainings))
    variants += [one.variant.name for one in steps.before]
    for one in steps.to_run:
        if one in futures:
            continue
        # A worker compiles a variant once, so trainings go to the worker of their search, or else
        # to that of one another; not to that of a source, which is another variant.
        after = [futures[before] for before in one.after() if before in futures]
        follows = one.source is None and (after or isinstance(one, SearchStep))
        futures[one] = queue.submit(
            once,
            # `main` has said what becomes of a step.
            {"step": one, "reuse": reuse, "announce": False},
            after=after,
            priority=-ranks[one],
            group=None if follows else variants.index(one.variant.name),
        )


def _cost(step: VariantStep) -> float:
    """How much there is to compute in a step, roughly: layers times mini-batches per image."""
    variant = step.variant
    layers = variant.hidden_layers * (2 if variant.batch_normalization else 1)
    layers += LAYERS_OF_A_FILTER * variant.convolution_filters
    epochs = variant.search_epochs if isinstance(step, SearchStep) else variant.epochs
    return layers * epochs / variant.batch_size
