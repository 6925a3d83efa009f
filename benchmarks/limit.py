"""How far training is from what the processor could do, and where the rest of a step goes.

The limit of a step is the time that its matrix multiplications take at the speed that is measured
for their shapes, and that the optimizer's memory traffic takes at the bandwidth that is measured
for arrays of that size: Nadam reads weights, gradients and two moments, and writes all but the
gradients. Everything runs on one thread.
"""

import math
import os
import time
import timeit
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks import harness, outcomes
from pipeline import command
from pipeline.comparisons import Variant
from pipeline.comparisons.files import find_variant
from pipeline.training import runtime

if TYPE_CHECKING:
    from pipeline.training.trainer import Trainer

VARIANTS = ("elu", "bn", "selu")
LEARNING_RATE = 0.0002
NADAM_PASSES = 7  # over all weights: four reads and three writes
REPEATS = 5
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Limit(harness.OnData):
    """What is measured."""

    rounds: int = harness.rounds(2)


def limit(asked: Limit) -> None:
    """Measure a training step, its limit, and its parts."""
    machine = harness.describe_machine()
    results, notes, frames = [], [], []
    with harness.prepared(asked.dataset) as (directory, conditions):
        for variant in VARIANTS:
            given = {"variant": variant, "directory": str(directory)}
            rows = harness.in_turns(
                {
                    harness.OURS: lambda _, given=given: harness.call(  # type: ignore[misc]
                        steps, given, environment=ONE_THREAD
                    )
                },
                rounds=asked.rounds,
            ).assign(variant=variant)
            results.append(
                outcomes.Result(
                    what=f"{variant}: ms per step",
                    ours=rows.step.tolist(),
                    peer=rows.limit.tolist(),
                    peer_name="limit",
                    at_least=0.5,
                )
            )
            notes += _parts(variant, rows)
            frames.append(rows)
    outcomes.publish(
        "limit",
        results,
        machine=machine,
        conditions=conditions,
        measured=pd.concat(frames, ignore_index=True),
        notes=["The ratio is the share of the limit that is reached.", *notes],
    )


def _parts(variant: str, rows: pd.DataFrame) -> list[str]:
    """Where the milliseconds of a step go, and what they would come to at the limit."""
    ms = rows.median(numeric_only=True)
    parts = {
        "images gathered and handed over": ms.gather,
        "forward pass, loss and metrics": ms.forward,
        "backward pass": ms.sgd - ms.forward - ms.sgd_traffic,
        "Nadam": ms.program - ms.sgd + ms.sgd_traffic,
        "Keras and its callbacks": ms.step - ms.program - ms.gather,
    }
    return [
        f"{variant}: {ms.step:.2f} ms a step: "
        + ", ".join(f"{name} {value:.2f}" for name, value in parts.items()),
        f"{variant}: limit {ms.limit:.2f} ms: matrix multiplications {ms.matmul:.2f} at "
        f"{ms.gigaflops:.0f} GFLOP/s, Nadam's traffic {ms.nadam_traffic:.2f} at "
        f"{ms.bandwidth:.0f} GB/s; validation, per epoch: {ms.validation:.2f} s",
    ]


# --- Ours ---------------------------------------------------------------------------------------


def steps(variant: str, directory: str) -> harness.Row:
    """CPU milliseconds of a training step, of its parts and of its limit, measured in turns."""
    runtime.import_tensorflow()
    import tensorflow as tf

    from pipeline.data.splits import open_splits
    from pipeline.training.blocks import Feed, evaluation_batches

    splits, network = open_splits(Path(directory)), find_variant(variant)[0]
    trainers = {name: kind(network, splits) for name, kind in _kinds_of_trainer().items()}
    whole = trainers["program"]
    blocks = whole.blocks

    def gathered() -> Iterator[tuple[tf.Tensor, ...]]:
        return (tuple(map(tf.constant, block)) for block in blocks)

    held = list(gathered())
    training = Feed(blocks)
    validation = Feed(evaluation_batches(splits.x_val, splits.y_val))

    def program(trainer: "Trainer") -> None:
        for block in held:
            trainer.block_model.train_function(iter([block]))

    parts: dict[str, Callable[[], Any]] = {
        **{name: partial(program, trainer) for name, trainer in trainers.items()},
        "step": lambda: whole.block_model.fit(training, epochs=1, verbose=0, shuffle=False),
        # One block after the other, as training does: memory for all at once would take longer.
        "gather": lambda: deque(gathered(), maxlen=0),
    }
    limit = Arithmetic(network, features=int(np.prod(splits.image_shape)), classes=splits.n_classes)
    seconds = _medians(
        {
            **{name: partial(_cpu_seconds, part) for name, part in parts.items()},
            "validation": partial(
                _cpu_seconds, lambda: whole.block_model.evaluate(validation, verbose=0)
            ),
            "matmul": limit.multiplication_seconds,
            "byte": limit.seconds_per_byte,
        }
    )
    per_step = {name: 1000 * seconds[name] / blocks.steps_per_epoch for name in parts}
    return {
        **per_step,
        "validation": seconds["validation"],
        **limit.milliseconds(matmul=seconds["matmul"], byte=seconds["byte"]),
    }


def _medians(parts: dict[str, Callable[[], float]]) -> dict[str, float]:
    """What each part returns, the parts in turns, the first turn left out."""
    values: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(1 + REPEATS):
        for name, part in parts.items():
            values[name].append(part())
    return {name: float(np.median(numbers[1:])) for name, numbers in values.items()}


def _cpu_seconds(function: Callable[[], Any]) -> float:
    return harness.timed(function)[1]["cpu_seconds"]


def _kinds_of_trainer() -> dict[str, type["Trainer"]]:
    """The trainer, one with the cheapest optimizer, and one that leaves out the backward pass."""
    import keras
    import tensorflow as tf

    from pipeline.training.trainer import BlockModel, Trainer

    class ForwardModel(BlockModel):
        """Computes the loss and the metrics of every mini-batch, and trains nothing."""

        def train_step(self, block: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
            images, labels = block

            def step(index: tf.Tensor, total: tf.Tensor) -> list[tf.Tensor]:
                predicted = self(images[index], training=True)
                self.compute_metrics(images[index], labels[index], predicted)
                loss = self.compute_loss(images[index], labels[index], predicted)
                return [index + 1, total + loss]

            _, total = tf.while_loop(
                lambda index, _total: index < tf.shape(labels)[0],
                step,
                [tf.constant(0), tf.constant(0.0)],
                parallel_iterations=1,
            )
            return {**self.get_metrics_result(), "total": total}

    class ForwardTrainer(Trainer):
        def _build_block_model(self) -> BlockModel:
            return ForwardModel(self.model.input, self.model.output)

    class SGDTrainer(Trainer):
        def _build_optimizer(self) -> keras.optimizers.Optimizer:
            return keras.optimizers.SGD(LEARNING_RATE)

    return {"program": Trainer, "sgd": SGDTrainer, "forward": ForwardTrainer}


# --- The limit ----------------------------------------------------------------------------------


class Arithmetic:
    """The multiplications of a step and its optimizer's memory traffic, without anything else.

    Args:
        variant: the network.
        features: numbers per image.
        classes: of the data set.
    """

    def __init__(self, variant: Variant, *, features: int, classes: int):
        assert all(os.environ[name] == "1" for name in ONE_THREAD)
        self.shapes = multiplications(variant, features=features, classes=classes)
        self.weights = sum(weight_sizes(variant, features, classes))
        self.arrays = [np.ones(self.weights, np.float32) for _ in range(4)]

    def multiplication_seconds(self) -> float:
        """CPU seconds of a step's multiplications."""
        return sum(count * _multiply(*shape) for shape, count in self.shapes.items())

    def seconds_per_byte(self) -> float:
        """Of adding one array to another, in turns over as many as Nadam has."""

        def add() -> None:
            np.add(self.arrays[0], self.arrays[1], out=self.arrays[0])
            np.add(self.arrays[2], self.arrays[3], out=self.arrays[2])

        return _repeated(add) / (2 * 3 * 4 * self.weights)

    def milliseconds(self, *, matmul: float, byte: float) -> harness.Row:
        """A step's limit and its two parts, from what the methods above returned."""
        operations = sum(2 * count * math.prod(shape) for shape, count in self.shapes.items())
        nadam, sgd = (1000 * passes * 4 * self.weights * byte for passes in (NADAM_PASSES, 3))
        return {
            "limit": 1000 * matmul + nadam,
            "matmul": 1000 * matmul,
            "nadam_traffic": nadam,
            "sgd_traffic": sgd,
            "gigaflops": operations / matmul / 1e9,
            "bandwidth": 1e-9 / byte,
        }


def multiplications(
    variant: Variant, *, features: int, classes: int
) -> dict[tuple[int, int, int], int]:
    """How often a training step multiplies matrices of (rows, inner, columns)."""
    batch, units, hidden = variant.batch_size, variant.units, variant.hidden_layers - 1
    return {
        (batch, features, units): 1,
        (features, batch, units): 1,  # the images need no gradient
        (batch, units, units): 2 * hidden,
        (units, batch, units): hidden,
        (batch, units, classes): 1,
        (units, batch, classes): 1,
        (batch, classes, units): 1,
    }


def weight_sizes(variant: Variant, features: int, classes: int) -> list[int]:
    """Numbers in the weight matrices; biases and normalisation are a hundredth of them."""
    units = variant.units
    return [features * units, *[units * units] * (variant.hidden_layers - 1), units * classes]


def _multiply(rows: int, inner: int, columns: int) -> float:
    left, right = (np.ones(shape, np.float32) for shape in ((rows, inner), (inner, columns)))
    out = np.empty((rows, columns), np.float32)
    return _repeated(lambda: np.matmul(left, right, out=out))


def _repeated(function: Callable[[], object]) -> float:
    """CPU seconds of a call, repeated for at least a fifth of a second."""
    number, seconds = timeit.Timer(function, timer=time.process_time).autorange()
    return seconds / number


if __name__ == "__main__":
    command.run(limit)
