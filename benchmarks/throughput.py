"""Compiled training against `keras.Model.fit`, as it comes and with its own options for speed.

All sides train the same network from the same initial weights on the same images, with the same
batch size, optimizer and learning rate, and validate after every epoch. The peers keep TensorFlow's
own threads and flags, compiled training sets those that the pipeline sets. Epoch 1 holds tracing
and compilation and is not timed.
"""

import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import pandas as pd
from typer import Option

from benchmarks import harness, outcomes
from pipeline import cli, environment, options
from pipeline.errors import unknown_name
from pipeline.variants import get_variant

VARIANTS = ("elu", "bn", "selu")
TO_REACH = {"Model.fit": 5.0, "Model.fit, jit": 2.0}


class Clock:
    """Wall and CPU time between the ends of epochs."""

    def __init__(self) -> None:
        self._ends = [(time.perf_counter(), time.process_time())]

    def epoch_ended(self) -> None:
        """Note the time."""
        self._ends.append((time.perf_counter(), time.process_time()))

    def medians(self) -> harness.Row:
        """Median seconds per epoch, without the first."""
        walls, cpus = zip(*self._ends[1:], strict=True)
        return {
            "epoch_wall_seconds": median(b - a for a, b in pairwise(walls)),
            "epoch_cpu_seconds": median(b - a for a, b in pairwise(cpus)),
        }


def compiled(
    variant: str, directory: str, seed: int, epochs: int, learning_rate: float
) -> harness.Row:
    """Train as the pipeline does; returns seconds per epoch and the validation losses."""
    environment.import_tensorflow()
    from pipeline.training import shared_trainer

    clock = Clock()
    val_losses: list[float] = []

    def on_epoch(_epoch: int, metrics: Mapping[str, float]) -> None:
        clock.epoch_ended()
        val_losses.append(metrics["val_loss"])

    shared_trainer(get_variant(variant), Path(directory)).fit(
        learning_rate=learning_rate,
        epochs=epochs + 1,
        patience=epochs + 1,  # early stopping does its work, as in the pipeline; never stops
        seed=seed,
        on_epoch=on_epoch,
    )
    return {"val_losses": val_losses, **clock.medians()}


def plain(
    side: str, variant: str, directory: str, seed: int, epochs: int, learning_rate: float
) -> harness.Row:
    """Train with `Model.fit`; returns seconds per epoch and the validation losses."""
    import keras

    from benchmarks.peers import Peer

    clock = Clock()
    ended = keras.callbacks.LambdaCallback(on_epoch_end=lambda _epoch, _logs: clock.epoch_ended())
    peer = Peer(variant, directory, side)
    model = peer.model(seed=seed, learning_rate=learning_rate)
    history = peer.fit(model, epochs=epochs + 1, callbacks=[ended])
    return {"val_losses": history["val_loss"], **clock.medians()}


def measure(side: str, **arguments: Any) -> harness.Row:
    """Measure one side in a process of its own, with the arguments of `compiled`."""
    if side == harness.OURS:
        return harness.call(compiled, arguments)
    return harness.call(plain, {"side": side, **arguments})


def measure_in_turns(variant: str, *, rounds: int, **arguments: Any) -> pd.DataFrame:
    """Measure all sides of a variant; the round's number is the seed."""
    sides = {
        side: lambda seed, side=side: measure(side, variant=variant, seed=seed, **arguments)  # type: ignore[misc]
        for side in (harness.OURS, *TO_REACH)
    }
    return harness.in_turns(sides, rounds=rounds).assign(variant=variant)


def throughput(
    *,
    dataset: options.Dataset = "auto",
    variants: Annotated[str, Option(help="Of elu, bn, selu, separated by commas.")] = "elu,bn,selu",
    epochs: Annotated[int, Option(help="Epochs timed, after a warm-up epoch.", min=1)] = 3,
    rounds: harness.Rounds = 2,
    learning_rate: Annotated[float, Option(help="Of Nadam, on all sides.", min=1e-12)] = 0.0002,
) -> None:
    """Compare compiled training with keras.Model.fit, side by side and in turns.

    Leave the machine alone meanwhile: whatever else runs on it distorts the times.
    """
    names = options.split_list("variants", variants)
    for name in names:
        if name not in VARIANTS:
            raise unknown_name("variants", name, VARIANTS)
    machine = harness.describe_machine()
    with harness.prepared(dataset) as (directory, conditions):
        arguments = {"directory": str(directory), "epochs": epochs, "learning_rate": learning_rate}
        measured = {name: measure_in_turns(name, rounds=rounds, **arguments) for name in names}
    results = []
    for name, rows in measured.items():
        _check_losses(name, rows)
        for peer, wanted in TO_REACH.items():
            results += [
                outcomes.result(
                    f"{name}: {clock} s per epoch",
                    rows,
                    f"epoch_{clock.lower()}_seconds",
                    peer=peer,
                    **({"at_least": wanted} if clock == "CPU" else {}),
                )
                for clock in ("CPU", "wall")
            ]
    outcomes.publish(
        "throughput",
        results,
        machine=machine,
        conditions={**conditions, "learning rate": learning_rate, "epochs timed": epochs},
        measured=pd.concat(measured.values(), ignore_index=True),
        notes=["The pipeline trains on one thread, Model.fit on TensorFlow's default number."],
    )


def _check_losses(variant: str, rows: pd.DataFrame) -> None:
    """Epoch 1 starts from the same weights on every side; the mini-batches differ."""
    last = rows.assign(val_loss=rows.val_losses.str[-1]).groupby("side").val_loss.median()
    outcomes.check_same(f"{variant}: val_loss", last.to_dict(), tolerance=0.05)


if __name__ == "__main__":
    cli.run(throughput)
