"""A training run with everything that is logged, against the same training alone."""

import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
from typer import Option

from benchmarks import harness, outcomes
from pipeline import cli, environment, options
from pipeline.variants import get_variant

PEER = "tracking off"
VARIANT, LEARNING_RATE = "elu", 0.0002


def tracking(
    *,
    dataset: options.Dataset = "auto",
    epochs: Annotated[int, Option(help="Epochs of a run.", min=2)] = 8,
    rounds: harness.Rounds = 3,
) -> None:
    """Measure what tracking adds to an epoch and to a run, imports left out."""
    machine = harness.describe_machine()
    with (
        tempfile.TemporaryDirectory() as project,
        harness.prepared(dataset) as (directory, conditions),
    ):
        harness.run(harness.entry_point("prepare", dataset=dataset), directory=Path(project))
        on = {"dataset": harness.absolute(dataset)}
        off = {"directory": str(directory)}
        sides = {
            harness.OURS: lambda seed: harness.call(
                tracked, {**on, "epochs": epochs, "seed": seed}, directory=Path(project)
            ),
            PEER: lambda seed: harness.call(untracked, {**off, "epochs": epochs, "seed": seed}),
        }
        measured = harness.in_turns(sides, rounds=rounds)
    by_side = measured.pivot_table("wall_seconds", "round", "side")
    outcomes.publish(
        "tracking",
        [
            outcomes.result(
                "median s per epoch", measured, "epoch_seconds", peer=PEER, at_most=1.01
            ),
            outcomes.Result(
                what="wall s more per run",
                ours=(by_side[harness.OURS] - by_side[PEER]).tolist(),
                at_most=3,
            ),
        ],
        machine=machine,
        conditions={**conditions, "variant": VARIANT, "epochs": epochs},
        measured=measured,
        notes=["Logged: every epoch, figures, the data sets, the model; checkpoints are written."],
    )


def tracked(dataset: str, epochs: int, seed: int) -> harness.Row:
    """The entry point `train`, from the call to its return."""
    environment.import_tensorflow()
    import mlflow

    from pipeline import training  # noqa: F401
    from pipeline.train import train

    run_id, used = harness.timed(
        lambda: train(
            variant=VARIANT,
            learning_rate=str(LEARNING_RATE),
            epochs=str(epochs),
            seed=seed,
            dataset=dataset,
        )
    )
    history = mlflow.MlflowClient().get_metric_history(run_id, "loss")
    return {
        **used,
        "epoch_seconds": _seconds_per_epoch([point.timestamp / 1000 for point in history]),
    }


def untracked(directory: str, epochs: int, seed: int) -> harness.Row:
    """The same compiled training and the same look at the test set; nothing is written."""
    environment.import_tensorflow()
    from pipeline.training import shared_trainer

    def train() -> None:
        trainer = shared_trainer(get_variant(VARIANT), Path(directory))
        trainer.fit(
            learning_rate=LEARNING_RATE,
            epochs=epochs,
            patience=get_variant(VARIANT).patience,
            seed=seed,
            on_epoch=lambda _epoch, _metrics: ended.append(time.time()),
        )
        trainer.predict(trainer.prepared.x_test)

    ended: list[float] = []
    _, used = harness.timed(train)
    return {**used, "epoch_seconds": _seconds_per_epoch(ended)}


def _seconds_per_epoch(ended: list[float]) -> float:
    """Median of the seconds from one epoch's end to the next one's: with its checkpoint."""
    return float(np.median(np.diff(sorted(ended))))


if __name__ == "__main__":
    cli.run(tracking)
