"""Entry point `main`: the whole comparison, its steps in parallel on Dask workers."""

from pipeline import command
from pipeline.base import progress
from pipeline.parameters import Main
from pipeline.steps.plan import as_text
from pipeline.tracking.step_runs import adopted_run
from pipeline.work.comparison import Wanted, plan, run, wanted


def main(asked: Main) -> None:
    """Run the whole comparison: prepare, search per variant, train per variant and seed, compare.

    Steps run in parallel, one worker per core, and finished ones are reused: a second run of the
    same command starts nothing. A changed parameter reruns only what depends on it. With plan=only
    it says what would run, why, and how long it would take, and runs nothing.
    """
    of = wanted(asked)
    if asked.plan == "only":
        _say_plan(of)
    else:
        run(of)


def _say_plan(of: Wanted) -> None:
    text = as_text(plan(of), jobs=of.workers(), scheduler=of.asked.scheduler)
    progress.update(message=text)
    if opened := adopted_run("main"):
        opened.set_tags({"mlflow.runName": "plan"})
        opened.set_note(f"Nothing was run.\n\n```\n{text}\n```")


if __name__ == "__main__":
    command.run(main)
