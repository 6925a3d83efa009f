"""A training run with everything that is logged, against the same training alone.

Both take turns epoch by epoch. What tracking adds to an epoch is CPU time, since metrics are sent
in the background; what it adds to a run is the time outside epochs and compiling. A process runs
two trainings, as a worker of `main` does: the first one also pays for what a process does once,
such as opening the store and importing what draws and what saves.
"""

import os
from pathlib import Path

import pandas as pd

from benchmarks import harness, outcomes, turns
from pipeline import command
from pipeline.base import environment, progress
from pipeline.comparisons.files import find_variant
from pipeline.data.splits import open_splits
from pipeline.parameters import Train, parameter
from pipeline.training import runtime

PEER = "tracking off"
VARIANT, LEARNING_RATE = "elu", 0.0002
RUNS = 2  # of a process


class Tracking(harness.OnData):
    """What is measured."""

    epochs: int = parameter.asked(6, "Epochs of a run.", int, least=2)
    rounds: int = harness.rounds(6)


def tracking(asked: Tracking) -> None:
    """Measure what tracking adds to an epoch and to a run, TensorFlow's and MLflow's import not."""
    machine = harness.describe_machine()
    epochs = asked.epochs
    with harness.prepared(asked.dataset) as (directory, conditions):
        measured = [
            measure(harness.absolute(asked.dataset), str(directory), epochs=epochs, number=number)
            for number in range(1, asked.rounds + 1)
        ]
    for sides in measured:
        for run in range(RUNS):
            losses = {side: row["best_val_losses"][run] for side, row in sides.items()}
            outcomes.check_same("best val_loss", losses, tolerance=0.0)
    by_epoch = pd.concat(
        pd.DataFrame({"epoch_cpu_seconds": row["epoch_cpu_seconds"]})
        .assign(side=side, measured=number)
        .reset_index(names="turn")
        for number, sides in enumerate(measured)
        for side, row in sides.items()
    )
    # As the clock leaves out the first epoch: a run's begins where the run before it left off.
    by_epoch = by_epoch[(by_epoch.turn + 1) % epochs > 0]
    by_epoch["round"] = by_epoch.measured * RUNS * epochs + by_epoch.turn
    outcomes.publish(
        "tracking",
        [
            outcomes.result(
                "CPU s per epoch", by_epoch, "epoch_cpu_seconds", peer=PEER, at_most=1.01
            ),
            *(
                outcomes.Result(
                    what=f"wall s more in {which}",
                    ours=[
                        sides[harness.OURS]["rest_seconds"][run] - sides[PEER]["rest_seconds"][run]
                        for sides in measured
                    ],
                    at_most=3,
                )
                for run, which in enumerate(("the first run of a process", "a later run"))
            ),
        ],
        machine=machine,
        conditions={**conditions, "variant": VARIANT, "epochs": epochs},
        measured=by_epoch,
        notes=["Logged: every epoch, figures, the data sets, the model; checkpoints are written."],
    )


def measure(dataset: str, directory: str, *, epochs: int, number: int) -> dict[str, harness.Row]:
    """A process of each side, with seeds of its own for every number."""
    given = {"epochs": epochs, "seeds": [RUNS * number + run for run in range(RUNS)]}
    with harness.project(dataset) as project:
        sides: dict[str, turns.Side] = {
            harness.OURS: (tracked, {"dataset": dataset, "project": str(project), **given}),
            PEER: (untracked, {"directory": directory, **given}),
        }
        return turns.alternate(sides, turns=RUNS * epochs)


def tracked(dataset: str, project: str, epochs: int, seeds: list[int]) -> harness.Row:
    """The entry point `train`, from the call to its return."""
    os.chdir(project)
    environment.configure()
    runtime.import_tensorflow()
    import mlflow

    from pipeline.train import train
    from pipeline.training import trainer as training  # noqa: F401

    def on_news(news: progress.Update) -> None:
        if "done" in news:
            clock.epoch_ended()

    turns.end_turn()
    clock = turns.Clock(alternating=True)
    rests: list[float] = []
    losses: list[float] = []
    for seed in seeds:
        started = clock.worked()
        with progress.sending_to(on_news):
            asked = Train(
                variant=VARIANT,
                learning_rate=LEARNING_RATE,
                epochs=epochs,
                seed=seed,
                dataset=dataset,
            )
            run_id = train(asked)
        seconds = clock.worked() - started
        metrics = mlflow.MlflowClient().get_run(run_id).data.metrics
        compiling = 0 if rests else metrics["compile_seconds"]  # all runs share what is compiled
        rests.append(seconds - metrics["train_seconds"] - compiling)
        losses.append(metrics["best_val_loss"])
    return {"rest_seconds": rests, "best_val_losses": losses, **clock.seconds()}


def untracked(directory: str, epochs: int, seeds: list[int]) -> harness.Row:
    """The same compiled training and the same look at the test set; nothing is written."""
    runtime.import_tensorflow()
    from pipeline.training.trainer import shared_trainer

    variant, _ = find_variant(VARIANT)
    turns.end_turn()
    clock = turns.Clock(alternating=True)
    rests: list[float] = []
    losses: list[float] = []
    trainer = shared_trainer(variant, open_splits(Path(directory)))
    for seed in seeds:
        started = clock.worked()
        fit = trainer.fit(
            learning_rate=LEARNING_RATE,
            epochs=epochs,
            patience=variant.patience,
            seed=seed,
            on_epoch=lambda _epoch, _metrics: clock.epoch_ended(),
        )
        trainer.predict(trainer.splits.x_test)
        seconds = clock.worked() - started
        rests.append(seconds - fit.history[-1]["elapsed_seconds"])
        losses.append(fit.history[fit.best_epoch - 1]["val_loss"])
    return {"rest_seconds": rests, "best_val_losses": losses, **clock.seconds()}


if __name__ == "__main__":
    command.run(tracking)
