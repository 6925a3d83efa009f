"""Entry point `prepare`: a data set, split, measured and logged."""

from pipeline import command
from pipeline.base import progress
from pipeline.parameters import Prepare, comparison_of
from pipeline.work.prepare import prepared


def prepare(asked: Prepare) -> str:
    """Prepare a data set: split it, measure the training split, log it for the other steps.

    The test set is what the data set says it is; the validation set is held out of the training
    images, in equal shares per class. Prints the run's id.

    \b
    python -m pipeline.prepare --dataset cifar10
    """
    data = prepared(asked, comparison_of(asked), asked.reuse)
    progress.update(message=f"prepare {data.dataset}: run {data.run_id}")
    return data.run_id


if __name__ == "__main__":
    command.run(prepare)
