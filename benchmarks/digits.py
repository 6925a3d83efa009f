"""The networks for digits: compiled training against `Model.fit`, and frozen layers computed once.

`digits` and `digits_bn` against `Model.fit` on the same images, networks of two arms against a
Python generator of pairs through `Model.fit`: in turns, as in `throughput`. And an epoch of a
network whose hidden layers are all frozen, with their outputs computed once and without.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import harness, outcomes, throughput
from pipeline import command
from pipeline.base import InputError, progress
from pipeline.comparisons.digits import DIGITS_BN
from pipeline.comparisons.files import find_variant, load
from pipeline.comparisons.transfer import CACHED, FROZEN
from pipeline.data import sources
from pipeline.data.splits import open_splits
from pipeline.parameters import parameter
from pipeline.training import runtime

TRAINED = ("digits", "digits_bn", "pairs_two", "pairs_shared")
FROZEN_PEER = "frozen, not cached"
# Images of each digit, all there are, and in how many epochs the time of one is measured.
FROZEN_EPOCHS = {100: 200, None: 6}


class Digits(harness.OnData):
    """What is measured."""

    dataset: str = parameter.asked(
        "auto", "The data set, as the pipeline takes it; auto: mnist, or mnist_5k where it is not."
    )
    epochs: int = parameter.asked(5, "Epochs timed, after a warm-up epoch.", int)
    learning_rate: float = parameter.asked(0.001, "Of Adam, on all sides.", float, least=1e-12)
    rounds: int = harness.rounds(5)


def digits(asked: Digits) -> None:
    """Measure compiled training of the networks for digits, and what computing once saves.

    Leave the machine alone meanwhile: whatever else runs on it distorts the times.
    """
    machine = harness.describe_machine()
    dataset = _digits() if asked.dataset == "auto" else asked.dataset
    given: dict[str, Any] = {
        "seed": 1,
        "learning_rate": asked.learning_rate,
        "epochs": asked.epochs,
    }
    measured, images = {}, {}
    for name in TRAINED:
        # A small data set has no images to leave out.
        data = replace(find_variant(name)[1].data, skipped_per_class=0)
        with harness.prepared(dataset, data) as (directory, conditions):
            # The fewer images are wrong, the more the lowest loss varies.
            rows = throughput.measure(name, directory=str(directory), tolerance=0.5, **given)
        measured[name], images[name] = rows, conditions["images"]["training"]
    results = [
        one
        for name, rows in measured.items()
        for one in throughput.results(name, rows, throughput.TO_REACH)
    ]
    with harness.prepared(dataset, load("transfer").data) as (directory, conditions):
        arguments = {"directory": str(directory), "rounds": asked.rounds}
        rows = pd.DataFrame(harness.call(frozen, arguments)["rows"])
    for number, of_number in rows.groupby("images"):
        results += throughput.results(f"frozen, {number:,} images", of_number, {FROZEN_PEER: 2.0})
    outcomes.publish(
        "digits",
        results,
        machine=machine,
        conditions={
            "dataset": conditions["dataset"],
            "training images": images,
            "learning rate": asked.learning_rate,
        },
        measured=pd.concat([*measured.values(), rows], ignore_index=True),
        notes=["The pipeline trains on one thread, Model.fit on TensorFlow's default number."],
    )


def _digits() -> str:
    try:
        return sources.resolve("mnist").name
    except InputError as error:
        progress.update(message=f"WARNING: measured on mnist_5k, since there is no other: {error}")
        return "mnist_5k"


def frozen(directory: str, rounds: int) -> harness.Row:
    """Median seconds of an epoch, with the outputs of the frozen layers computed once and not."""
    runtime.import_tensorflow()
    from pipeline.training.models import build_model
    from pipeline.training.trainer import Trainer

    splits, rows = open_splits(Path(directory)), []
    source = build_model(DIGITS_BN, splits, seed=1)
    for images_per_class, epochs in FROZEN_EPOCHS.items():
        trained = splits.few(images_per_class) if images_per_class else splits
        trainers = {
            side: Trainer(replace(variant, images_per_class=images_per_class), trained)
            for side, variant in ((harness.OURS, CACHED), (FROZEN_PEER, FROZEN))
        }
        for number in range(1, 1 + rounds):
            lowest = {}
            for side, trainer in trainers.items():
                fit = trainer.fit(
                    learning_rate=0.001,
                    epochs=epochs,
                    patience=epochs,
                    seed=number,
                    on_epoch=lambda _epoch, _metrics: None,
                    source=source,
                )
                curve = pd.DataFrame(fit.history)
                lowest[side] = float(curve["val_loss"].min())
                rows.append(
                    {
                        "side": side,
                        "round": number,
                        "images": len(trained.y_train),
                        "epoch_wall_seconds": float(np.median(curve["epoch_seconds"])),
                        "epoch_cpu_seconds": float(np.median(curve["epoch_cpu_seconds"])),
                    }
                )
            outcomes.check_same("lowest val_loss", lowest, tolerance=1e-3)
    return {"rows": rows}


if __name__ == "__main__":
    command.run(digits)
