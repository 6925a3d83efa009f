"""Comparing many finished runs of many epochs."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import harness, outcomes
from pipeline import command
from pipeline.comparisons.twenty_layers import COMPARISON
from pipeline.parameters import Parameters, parameter

if TYPE_CHECKING:
    from mlflow.entities import Run

MOST_SECONDS = 30
METRICS_PER_REQUEST = 1000  # MLflow takes no more


class Compare(Parameters):
    """What is measured."""

    runs: tuple[int, ...] = parameter.asked(
        "250,500,1000", "How many, separated by commas.", int, many=True
    )
    epochs: int = parameter.asked(100, "Epochs of each run.", int)
    rounds: int = harness.rounds(3)


def compare(asked: Compare) -> None:
    """Measure the entry point compare, report included, on copies of a run of every variant."""
    counts = sorted(asked.runs)
    machine = harness.describe_machine()
    with tempfile.TemporaryDirectory() as project:
        directory = Path(project)
        for variant in COMPARISON.variants:
            given = {"variant": variant.name, "learning_rate": 0.0002, "epochs": 1}
            train = harness.entry_point("train", dataset="mnist_5k", **given)
            harness.run(train, directory=directory)
        store = Store(f"sqlite:///{directory}/mlflow.db", asked.epochs)
        results = []
        for count in counts:
            store.fill(count)
            measured = harness.in_turns(
                {harness.OURS: lambda _: _compare(directory)}, rounds=asked.rounds
            )
            results.append(
                outcomes.result(
                    f"{count} runs: wall s",
                    measured,
                    "wall_seconds",
                    at_most=MOST_SECONDS if count <= 1000 else None,
                )
            )
        store.check_registered()
    outcomes.publish(
        "compare",
        results,
        machine=machine,
        conditions={"epochs per run": asked.epochs, "variants": len(COMPARISON.variants)},
        notes=[_growth(counts, results)],
    )


def _compare(directory: Path) -> harness.Row:
    again = harness.entry_point("compare", reuse="never")
    return asdict(harness.run(again, directory=directory)[0])


class Store:
    """Copies of training runs, with other seeds and curves.

    Args:
        uri: of an MLflow store with finished training runs, one per variant.
        epochs: of each copy.
    """

    def __init__(self, uri: str, epochs: int):
        import mlflow

        self._client = mlflow.MlflowClient(uri)
        self._originals = list(self._client.search_runs(["0"], "tags.step = 'train'"))
        self._epochs = epochs
        self._count = len(self._originals)
        self._random = np.random.default_rng(0)

    def fill(self, count: int) -> None:
        """Add copies until there are so many runs."""
        for number in range(self._count, count):
            self._copy(self._originals[number % len(self._originals)], seed=1000 + number)
        self._count = max(count, self._count)

    def check_registered(self) -> None:
        """That the comparison registered every variant's best run, as it is to.

        Raises:
            RuntimeError: if it did not.
        """
        registered = {version.run_id for version in self._client.search_model_versions()}
        if registered != {run.info.run_id for run in self._originals}:
            raise RuntimeError(f"registered were {registered}")

    def _copy(self, original: "Run", *, seed: int) -> None:
        from mlflow.entities import Param

        data = original.data
        own = ("step_key", "mlflow.runName")
        run = self._client.create_run(
            "0",
            run_name=f"train {data.params['variant']} seed {seed}",
            tags={name: value for name, value in data.tags.items() if name not in own},
        )
        params = {**data.params, "seed": str(seed)}
        self._client.log_batch(run.info.run_id, params=[Param(*item) for item in params.items()])
        for metrics in self._batches(data.metrics):
            self._client.log_batch(run.info.run_id, metrics=metrics)
        self._client.set_terminated(run.info.run_id)

    def _batches(self, metrics: Mapping[str, float]) -> Iterator[list]:
        from mlflow.entities import Metric

        final = [Metric(name, value, 0, 0) for name, value in self._final(metrics).items()]
        epochs = np.arange(1, self._epochs + 1)
        level = 2 + self._random.normal(0, 0.05)
        curve = {
            "loss": level / np.sqrt(epochs),
            "accuracy": 1 - 1 / np.sqrt(epochs + 1),
            "val_loss": level / np.sqrt(epochs) + 0.1 + self._random.normal(0, 0.01, len(epochs)),
            "val_accuracy": 0.9 - 1 / np.sqrt(epochs + 1),
            "learning_rate": np.full(len(epochs), 0.001),
            "epoch_seconds": np.full(len(epochs), 2.0),
            "elapsed_seconds": 2.0 * epochs,
        }
        points = final + [
            Metric(name, float(value), 0, int(epoch))
            for name, values in curve.items()
            for epoch, value in zip(epochs, values, strict=True)
        ]
        for start in range(0, len(points), METRICS_PER_REQUEST):
            yield points[start : start + METRICS_PER_REQUEST]

    def _final(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """An original's figures, a little worse, so that it stays the best of its variant."""
        curves = ("loss", "accuracy", "learning_rate", "epoch_seconds", "elapsed_seconds")
        worse = 1 + abs(self._random.normal(0, 0.01))
        return {
            name: value / worse if name.endswith("accuracy") else value * worse
            for name, value in metrics.items()
            if name not in (*curves, "val_loss", "val_accuracy")
        }


def _growth(counts: list[int], results: list[outcomes.Result]) -> str:
    medians = [float(np.median(result.ours)) for result in results]
    if len(counts) < 2:
        return ""
    per_run, fixed = np.polyfit(counts, medians, 1)
    return f"A straight line through the medians: {fixed:.1f} s and {1000 * per_run:.1f} ms a run."


if __name__ == "__main__":
    command.run(compare)
