"""The training that a step starts from: its model, and links between its run and the step's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.tracking import addresses, client
from pipeline.tracking.runs import RUN_NOTE_LENGTH, StepRun
from pipeline.work.trained_model import trained_model
from pipeline.work.variant_step import VariantStep

if TYPE_CHECKING:
    import keras

SOURCE_RUN = "source_run"  # the tag of a run that has the id of the one it starts from
SOURCE_OF = "source_of"  # with the name of a step: the tag of that one that leads back to the first


def source_model(
    step: VariantStep, run: StepRun, after: Sequence[client.Run]
) -> "keras.Model | None":
    """The model that a step starts from, None if from none; links the two runs with each other.

    Args:
        step, run: the step that starts from it, and its run.
        after: the runs of the steps that this step comes after, in the same order.

    Raises:
        InputError: as `trained_model`.
    """
    if step.source is None:
        return None
    source = after[step.after().index(step.source)]
    model = trained_model(source, step.source.splits)
    run.set_tags({SOURCE_RUN: source.info.run_id})
    of_source = StepRun(source.info.run_id, source.info.experiment_id)
    # Many runs may do this at once: each has a tag of its own, and all write the same note.
    of_source.set_tags({f"{SOURCE_OF}.{step.name}": run.run_id})
    note, query = source.data.tags.get("mlflow.note.content", ""), f"tags.{SOURCE_RUN} = '{{}}'"
    table = addresses.runs_page(source.info.experiment_id, query.format(source.info.run_id))
    link = f"\n\n[Runs that start from it]({table[1:]})"
    if link not in note and len(note) + len(link) <= RUN_NOTE_LENGTH:
        of_source.set_note(note + link)
    return model


def source_link(run: client.Run) -> str:
    """A link to the run that a run starts from, as Markdown; empty where there is none."""
    source = run.data.tags.get(SOURCE_RUN)
    page = addresses.run_page(run.info.experiment_id, source)[1:] if source else ""
    return page and f"[the training that it starts from]({page})"
