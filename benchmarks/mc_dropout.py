"""MC Dropout against the loop of `predict` calls of "Hands-On Machine Learning", chapter 11."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from benchmarks import harness, outcomes
from pipeline import command
from pipeline.comparisons.files import find_variant
from pipeline.data.splits import open_splits
from pipeline.parameters import parameter
from pipeline.training import runtime
from pipeline.uncertainty.sampling import predictive_entropy

if TYPE_CHECKING:
    import keras

PEER = "loop of predict"
TO_REACH = {"last": 50.0, "all": 5.0}


class McDropout(harness.OnData):
    """What is measured."""

    mc_samples: int = parameter.asked(100, "Predictions per image.", int)
    rounds: int = harness.rounds(1)


def mc_dropout(asked: McDropout) -> None:
    """Measure MC Dropout on the test images, with dropout before the output and in all layers."""
    machine = harness.describe_machine()
    with harness.prepared(asked.dataset) as (directory, conditions):
        measured = [
            _measure(layers, asked, {"directory": str(directory), "samples": asked.mc_samples})
            for layers in TO_REACH
        ]
    results = [
        outcomes.result(
            f"dropout in {layers}: {clock} s", rows, column, peer=PEER, at_least=TO_REACH[layers]
        )
        for layers, rows in zip(TO_REACH, measured, strict=True)
        for clock, column in (("wall", "wall_seconds"), ("CPU", "cpu_seconds"))
    ]
    outcomes.publish(
        "mc_dropout",
        results,
        machine=machine,
        conditions={**conditions, "samples": asked.mc_samples},
        measured=pd.concat(measured, ignore_index=True),
        notes=["Both sides are given a model in memory; tracing and compiling count."],
    )


def _measure(layers: str, asked: McDropout, given: harness.Row) -> pd.DataFrame:
    def side(function: Callable[..., harness.Row]) -> Callable[[int], harness.Row]:
        return lambda seed: harness.call(function, {**given, "layers": layers, "seed": seed})

    rows = harness.in_turns(
        {harness.OURS: side(in_one_graph), PEER: side(in_a_loop)}, rounds=asked.rounds
    )
    by_side = rows.groupby("side")["entropy"].median().to_dict()
    outcomes.check_same(f"dropout in {layers}: mean entropy", by_side, tolerance=0.02)
    return rows.assign(dropout_layers=layers)


def in_one_graph(directory: str, layers: str, samples: int, seed: int) -> harness.Row:
    """MC Dropout as the pipeline does it."""
    runtime.import_tensorflow()
    from pipeline.uncertainty.sampling import mc_probabilities

    model, images = _model_and_images(directory, layers, seed)
    return _timed(lambda: mc_probabilities(model, images, samples=samples, seed=seed).mean(axis=0))


def in_a_loop(directory: str, layers: str, samples: int, seed: int) -> harness.Row:
    """MC Dropout as the book does it: a model whose dropout is always on, predicting repeatedly."""
    import keras

    class MCAlphaDropout(keras.layers.AlphaDropout):
        def call(self, inputs: object, **_arguments: object) -> object:
            return super().call(inputs, training=True)

    model, images = _model_and_images(directory, layers, seed)
    image = hidden = keras.Input(images.shape[1:], dtype="uint8")
    for layer in model.layers[1:]:
        is_dropout = isinstance(layer, keras.layers.AlphaDropout)
        hidden = (MCAlphaDropout(layer.rate) if is_dropout else layer)(hidden)
    random = keras.Model(image, hidden)
    return _timed(
        lambda: np.stack([random.predict(images, verbose=0) for _ in range(samples)]).mean(axis=0)
    )


def _model_and_images(directory: str, layers: str, seed: int) -> tuple["keras.Model", np.ndarray]:
    from pipeline.training.models import build_model

    splits, variant = open_splits(Path(directory)), find_variant("alpha_dropout")[0]
    network = dataclasses.replace(variant, dropout_layers=layers)  # type: ignore[arg-type]
    return build_model(network, splits, seed=seed), np.array(splits.x_test)


def _timed(probabilities: Callable[[], np.ndarray]) -> harness.Row:
    mean, used = harness.timed(probabilities)
    return {"entropy": float(predictive_entropy(mean).mean()), **used}


if __name__ == "__main__":
    command.run(mc_dropout)
