"""Entry point `main`: the whole comparison, its steps in parallel on Dask workers."""

from typing import TYPE_CHECKING

from pipeline import cli, options
from pipeline.base import StepsFailedError, progress
from pipeline.compare import compared
from pipeline.comparisons.variants import Variant
from pipeline.prepare import Prepared, prepared
from pipeline.search import searched
from pipeline.steps.plan import Comparison, as_text, comparison, searches_of
from pipeline.steps.plan import plan as planned
from pipeline.steps.reuse import reusable
from pipeline.tracking import client, step_runs, views
from pipeline.train import TrainSettings, trained
from pipeline.work.studies import create_storage

if TYPE_CHECKING:
    from pipeline.steps import running, workers


def main(
    *,
    variants: options.Variants = "elu,bn,selu,alpha_dropout,one_cycle",
    dataset: options.Dataset = "auto",
    seeds: options.Seeds = "1,2,3",
    learning_rate: options.LearningRate = "auto",
    epochs: options.Epochs = "auto",
    patience: options.Patience = "auto",
    batch_size: options.BatchSize = "auto",
    dropout_rate: options.DropoutRate = "auto",
    dropout_layers: options.DropoutLayers = "auto",
    mc_samples: options.McSamples = 100,
    n_trials: options.NTrials = 12,
    search_epochs: options.SearchEpochs = "auto",
    learning_rate_min: options.LearningRateMin = 0.00001,
    learning_rate_max: options.LearningRateMax = 0.1,
    search_seed: options.SearchSeed = 1,
    storage: options.Storage = "sqlite:///optuna.db",
    val_size: options.ValSize = 5000,
    split_seed: options.SplitSeed = 1,
    baseline: options.Baseline = "elu",
    jobs: options.Jobs = "auto",
    scheduler: options.Scheduler = "none",
    reuse: options.Reuse = "auto",
    plan: options.Plan = "none",
) -> None:
    """Run the whole comparison: prepare, search per variant, train per variant and seed, compare.

    Steps run in parallel, one worker per core, and finished ones are reused: a second run of the
    same command starts nothing. A changed parameter reruns only what depends on it. With plan=only
    it says what would run, why, and how long it would take, and runs nothing.
    """
    parameters = dict(locals())  # nothing but the parameters, passed on as they are
    command = options.mlflow_run("main", options.not_default(main, parameters))
    options.check_plan(parameters.pop("plan"))
    wanted = comparison(**parameters)
    if plan == "only":
        _say_plan(wanted)
    else:
        _run(wanted, command)


def _say_plan(wanted: Comparison) -> None:
    text = as_text(planned(wanted), wanted)
    progress.update(message=text)
    if run := step_runs.adopted_run("main"):
        run.set_tags({"mlflow.runName": "plan"})
        run.set_note(f"Nothing was run.\n\n```\n{text}\n```")


def _run(wanted: Comparison, command: str) -> None:
    reuse = wanted.reuse
    data = prepared(
        dataset=wanted.dataset, val_size=wanted.val_size, seed=wanted.split_seed, reuse=reuse
    )
    parameters = {
        "variants": ",".join(dict.fromkeys(one.variant.name for one in wanted.trainings)),
        "seeds": ",".join(dict.fromkeys(str(one.seed) for one in wanted.trainings)),
        "dataset": wanted.dataset,
        "reuse": reuse,
    }
    name = f"comparison {data.dataset}"
    with running.step_run("main", parameters, name=name, tags=data.tags) as run:
        token = running.pipeline_run_id.set(run.run_id)
        try:
            _run_steps(run, wanted, data, command)
        finally:
            running.pipeline_run_id.reset(token)


def _run_steps(run: step_runs.StepRun, wanted: Comparison, data: Prepared, command: str) -> None:
    """Train what is not finished, compare what is, and fail if a step did."""
    finished: dict[str, client.Run] = {}
    for one in wanted.trainings:
        reused = reusable(one.step(data), name=one.name, reuse=wanted.reuse)
        if reused:
            finished[one.name] = reused
    missing = [one for one in wanted.trainings if one.name not in finished]
    run_ids, failures = _train(run, missing, data, wanted) if missing else ({}, {})
    finished |= {name: client.get_run(run_id) for name, run_id in run_ids.items()}
    if finished:
        chosen = [finished[one.name] for one in wanted.trainings if one.name in finished]
        compare_run = compared(
            chosen, baseline=wanted.baseline, reuse=wanted.reuse, command=command
        )
        run.set_tags({"compare_run": compare_run})
        run.set_note(client.get_run(compare_run).data.tags["mlflow.note.content"])
        views.announce(views.view_urls(run.experiment, chosen[0]))
    if failures:
        raise StepsFailedError(failures)


def _train(
    run: step_runs.StepRun, missing: list[TrainSettings], data: Prepared, wanted: Comparison
) -> tuple[dict[str, str], dict[str, str]]:
    """Search and train on Dask workers: run ids of the trainings, and why others failed."""
    from pipeline.steps import workers

    create_storage(wanted.storage)
    searches = searches_of(missing)
    try:
        with (
            workers.connect(
                jobs=min(wanted.workers(), len(missing) + len(searches)), scheduler=wanted.scheduler
            ) as connection,
            progress.display() as sink,
        ):
            steps = workers.Steps(connection, run)
            steps.show_progress(sink)
            futures = _submit(steps, missing, data, wanted)
            import pipeline.work.evidence  # noqa: F401  for the comparison, while the workers are busy

            return workers.gather(futures)
    finally:
        # The workers on this machine have ended by now; those of another scheduler go on.
        if wanted.scheduler == "none":
            step_runs.kill_running_steps(run.run_id, run.experiment)


def _submit(
    steps: "workers.Steps", missing: list[TrainSettings], data: Prepared, wanted: Comparison
) -> dict[str, "workers.Future"]:
    """Submit the searches and the trainings after them; by name, the trainings' futures."""
    common = {"data": data, "storage": wanted.storage, "reuse": wanted.reuse, "announce": False}
    searches = {
        name: steps.submit(searched, {"settings": search, **common}, priority=-place)
        for place, (name, search) in enumerate(searches_of(missing).items())
    }
    # Seed by seed: variants are compared in pairs of a seed, and what slows the machine down for a
    # while is to meet both of a pair. Of a seed the longest first: at the end, no worker is to
    # train for long while the others have nothing left to do.
    seeds = list(dict.fromkeys(one.seed for one in missing))
    ordered = sorted(missing, key=lambda one: (seeds.index(one.seed), -_work(one.variant)))
    # A worker compiles a variant once: the trainings follow its search, or else one another.
    variants = list(dict.fromkeys(one.variant.name for one in missing))

    def submit(one: TrainSettings) -> "workers.Future":
        search = searches.get(one.variant.name)
        return steps.submit(
            trained,
            {"wanted": one, **common},
            after=[search] if search else [],
            priority=-len(searches) - ordered.index(one),
            group=None if search else variants.index(one.variant.name),
        )

    return {one.name: submit(one) for one in missing}


def _work(variant: Variant) -> float:
    """How much there is to compute in a training, roughly: layers times mini-batches per image."""
    layers = variant.hidden_layers * (2 if variant.batch_normalization else 1)
    return layers * variant.epochs / variant.batch_size


if __name__ == "__main__":
    cli.run(main)
