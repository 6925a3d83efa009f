"""Entry point `train`: one architecture variant, trained, judged and logged."""

from pipeline import command
from pipeline.base import progress
from pipeline.parameters import Train
from pipeline.steps.running import once
from pipeline.tracking import addresses, views
from pipeline.work.graph import graph_of


def train(asked: Train) -> str:
    """Train one architecture variant and log everything worth knowing about it.

    The data set is prepared, what it starts from trained and the learning rate searched first,
    where no finished run has done so. reuse=never trains again; these are reused all the same.

    \b
    python -m pipeline.train --variant bn
    python -m pipeline.train --variant bn --seed 2 --learning-rate 0.001
    """
    graph, variant = graph_of(asked)
    run = once(graph.training(variant, asked.seed), asked.reuse)
    views.write_views(run.info.experiment_id)
    progress.update(message=addresses.where("Run", run))
    return run.info.run_id


if __name__ == "__main__":
    command.run(train)
