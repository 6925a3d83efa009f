"""Entry point `compare`: finished training runs side by side, and what they answer."""

from pipeline import command
from pipeline.comparing.choice import choose
from pipeline.comparing.compare import compared, named, step_of
from pipeline.parameters import Compare, comparison_of, mlflow_run


def compare(asked: Compare) -> str:
    """Compare finished training runs on the same data and answer what the variants differ in.

    Prints results and answers, and logs a report with the curves of all variants. Several seeds
    per variant give verdicts with intervals; runs on different data are refused.

    \b
    python -m pipeline.compare
    python -m pipeline.compare --runs ID,ID,ID --baseline elu
    """
    comparison = comparison_of(asked)
    runs = choose(asked.runs, comparison)
    ids = (named(runs, "<the ids in runs.csv>"),) if asked.runs else None
    again = mlflow_run("compare", asked, runs=ids, reuse="auto")
    baseline = asked.baseline or comparison.baseline
    step = step_of(comparison, runs, baseline=baseline, command=again)
    return compared(step, asked.reuse)


if __name__ == "__main__":
    command.run(compare)
