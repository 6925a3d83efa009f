"""Entry point `main`: the whole comparison, its steps in parallel on Dask workers."""

import os
from dataclasses import dataclass
from typing import Any

from pipeline import cli, progress, tracking
from pipeline.compare import compared
from pipeline.errors import InputError, StepsFailedError
from pipeline.prepare import Prepared, prepared
from pipeline.reuse import reusable
from pipeline.search import check_storage, create_storage, searched
from pipeline.train import TrainSettings, settings, trained
from pipeline.variants import get_variant


def main(
    *,
    variants: cli.Variants = "elu,bn,selu,alpha_dropout,one_cycle",
    dataset: cli.Dataset = "auto",
    seeds: cli.Seeds = "1,2,3",
    learning_rate: cli.LearningRate = "auto",
    epochs: cli.Epochs = "auto",
    patience: cli.Patience = "auto",
    batch_size: cli.BatchSize = "auto",
    dropout_rate: cli.DropoutRate = "auto",
    dropout_layers: cli.DropoutLayers = "auto",
    mc_samples: cli.McSamples = 100,
    n_trials: cli.NTrials = 12,
    search_epochs: cli.SearchEpochs = 10,
    learning_rate_min: cli.LearningRateMin = 0.00001,
    learning_rate_max: cli.LearningRateMax = 0.1,
    search_seed: cli.SearchSeed = 1,
    storage: cli.Storage = "sqlite:///optuna.db",
    val_size: cli.ValSize = 5000,
    split_seed: cli.SplitSeed = 1,
    baseline: cli.Baseline = "elu",
    jobs: cli.Jobs = "auto",
    scheduler: cli.Scheduler = "none",
    reuse: cli.Reuse = "auto",
) -> None:
    """Run the whole comparison: prepare, search per variant, train per variant and seed, compare.

    Steps run in parallel, one worker per core, and finished ones are reused: a second run of the
    same command starts nothing. A changed parameter reruns only what depends on it.
    """
    cli.check_reuse(reuse)
    check_storage(storage)
    names = cli.split_list("variants", variants)
    if baseline not in names:
        raise InputError(
            "baseline",
            expected=f"one of the variants compared: {', '.join(names)}",
            received=repr(baseline),
            action="Add it to variants, or choose another baseline.",
        )
    wanted = [
        settings(
            variant=name,
            learning_rate=learning_rate,
            epochs=epochs,
            patience=patience,
            batch_size=batch_size,
            seed=seed,
            dropout_rate=dropout_rate if get_variant(name).dropout else "auto",
            dropout_layers=dropout_layers if get_variant(name).dropout else "auto",
            mc_samples=mc_samples,
            n_trials=n_trials,
            search_epochs=search_epochs,
            learning_rate_min=learning_rate_min,
            learning_rate_max=learning_rate_max,
            search_seed=search_seed,
        )
        for name in names
        for seed in cli.seed_list(seeds)
    ]
    workers = Workers(
        jobs=cli.auto_or("jobs", jobs, auto=os.cpu_count() or 1, minimum=1, kind=int),
        scheduler=scheduler,
    )
    data = prepared(dataset=dataset, val_size=val_size, seed=split_seed, reuse=reuse)
    parameters = {"variants": variants, "seeds": seeds, "dataset": dataset, "reuse": reuse}
    with tracking.step_run(
        "main", parameters, name=f"comparison {data.dataset}", tags=data.tags
    ) as run:
        _run_steps(run, wanted, data, workers, storage=storage, baseline=baseline, reuse=reuse)


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Where the steps run.

    Args:
        jobs: worker processes on this machine.
        scheduler: ``none``, or the address of a Dask scheduler whose workers are used instead.
    """

    jobs: int
    scheduler: str


def _run_steps(
    run: tracking.StepRun,
    wanted: list[TrainSettings],
    data: Prepared,
    workers: Workers,
    *,
    storage: str,
    baseline: str,
    reuse: str,
) -> None:
    """Train what is not finished, compare what is, and fail if a step did."""
    finished: dict[str, tracking.Run] = {}
    for one in wanted:
        reused = reusable(one.step(data), name=one.name, reuse=reuse)
        if reused:
            finished[one.name] = reused
    missing = [one for one in wanted if one.name not in finished]
    token = tracking.pipeline_run_id.set(run.run_id)
    try:
        run_ids: dict[str, str] = {}
        failures: dict[str, str] = {}
        if missing:
            run_ids, failures = _train(run, missing, data, workers, storage=storage, reuse=reuse)
        finished |= {name: tracking.get_run(run_id) for name, run_id in run_ids.items()}
        if finished:
            chosen = [finished[one.name] for one in wanted if one.name in finished]
            comparison = compared(chosen, baseline=baseline, reuse=reuse)
            run.set_tags({"compare_run": comparison})
            run.set_note(tracking.get_run(comparison).data.tags["mlflow.note.content"])
    finally:
        tracking.pipeline_run_id.reset(token)
    progress.update(message=f"Open after `make ui`: {tracking.comparison_url(run.experiment)}")
    if failures:
        raise StepsFailedError(failures)


def _train(
    run: tracking.StepRun,
    missing: list[TrainSettings],
    data: Prepared,
    workers: Workers,
    *,
    storage: str,
    reuse: str,
) -> tuple[dict[str, str], dict[str, str]]:
    """Search and train on Dask workers: run ids of the trainings, and why others failed."""
    from pipeline import engine

    create_storage(storage)
    common = {"data": data, "storage": storage, "reuse": reuse, "announce": False}
    variants = list(dict.fromkeys(one.variant.name for one in missing))
    try:
        with (
            engine.connect(jobs=workers.jobs, scheduler=workers.scheduler) as client,
            progress.display() as sink,
        ):
            engine.show_progress(client, sink)
            steps = engine.Steps(client, run)
            searches: dict[str, Any] = {}
            trainings: dict[str, Any] = {}
            for one in missing:
                name = one.variant.name
                # Depth first: a worker that searched a variant has its compiled model.
                priority = -variants.index(name)
                if one.learning_rate is None and name not in searches:
                    searches[name] = steps.submit(
                        searched, {"settings": one.search, **common}, priority=priority
                    )
                trainings[one.name] = steps.submit(
                    trained,
                    {"wanted": one, **common},
                    after=[searches[name]] if name in searches else [],
                    priority=priority,
                )
            return engine.gather(trainings)
    finally:  # the workers have ended by now
        tracking.kill_running_steps(run.run_id, run.experiment)


if __name__ == "__main__":
    cli.run(main)
