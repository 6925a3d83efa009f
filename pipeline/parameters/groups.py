"""The parameters, each declared once: those that belong together are a group, handed on as one.

A group's docstring is the title of its panel in ``--help``, one of `PANELS`.
"""

import dataclasses
from typing import Any

from pipeline.base import InputError
from pipeline.base.phrases import listed
from pipeline.comparisons import Comparison, Data, Variant
from pipeline.comparisons.variants import LARGEST_BATCH
from pipeline.parameters.parameter import (
    MOST_ITEMS,
    REQUIRED,
    Parameters,
    asked,
    auto,
    declared,
)
from pipeline.parameters.searched import LOWEST_RATE, check_rates
from pipeline.parameters.storage import check_checkpoints, check_storage

PANELS = ("Data", "Search", "Training", "Answers", "Running")  # in this order
MOST_SAMPLES = 1_000  # of MC Dropout: all are held, 0.4 GB for 10,000 images of 10 classes
LARGEST_SEED = 2**32 - 1  # NumPy's RandomState, which Keras and Optuna seed, takes 32 bits
SEED = {"least": 0, "most": LARGEST_SEED}
OF_VARIANT, OF_COMPARISON = "the variant's own", "the comparison's own"


class Reuse(Parameters):
    """Running."""

    reuse: str = asked(
        "auto",
        "auto: a finished step with the same inputs is reused. never: run it again.",
        choices=("auto", "never"),
    )


class Running(Reuse):
    """Running."""

    jobs: int | None = auto("Worker processes, one thread each.", "one per core", int)
    scheduler: str = asked(
        "none",
        "none: workers on this machine. Or a Dask scheduler, e.g. tcp://host:8786.",
        value="address",
    )
    plan: str = asked(
        "none",
        "none: run the comparison. only: print what would run, what would be reused and why, and "
        "how long it would take; run nothing.",
        choices=("none", "only"),
    )


class Compared(Parameters):
    """Answers."""

    comparison: str = asked(
        "auto",
        "A comparison of pipeline/comparisons, or the path of a .py file that declares one. auto: "
        "the one that declares the variant, or twenty_layers.",
        value="name or path",
    )


class Baseline(Compared):
    """Answers."""

    baseline: str | None = auto(
        "The variant that the others are timed against.",
        "the first of those compared",
        value="name",
    )


class Runs(Baseline):
    """Answers."""

    runs: tuple[str, ...] | None = auto(
        "Ids of training runs, separated by commas.",
        "of every variant of the comparison the newest, and those that differ from it in the seed "
        "alone, on the data of the newest run",
        many=True,
        value="ids",
    )


class Chosen(Baseline):
    """Answers."""

    variants: tuple[str, ...] | None = auto(
        "Variants to compare, separated by commas.",
        "all of the comparison",
        many=True,
        value="names",
    )
    seeds: tuple[int, ...] | None = auto(
        "Training seeds that every variant gets, such as 1,2,3 or 1..5.",
        "3, then one more at a time, of the variants that an undecided primary question is about. "
        "Finished runs of any other seed count, too",
        int,
        **SEED,
        many=True,
    )
    max_seeds: int = asked(
        12,
        "With seeds=auto: seeds of a variant at most; where times are asked about, pairs of runs "
        "close in time, of up to twice as many seeds.",
        int,
        least=3,
        most=MOST_ITEMS,
    )
    minutes: float | None = asked(
        "none",
        "With seeds=auto: no round of seeds is begun that would end later than so many minutes "
        "after the start; the first is in any case.",
        float,
        words={"none": None},
    )


class OneVariant(Parameters):
    """Training."""

    variant: str = asked(
        REQUIRED, "A variant of any comparison, such as elu, bn or selu.", value="name"
    )


class Seeded(OneVariant):
    """Training."""

    seed: int = asked(1, "Decides weights, shuffling and dropout masks.", int, **SEED)


class DataSet(Compared):
    """Data."""

    dataset: str = asked(
        "auto",
        "auto, cifar10, mnist_5k, another image set of keras.datasets, or the path of an .npz "
        "with x_train, y_train, x_test, y_test. auto: the comparison's own, or CIFAR-10 if it is "
        "cached or can be fetched, else the 5,000 digits of mnist_5k, with a warning.",
        value="name or path",
    )
    val_size: int | None = auto(
        "Images held out of the training images for validation, at most a fifth.",
        OF_COMPARISON,
        int,
        most=10**9,
    )
    split_seed: int | None = auto(
        "Decides which images are held out for validation.", OF_COMPARISON, int, **SEED
    )

    def data_of(self, comparison: Comparison) -> Data:
        """The data of a comparison, with what is given instead."""
        source = None if self.dataset == "auto" else self.dataset
        given = {"source": source, "val_size": self.val_size, "split_seed": self.split_seed}
        changes: dict[str, Any] = {name: one for name, one in given.items() if one is not None}
        if self.val_size is not None:
            changes["val_images_per_class"] = None
        return dataclasses.replace(comparison.data, **changes)


class Resuming(Parameters):
    """Running."""

    checkpoints: str = asked(
        "checkpoints",
        "What interrupted runs go on from: a folder, or a URL of an object store such as "
        "s3://bucket/folder; of a Dask cluster, one that all workers see.",
        value="path or URL",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_checkpoints(self.checkpoints)


class ModelSettings(Resuming):
    """Training."""

    batch_size: int | None = auto("Images per mini-batch.", OF_VARIANT, int, most=LARGEST_BATCH)
    dropout_rate: float | None = auto(
        "Rate of the variants that have dropout.", OF_VARIANT, float, least=0
    )
    dropout_layers: str | None = asked(
        "auto",
        "Where dropout stands: last (before the output layer), all, or auto.",
        words={"auto": None},
        choices=("auto", "last", "all"),
    )

    def given(self, variant: Variant) -> dict[str, Any]:
        """The settings that are given instead of a variant's own, patience none as None."""
        given = {name: getattr(self, name) for name in declared(self) if hasattr(variant, name)}
        given["learning_rate_of"] = "" if given.get("learning_rate") else None
        unused = ["dropout_rate", "dropout_layers"] if not variant.dropout else []
        unused += ["epochs"] if variant.epochs == 0 else []  # what is not trained stays so
        return {
            name: None if value == 0 and name == "patience" else value
            for name, value in given.items()
            if value is not None and name not in unused
        }

    def configured(self, variant: Variant, *, strict: bool = True) -> Variant:
        """A variant with the settings that are given.

        Raises:
            InputError: if one does not go with the variant; not strictly, dropout is left out.
        """
        dropout = {"dropout_rate": self.dropout_rate, "dropout_layers": self.dropout_layers}
        given = {name: str(value) for name, value in dropout.items() if value is not None}
        if strict and given and not variant.dropout:
            raise InputError(
                " and ".join(given),
                expected=f"'auto', since variant '{variant.name}' has no dropout",
                received=", ".join(given.values()),
                action="Leave it out, or train a variant with dropout, such as alpha_dropout.",
            )
        settings = self.given(variant)
        try:
            return dataclasses.replace(variant, **settings)
        except InputError as error:
            raise InputError(
                error.subject,
                expected=error.expected,
                received=error.received,
                action=f"It does not go with what is given: {listed([*settings])}.",
            ) from error


class Sampling(Parameters):
    """Training."""

    mc_samples: int = asked(
        100, "MC Dropout: predictions averaged per image.", int, most=MOST_SAMPLES
    )


class OneRun(Sampling):
    """Training."""

    run_id: str = asked(REQUIRED, "Id of a finished training run.", value="id")


class Training(Sampling, ModelSettings):
    """Training."""

    learning_rate: float | None = auto(
        "auto, or a number.",
        "the best rate of the finished study for exactly this variant, data and settings; where "
        "there is none, the search runs first",
        float,
        least=LOWEST_RATE,
    )
    epochs: int | None = auto("Most epochs.", OF_VARIANT, int)
    patience: int | None = asked(
        "auto",
        "Epochs without a lower val_loss before training stops. auto: the variant's own. none: "
        "train all epochs and keep the last weights.",
        int,
        words={"auto": None, "none": 0},
    )


class Searching(ModelSettings):
    """Search."""

    n_trials: int = asked(12, "Trials of the learning-rate search.", int)
    search_epochs: int | None = auto("Most epochs of a trial.", OF_VARIANT, int)
    learning_rate_min: float = asked(0.00001, "Lower end of the searched range.", float, least=0)
    learning_rate_max: float = asked(0.1, "Upper end of the searched range.", float, least=0)
    search_seed: int = asked(
        0, "Decides the sampler and the weights of the trials; no training has it.", int, **SEED
    )
    storage: str = asked(
        "sqlite:///optuna.db",
        "Optuna storage: an SQLAlchemy URL, without a password (for PostgreSQL use PGPASSWORD or "
        "~/.pgpass).",
        value="URL",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_storage(self.storage)
        check_rates(self.learning_rate_min, self.learning_rate_max)
