"""The metrics of a run by their names of today: runs of earlier versions have others."""

from mlflow.entities import Run

# What a metric was called earlier. `best_` was then that of the lowest loss, whether its weights
# were kept or not; these were of the weights that were kept.
EARLIER = {"train_loss": "loss", "train_accuracy": "accuracy"}
EARLIER |= {f"best_{name}": f"judged_{name}" for name in ("epoch", "val_loss", "val_accuracy")}


def of_run(run: Run) -> dict[str, float]:
    """The last value of each metric of a run."""
    found = dict(run.data.metrics)
    return found | {name: found[earlier] for name, earlier in EARLIER.items() if earlier in found}
