"""Compiled training against `keras.Model.fit`, as it comes and with its own options for speed.

All sides train the same network from the same initial weights on the same images, with the same
batch size, optimizer and learning rate, and validate after every epoch. They take turns epoch by
epoch. The peers keep TensorFlow's own threads and flags, compiled training sets those that the
pipeline sets. Epoch 1 holds tracing and compilation and is not timed.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import harness, outcomes, turns
from pipeline import command
from pipeline.comparisons.files import find_variant
from pipeline.data.splits import open_splits
from pipeline.parameters import parameter
from pipeline.training import runtime

TO_REACH = {"Model.fit": 5.0, "Model.fit, jit": 2.0}
VARIANTS = {
    **dict.fromkeys(("elu", "bn", "selu"), TO_REACH),
    # Arithmetic is most of its step, and is the same on all sides.
    "selu_convolution": dict.fromkeys(TO_REACH, 1.0),
}


def compiled(
    variant: str,
    directory: str,
    seed: int,
    epochs: int,
    learning_rate: float,
    alternating: bool,
) -> harness.Row:
    """Train as the pipeline does; returns seconds per epoch and the validation losses."""
    runtime.import_tensorflow()
    from pipeline.training.trainer import shared_trainer

    clock = turns.Clock(alternating=alternating)
    val_losses: list[float] = []

    def on_epoch(_epoch: int, metrics: Mapping[str, float]) -> None:
        val_losses.append(metrics["val_loss"])
        clock.epoch_ended()

    shared_trainer(find_variant(variant)[0], open_splits(Path(directory))).fit(
        learning_rate=learning_rate,
        epochs=epochs + 1,
        patience=epochs + 1,  # early stopping does its work, as in the pipeline; never stops
        seed=seed,
        on_epoch=on_epoch,
    )
    return {"val_losses": val_losses, **clock.seconds()}


def plain(
    side: str,
    variant: str,
    directory: str,
    seed: int,
    epochs: int,
    learning_rate: float,
    alternating: bool,
) -> harness.Row:
    """Train with `Model.fit`; returns seconds per epoch and the validation losses."""
    import keras

    from benchmarks.peers import Peer

    clock = turns.Clock(alternating=alternating)
    ended = keras.callbacks.LambdaCallback(on_epoch_end=lambda _epoch, _logs: clock.epoch_ended())
    peer = Peer(variant, directory, side)
    model = peer.model(seed=seed, learning_rate=learning_rate)
    history = peer.fit(model, epochs=epochs + 1, callbacks=[ended])
    return {"val_losses": history["val_loss"], **clock.seconds()}


def measure(variant: str, *, epochs: int, tolerance: float = 0.05, **given: Any) -> pd.DataFrame:
    """Train with all sides, which take turns epoch by epoch; a row per side and turn.

    The sides start from the same weights; their mini-batches differ, and with them the lowest
    validation loss, by no more than the tolerance.
    """
    arguments = {"variant": variant, "epochs": epochs, "alternating": True, **given}
    sides: dict[str, turns.Side] = {
        harness.OURS: (compiled, arguments),
        **{peer: (plain, {"side": peer, **arguments}) for peer in TO_REACH},
    }
    measured = turns.alternate(sides, turns=epochs)
    lowest = {side: min(row["val_losses"]) for side, row in measured.items()}
    outcomes.check_same(f"{variant}: lowest val_loss", lowest, tolerance=tolerance)
    clocks = ("epoch_wall_seconds", "epoch_cpu_seconds")
    return pd.concat(
        pd.DataFrame({name: row[name] for name in clocks}).assign(
            side=side, variant=variant, round=range(1, epochs + 1)
        )
        for side, row in measured.items()
    )


def results(
    what: str, rows: pd.DataFrame, to_reach: Mapping[str, float]
) -> Iterator[outcomes.Result]:
    """Seconds per epoch against each peer; how many times ours its CPU seconds are to be."""
    for peer, wanted in to_reach.items():
        for clock in ("CPU", "wall"):
            yield outcomes.result(
                f"{what}: {clock} s per epoch",
                rows,
                f"epoch_{clock.lower()}_seconds",
                peer=peer,
                at_least=wanted if clock == "CPU" else None,
            )


class Throughput(harness.OnData):
    """What is measured."""

    variants: tuple[str, ...] = parameter.asked(
        "elu,bn,selu", f"Of {', '.join(VARIANTS)}, separated by commas.", many=True
    )
    epochs: int = parameter.asked(9, "Epochs timed, after a warm-up epoch.", int)
    learning_rate: float = parameter.asked(0.0002, "Of Nadam, on all sides.", float, least=1e-12)


def throughput(asked: Throughput) -> None:
    """Compare compiled training with keras.Model.fit, side by side and in turns.

    Leave the machine alone meanwhile: whatever else runs on it distorts the times.
    """
    harness.check_names("variants", asked.variants, VARIANTS)
    machine = harness.describe_machine()
    with harness.prepared(asked.dataset) as (directory, conditions):
        given: dict[str, Any] = {
            "directory": str(directory),
            "seed": 1,
            "learning_rate": asked.learning_rate,
        }
        measured = {name: measure(name, epochs=asked.epochs, **given) for name in asked.variants}
    outcomes.publish(
        "throughput",
        [one for name, rows in measured.items() for one in results(name, rows, VARIANTS[name])],
        machine=machine,
        conditions={
            **conditions,
            "learning rate": asked.learning_rate,
            "epochs timed": asked.epochs,
        },
        measured=pd.concat(measured.values(), ignore_index=True),
        notes=["The pipeline trains on one thread, Model.fit on TensorFlow's default number."],
    )


if __name__ == "__main__":
    command.run(throughput)
