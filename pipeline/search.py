"""Entry point `search`: a variant's learning rate."""

from pipeline import command
from pipeline.parameters import Search
from pipeline.steps.running import once
from pipeline.work.graph import graph_of


def search(asked: Search) -> str:
    """Search the learning rate of a variant: where a curve through all trials is lowest.

    One Optuna study per variant, data set and settings; an interrupted one goes on where it was.
    The first five rates are spread over the range and get an epoch each before the best of them
    goes on; a seeded TPE sampler then draws on a log scale. Bad trials are stopped by the
    validation loss of their first epochs, hopeless ones after one. For one_cycle the rate is the
    maximum of the cycle.

    \b
    python -m pipeline.search --variant selu --n-trials 20
    """
    graph, variant = graph_of(asked)
    return once(graph.search(variant), asked.reuse).info.run_id


if __name__ == "__main__":
    command.run(search)
