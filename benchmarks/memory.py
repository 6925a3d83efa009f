"""Peak memory of a process that trains, against `Model.fit` on images as float32."""

from dataclasses import asdict

from benchmarks import harness, outcomes
from pipeline import command

PEER = "Model.fit on float32"
VARIANT, LEARNING_RATE, EPOCHS = "elu", 0.0002, 2


class Memory(harness.OnData):
    """What is measured."""

    rounds: int = harness.rounds(2)


def memory(asked: Memory) -> None:
    """Measure the most memory that a training process holds at once."""
    machine = harness.describe_machine()
    with (
        # The prepared arrays are shared by all workers, so preparing them is not part of training.
        harness.project(asked.dataset) as project,
        harness.prepared(asked.dataset) as (directory, conditions),
    ):

        def train(number: int) -> harness.Row:
            training = harness.entry_point(
                "train",
                variant=VARIANT,
                learning_rate=LEARNING_RATE,
                epochs=EPOCHS,
                seed=number,
                dataset=asked.dataset,
            )
            return asdict(harness.run(training, directory=project)[0])

        sides = {
            harness.OURS: train,
            PEER: lambda seed: harness.call(fit, {"directory": str(directory), "seed": seed}),
        }
        measured = harness.in_turns(sides, rounds=asked.rounds)
    outcomes.publish(
        "memory",
        [outcomes.result("peak MiB", measured, "peak_mib", peer=PEER, at_most=0.5)],
        machine=machine,
        conditions={**conditions, "variant": VARIANT, "epochs": EPOCHS},
        measured=measured,
        notes=["Ours is the whole of `python -m pipeline.train`, with everything that it logs."],
    )


def fit(directory: str, seed: int) -> harness.Row:
    """Train as tutorials do, on float32 arrays, with `Model.fit`."""
    import keras
    import numpy as np

    from benchmarks.peers import Peer

    peer = Peer(VARIANT, directory)
    for name in ("x_train", "x_val"):
        peer.arrays[name] = peer.arrays[name].astype(np.float32)
    image = hidden = keras.Input(peer.splits.image_shape, dtype="float32")
    for layer in peer.model(seed=seed, learning_rate=LEARNING_RATE).layers[1:]:
        hidden = layer(hidden)
    model = peer.compile(keras.Model(image, hidden), learning_rate=LEARNING_RATE)
    return {"val_losses": peer.fit(model, epochs=EPOCHS)["val_loss"]}


if __name__ == "__main__":
    command.run(memory)
