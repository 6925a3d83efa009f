"""Entry point `main`: the whole comparison, its steps in parallel on Dask workers."""

from pipeline import command
from pipeline.base import progress
from pipeline.comparing.comparison import wanted
from pipeline.comparing.plan import say_plan
from pipeline.comparing.rounds import run
from pipeline.parameters import Main


def main(asked: Main) -> None:
    """Run the whole comparison: prepare, search per variant, train per variant and seed, compare.

    Seeds are added until every primary question is decided. Steps run in parallel, one worker per
    core, and finished ones are reused: a second run of the same command starts nothing. A changed
    parameter reruns only what depends on it. With plan=only it says what would run, why, and how
    long it would take, and runs nothing.

    \b
    python -m pipeline.main --dataset cifar10 --minutes 120
    python -m pipeline.main --comparison ./mine.py --plan only
    """
    of = wanted(asked)
    if of.unanswerable:
        progress.say(of.unanswerable)
    (say_plan if asked.plan == "only" else run)(of)


if __name__ == "__main__":
    command.run(main)
