"""A training run with everything that is logged, against the same training alone.

Both take turns epoch by epoch. What tracking adds to an epoch is CPU time, since metrics are sent
in the background; what it adds to a run is the time outside epochs and compiling.
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Annotated

import pandas as pd
from typer import Option

from benchmarks import harness, outcomes, turns
from pipeline import cli, environment, options, progress
from pipeline.variants import get_variant

PEER = "tracking off"
VARIANT, LEARNING_RATE = "elu", 0.0002


def tracking(
    *,
    dataset: options.Dataset = "auto",
    epochs: Annotated[int, Option(help="Epochs of a run.", min=2)] = 6,
    rounds: harness.Rounds = 6,
) -> None:
    """Measure what tracking adds to an epoch and to a run, imports left out."""
    machine = harness.describe_machine()
    with harness.prepared(dataset) as (directory, conditions):
        runs = [
            measure(harness.absolute(dataset), str(directory), epochs=epochs, seed=seed)
            for seed in range(1, rounds + 1)
        ]
    by_epoch = pd.concat(
        pd.DataFrame({"epoch_cpu_seconds": row["epoch_cpu_seconds"]})
        .assign(side=side, seed=seed)
        .reset_index(names="turn")
        for seed, run in enumerate(runs, start=1)
        for side, row in run.items()
    )
    by_epoch["round"] = by_epoch.seed * epochs + by_epoch.turn
    for run in runs:
        losses = {side: row["best_val_loss"] for side, row in run.items()}
        outcomes.check_same("best val_loss", losses, tolerance=0.0)
    per_epoch = outcomes.result(
        "CPU s per epoch", by_epoch, "epoch_cpu_seconds", peer=PEER, at_most=1.01
    )
    per_run = outcomes.Result(
        what="wall s more per run",
        ours=[run[harness.OURS]["rest_seconds"] - run[PEER]["rest_seconds"] for run in runs],
        at_most=3,
    )
    outcomes.publish(
        "tracking",
        [per_epoch, per_run],
        machine=machine,
        conditions={**conditions, "variant": VARIANT, "epochs": epochs},
        measured=by_epoch,
        notes=["Logged: every epoch, figures, the data sets, the model; checkpoints are written."],
    )


def measure(dataset: str, directory: str, *, epochs: int, seed: int) -> dict[str, harness.Row]:
    """One run of each side."""
    size = {"epochs": epochs, "seed": seed}
    with tempfile.TemporaryDirectory() as project:
        harness.run(harness.entry_point("prepare", dataset=dataset), directory=Path(project))
        sides: dict[str, turns.Side] = {
            harness.OURS: (tracked, {"dataset": dataset, "project": project, **size}),
            PEER: (untracked, {"directory": directory, **size}),
        }
        return turns.alternate(sides, turns=epochs)


def tracked(dataset: str, project: str, epochs: int, seed: int) -> harness.Row:
    """The entry point `train`, from the call to its return."""
    os.chdir(project)
    environment.import_tensorflow()
    import mlflow

    from pipeline import training  # noqa: F401
    from pipeline.train import train

    def on_news(news: progress.Update) -> None:
        if "done" in news:
            clock.epoch_ended()

    turns.end_turn()
    clock, started = turns.Clock(alternating=True), time.perf_counter()
    with progress.sending_to(on_news):
        run_id = train(
            variant=VARIANT,
            learning_rate=str(LEARNING_RATE),
            epochs=str(epochs),
            seed=seed,
            dataset=dataset,
        )
    wall_seconds = time.perf_counter() - started - clock.waited
    metrics = mlflow.MlflowClient().get_run(run_id).data.metrics
    rest = wall_seconds - metrics["train_seconds"] - metrics["compile_seconds"]
    return {
        "rest_seconds": rest,
        "best_val_loss": metrics["best_val_loss"],
        **clock.seconds(),
    }


def untracked(directory: str, epochs: int, seed: int) -> harness.Row:
    """The same compiled training and the same look at the test set; nothing is written."""
    environment.import_tensorflow()
    from pipeline.training import shared_trainer

    turns.end_turn()
    clock, started = turns.Clock(alternating=True), time.perf_counter()
    trainer = shared_trainer(get_variant(VARIANT), Path(directory))
    fit = trainer.fit(
        learning_rate=LEARNING_RATE,
        epochs=epochs,
        patience=get_variant(VARIANT).patience,
        seed=seed,
        on_epoch=lambda _epoch, _metrics: clock.epoch_ended(),
    )
    trainer.predict(trainer.prepared.x_test)
    wall_seconds = time.perf_counter() - started - clock.waited
    train_seconds = fit.history[-1]["elapsed_seconds"]
    return {
        "rest_seconds": wall_seconds - train_seconds - trainer.compile_seconds,
        "best_val_loss": fit.history[fit.best_epoch - 1]["val_loss"],
        **clock.seconds(),
    }


if __name__ == "__main__":
    cli.run(tracking)
