"""What a setting of a variant costs: an epoch with it, and of the same network without it.

The two train in turns, epoch by epoch, on the same images and with the same batch size.
"""

from typing import Any

import pandas as pd

from benchmarks import harness, outcomes, throughput, turns
from pipeline import command
from pipeline.parameters import parameter

# With the setting, without it.
PAIRS = {
    "mirrored": "hundred_epochs",
    "shifted": "mirrored",
    "averaged": "shifted",
    "smoothed": "shifted",
    "weak_dropout": "shifted",
    "dropout_0.2_all": "elu",
    "l1_0.0001": "elu",
    "gradual_90": "elu",
    "ftrl_0.1": "elu",
    "prelu": "relu",
    "gelu": "relu",
    "relu_bn": "relu",
    "ten_sigmoids": "elu",
}
MOST = 1.5  # times the epoch without it


class Costs(harness.OnData):
    """What is measured."""

    variants: tuple[str, ...] = parameter.asked(
        "all", f"Of {', '.join(PAIRS)}, separated by commas, or all.", many=True
    )
    epochs: int = parameter.asked(5, "Epochs timed, after a warm-up epoch.", int)
    learning_rate: float = parameter.asked(0.0002, "On both sides.", float, least=1e-12)


def costs(asked: Costs) -> None:
    """Measure how many times as long an epoch takes with augmentation, pruning, dropout and others.

    Leave the machine alone meanwhile: whatever else runs on it distorts the times.
    """
    names = [*PAIRS] if asked.variants == ("all",) else [*asked.variants]
    harness.check_names("variants", names, PAIRS)
    machine = harness.describe_machine()
    with harness.prepared(asked.dataset) as (directory, conditions):
        given = {"directory": str(directory), "learning_rate": asked.learning_rate}
        measured = {name: measure(name, epochs=asked.epochs, **given) for name in names}
    outcomes.publish(
        "costs",
        [
            outcomes.result(
                f"{name}: {clock} s per epoch",
                rows,
                f"epoch_{clock.lower()}_seconds",
                peer=PAIRS[name],
                at_most=MOST if clock == "CPU" else None,
            )
            for name, rows in measured.items()
            for clock in ("CPU", "wall")
        ],
        machine=machine,
        conditions={**conditions, "learning rate": asked.learning_rate},
        measured=pd.concat(measured.values(), ignore_index=True),
    )


def measure(variant: str, *, epochs: int, **given: Any) -> pd.DataFrame:
    """Train with the setting and without it, in turns; a row per side and epoch."""
    arguments = {"epochs": epochs, "seed": 1, "alternating": True, **given}
    sides: dict[str, turns.Side] = {
        side: (throughput.compiled, {"variant": name, **arguments})
        for side, name in ((harness.OURS, variant), (PAIRS[variant], PAIRS[variant]))
    }
    clocks = ("epoch_wall_seconds", "epoch_cpu_seconds")
    return pd.concat(
        pd.DataFrame({name: row[name] for name in clocks}).assign(
            side=side, variant=variant, round=range(1, epochs + 1)
        )
        for side, row in turns.alternate(sides, turns=epochs).items()
    )


if __name__ == "__main__":
    command.run(costs)
