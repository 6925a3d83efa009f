"""Entry point `train`: one architecture variant, trained, judged and logged."""

from pipeline import command
from pipeline.base import progress
from pipeline.parameters import Train
from pipeline.steps.running import once
from pipeline.tracking import addresses, views
from pipeline.work import search
from pipeline.work import train as work
from pipeline.work.prepare import variant_and_data


def train(asked: Train) -> str:
    """Train one architecture variant and log everything worth knowing about it.

    The data set is prepared and the learning rate searched first, where no finished run has done
    so. reuse=never trains again; the data and the study are reused all the same.

    \b
    python -m pipeline.train --variant bn
    python -m pipeline.train --variant bn --seed 2 --learning-rate 0.001
    """
    variant, data = variant_and_data(asked)
    searched = search.SearchStep(variant=variant, prepared=data, asked=asked)
    step = work.TrainStep(
        variant=variant, prepared=data, seed=asked.seed, asked=asked, search=searched
    )
    run = once(step, asked.reuse)
    views.write_views(run.info.experiment_id)
    progress.update(message=addresses.where("Run", run))
    return run.info.run_id


if __name__ == "__main__":
    command.run(train)
