"""Which training runs a comparison is of."""

from collections.abc import Iterator, Sequence
from functools import cache, partial
from itertools import islice

from pipeline.base import InputError
from pipeline.comparing.replicates import newest_of_each_seed, with_key
from pipeline.comparisons import Comparison, Data, Variant
from pipeline.comparisons.files import source_of
from pipeline.steps.step import is_training_of, recorded_inputs
from pipeline.tracking import client
from pipeline.work.source import SOURCE_RUN


def choose(run_ids: Sequence[str] | None, comparison: Comparison) -> list[client.Run]:
    """The training runs of some ids; None: the replicates of the newest of every variant.

    Raises:
        InputError: if there are none, or one is not a finished training run.
    """
    if run_ids is None:
        return _newest_of_each(comparison)
    chosen = [client.get_run(run_id) for run_id in run_ids]
    for run in chosen:
        step, status = run.data.tags.get("step", "foreign"), run.info.status
        if (step, status) != ("train", "FINISHED"):
            expected, received = (
                "ids of finished training runs",
                f"{run.info.run_id} ({step}, {status})",
            )
            action = "Copy the ids of runs named 'train <variant> seed <seed>'."
            raise InputError("runs", expected=expected, received=received, action=action)
    return chosen


def _newest_of_each(comparison: Comparison) -> list[client.Run]:
    """The newest run of every variant, with its replicates, on the data of the newest run of all.

    Of a run from before it was recorded whose replicate it is, the newest of every seed.
    """
    experiment = client.experiment_id()
    may_be = cache(partial(_may_be, comparison.data, experiment))

    def trainings(variant: Variant, *conditions: str) -> Iterator[client.Run]:
        of_variant = f"params.variant = '{variant.name}'"
        for run in client.finished_runs("train", experiment, of_variant, *conditions):
            is_declared = _is_as_declared(run, variant, comparison)
            if is_declared and may_be(run.data.tags["data_fingerprint"]):
                yield run

    last = [run for variant in comparison.variants for run in islice(trainings(variant), 1)]
    if not last:
        names = [variant.name for variant in comparison.variants]
        expected = f"finished training runs of {', '.join(names)}, as they are declared now"
        action = f"Train first, e.g. `mlflow run . -e train -P variant={names[0]}`."
        raise InputError("runs", expected=expected, received="none", action=action)
    newest = max(last, key=lambda run: run.info.start_time)
    on_data = f"tags.data_fingerprint = '{newest.data.tags['data_fingerprint']}'"
    chosen: list[client.Run] = []
    for variant in comparison.variants:
        for run in islice(trainings(variant, on_data), 1):
            key = run.data.tags.get("replicates_key")
            alike = with_key(key, experiment) if key else trainings(variant, on_data)
            chosen += newest_of_each_seed(alike).values()
    return chosen


def _is_as_declared(run: client.Run, variant: Variant, comparison: Comparison) -> bool:
    """Whether a run trained a variant as it is declared now, from what it is to start from."""
    if not is_training_of(variant, run.data.tags):
        return False
    begun = client.find_run(run.data.tags.get(SOURCE_RUN)) if variant.starts_from else None
    if begun is None:  # it starts from no other, or that was deleted
        return True
    source, place = source_of(variant, comparison)
    return begun.data.params["variant"] == source.name and _is_as_declared(begun, source, place)


def _may_be(data: Data, experiment: str, fingerprint: str) -> bool:
    """Whether what has a fingerprint was not prepared with other classes, images or scaling."""
    split = {"val_size", "seed"}  # may be given on the command line
    declared = {name: str(value) for name, value in data.selection.items()}
    of_it = f"tags.data_fingerprint = '{fingerprint}'"
    found = client.finished_runs("prepare", experiment, of_it)
    recorded = (recorded_inputs(run.data.tags, "parameter ") for run in found)
    # It may have been prepared both ways: with all classes by name, and left out.
    selections = [{name: one[name] for name in one.keys() - split} for one in recorded]
    # Where `val_size` is given, as many of each class are not held out.
    with_size = {name: one for name, one in declared.items() if name != "val_images_per_class"}
    return not selections or declared in selections or with_size in selections
