"""All digits that a small training comes to; also a program, for a process of its own."""

import sys
from dataclasses import replace
from pathlib import Path

from pipeline import command  # noqa: F401  first, as in an entry point


def digits(dataset: Path) -> str:
    """Those of its curve, of what it predicts with and without dropout, and of its activations."""
    from pipeline.comparisons import Data
    from pipeline.comparisons.twenty_layers import BN
    from pipeline.data import npz
    from pipeline.data.splitting import split_arrays
    from pipeline.training.runtime import import_tensorflow

    import_tensorflow()
    from pipeline.training.trainer import Trainer
    from pipeline.uncertainty.sampling import mc_probabilities

    variant = replace(BN, hidden_layers=2, dropout="alpha", dropout_rate=0.1)
    splits = split_arrays(npz.read(dataset), Data(val_size=40, split_seed=0))
    trainer = Trainer(variant, splits)
    fit = trainer.fit(
        learning_rate=0.01, epochs=2, patience=None, seed=5, on_epoch=lambda _epoch, _metrics: None
    )
    found = [value for one in fit.history for name, value in one.items() if "seconds" not in name]
    for arrays in (
        trainer.predict(splits.x_test),
        mc_probabilities(trainer.trained_model(), splits.x_test, samples=2, seed=1),
    ):
        found += arrays.astype(float).ravel().tolist()
    found += [value for of in trainer.layer_statistics().values() for value in of]
    return " ".join(map(float.hex, found))


if __name__ == "__main__":
    print(digits(Path(sys.argv[1])))
