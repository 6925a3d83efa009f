"""How far training is from what the processor could do, and where the rest of a step goes.

The limit of a step is the time that its matrix multiplications take at the speed that is measured
for their shapes, and that the optimizer's memory traffic takes at the bandwidth that is measured
for arrays of that size: Nadam reads weights, gradients and two moments, and writes all but the
gradients. Everything runs on one thread.
"""

import os
import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from benchmarks import harness, outcomes
from pipeline import cli, environment
from pipeline.variants import Variant, get_variant

if TYPE_CHECKING:
    from pipeline.training import Trainer

VARIANTS = ("elu", "bn", "selu")
LEARNING_RATE = 0.0002
NADAM_PASSES = 7  # over all weights: four reads and three writes
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def limit(*, dataset: cli.Dataset = "auto", rounds: harness.Rounds = 3) -> None:
    """Measure a training step, its limit, and its parts."""
    machine = harness.describe_machine()
    results, notes, frames = [], [], []
    with harness.prepared(dataset) as (directory, conditions):
        for variant in VARIANTS:
            given = {"variant": variant, "directory": str(directory)}
            rows = harness.in_turns(
                {
                    harness.OURS: lambda _, given=given: harness.call(steps, given),  # type: ignore[misc]
                    "limit": lambda _, given=given: harness.call(  # type: ignore[misc]
                        arithmetic, given, environment=ONE_THREAD
                    ),
                },
                rounds=rounds,
            ).assign(variant=variant)
            results.append(
                outcomes.result(f"{variant}: ms per step", rows, "step", peer="limit", at_least=0.5)
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
    ours, bound = (
        rows[rows.side == side].median(numeric_only=True) for side in (harness.OURS, "limit")
    )
    parts = {
        "images gathered and handed over": ours.gather,
        "forward pass, loss and metrics": ours.forward,
        "backward pass": ours.sgd - ours.forward - bound.sgd,
        "Nadam": ours.program - ours.sgd + bound.sgd,
        "Keras and its callbacks": ours.step - ours.program - ours.gather,
    }
    return [
        f"{variant}: {ours.step:.2f} ms a step: "
        + ", ".join(f"{name} {value:.2f}" for name, value in parts.items()),
        f"{variant}: limit {bound.step:.2f} ms: matrix multiplications {bound.matmul:.2f} at "
        f"{bound.gigaflops:.0f} GFLOP/s, Nadam's traffic {bound.nadam:.2f} at "
        f"{bound.bandwidth:.0f} GB/s; validation, per epoch: {ours.validation:.2f} s",
    ]


# --- Ours ---------------------------------------------------------------------------------------


def steps(variant: str, directory: str) -> harness.Row:
    """CPU milliseconds of a training step and of its parts, each the median of several epochs."""
    environment.import_tensorflow()
    import tensorflow as tf

    from pipeline.data import open_prepared

    prepared = open_prepared(Path(directory))
    trainers = {
        name: kind(get_variant(variant), prepared) for name, kind in _kinds_of_trainer().items()
    }
    whole = trainers["program"]
    blocks = whole.blocks

    def gathered() -> list[tuple[tf.Tensor, ...]]:
        return [tuple(map(tf.constant, blocks[index])) for index in range(len(blocks))]

    held = gathered()

    def program(trainer: "Trainer") -> None:
        for block in held:
            trainer.block_model.train_function(iter([block]))

    parts: dict[str, Callable[[], Any]] = {
        **{name: partial(program, trainer) for name, trainer in trainers.items()},
        "step": lambda: whole.block_model.fit(blocks, epochs=1, verbose=0, shuffle=False),
        "gather": gathered,
    }
    per_step = {
        name: 1000 * seconds / blocks.steps_per_epoch
        for name, seconds in _cpu_medians(parts).items()
    }
    validate = {"validation": lambda: whole.block_model.evaluate(whole._validation(), verbose=0)}
    return {**per_step, **_cpu_medians(validate)}


def _kinds_of_trainer() -> dict[str, type["Trainer"]]:
    """The trainer, one with the cheapest optimizer, and one that leaves out the backward pass."""
    import keras
    import tensorflow as tf

    from pipeline.training import BlockModel, Trainer

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


def _cpu_medians(parts: dict[str, Callable[[], Any]], repeats: int = 5) -> dict[str, float]:
    """CPU seconds of each part, the parts in turns, the first turn left out."""
    taken: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(1 + repeats):
        for name, part in parts.items():
            taken[name].append(harness.timed(part)[1]["cpu_seconds"])
    return {name: float(np.median(seconds[1:])) for name, seconds in taken.items()}


# --- The limit ----------------------------------------------------------------------------------


def arithmetic(variant: str, directory: str) -> harness.Row:
    """Milliseconds that a step's multiplications and its optimizer's memory traffic take."""
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
    features = int(np.prod(np.load(Path(directory) / "x_train.npy", mmap_mode="r").shape[1:]))
    classes = int(np.load(Path(directory) / "y_train.npy", mmap_mode="r").max()) + 1
    shapes = multiplications(get_variant(variant), features=features, classes=classes)
    matmul = sum(count * _matmul_seconds(*shape) for shape, count in shapes.items())
    flops = sum(
        2 * count * rows * inner * columns for (rows, inner, columns), count in shapes.items()
    )
    weights = sum(size for size in weight_sizes(get_variant(variant), features, classes))
    bandwidth = _bandwidth(weights)
    nadam, sgd = (passes * 4 * weights / bandwidth for passes in (NADAM_PASSES, 3))
    return {
        "step": 1000 * (matmul + nadam),
        "matmul": 1000 * matmul,
        "nadam": 1000 * nadam,
        "sgd": 1000 * sgd,
        "gigaflops": flops / matmul / 1e9,
        "bandwidth": bandwidth / 1e9,
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


def _matmul_seconds(rows: int, inner: int, columns: int) -> float:
    left, right = (np.ones(shape, np.float32) for shape in ((rows, inner), (inner, columns)))
    out = np.empty((rows, columns), np.float32)
    return _fastest(lambda: np.matmul(left, right, out=out))


def _bandwidth(count: int) -> float:
    """Bytes per second of adding one array to another, in turns over as many as Nadam has."""
    arrays = [np.ones(count, np.float32) for _ in range(4)]

    def add() -> None:
        np.add(arrays[0], arrays[1], out=arrays[0])
        np.add(arrays[2], arrays[3], out=arrays[2])

    return 2 * 3 * 4 * count / _fastest(add)


def _fastest(function: Callable[[], object]) -> float:
    timer = timeit.Timer(function)
    number, _ = timer.autorange()
    return min(timer.repeat(5, number)) / number


if __name__ == "__main__":
    cli.run(limit)
