"""From the start of `python -m pipeline.train` to its first step, against imports and one compile.

Data and learning rate are there already. The first step begins where epoch 1 does: when its metrics
were logged, less its `epoch_seconds`.
"""

import tempfile
import time
from pathlib import Path

from benchmarks import harness, outcomes
from pipeline import command

PEER = "imports and one compile"
VARIANT, LEARNING_RATE = "elu", 0.0002


class Startup(harness.OnData):
    """What is measured."""

    rounds: int = harness.rounds(3)


def startup(asked: Startup) -> None:
    """Measure the seconds from the start of a training to its first step."""
    machine = harness.describe_machine()
    with (
        tempfile.TemporaryDirectory() as project,
        harness.prepared(asked.dataset) as (directory, conditions),
    ):
        train(asked.dataset, project, seed=0)  # prepares the data
        sides = {
            harness.OURS: lambda number: train(asked.dataset, project, seed=number),
            PEER: lambda _: harness.call(import_and_compile, {"directory": str(directory)}),
        }
        measured = harness.in_turns(sides, rounds=asked.rounds)
    what = "seconds to the first step"
    outcomes.publish(
        "startup",
        [outcomes.result(what, measured, "first_step_seconds", peer=PEER, at_most=1.3)],
        machine=machine,
        conditions=conditions,
        measured=measured,
    )


def train(dataset: str, project: str, *, seed: int) -> harness.Row:
    """Train one epoch in a project; returns the seconds until it began."""
    import mlflow

    given = {"variant": VARIANT, "learning_rate": LEARNING_RATE, "epochs": 1, "seed": seed}
    started = time.time()
    harness.run(harness.entry_point("train", dataset=dataset, **given), directory=Path(project))
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    (run,) = client.search_runs(["0"], f"tags.step = 'train' and params.seed = '{seed}'")
    (epoch,) = client.get_metric_history(run.info.run_id, "epoch_seconds")
    return {"first_step_seconds": epoch.timestamp / 1000 - epoch.value - started}


def import_and_compile(directory: str) -> harness.Row:
    """Import TensorFlow and MLflow, and compile the network for a mini-batch."""
    # How long the interpreter took to start, which the pipeline's figure has too.
    import psutil

    began = psutil.Process().create_time()
    import mlflow  # noqa: F401

    from benchmarks.peers import Peer

    peer = Peer(VARIANT, directory, "Model.fit, jit")
    model = peer.model(seed=1, learning_rate=LEARNING_RATE)
    size = peer.variant.batch_size
    model.train_on_batch(peer.arrays["x_train"][:size], peer.arrays["y_train"][:size])
    return {"first_step_seconds": time.time() - began}


if __name__ == "__main__":
    command.run(startup)
