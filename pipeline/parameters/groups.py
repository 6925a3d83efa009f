"""The parameters, each declared once: those that belong together are a group, handed on as one."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from pipeline.base import InputError
from pipeline.comparisons import Comparison, Data, Variant
from pipeline.comparisons.declarations import LARGEST_BATCH
from pipeline.parameters.parameter import REQUIRED, Parameters, asked, auto, declared
from pipeline.parameters.storage import check_storage

MOST_SAMPLES = 1_000  # of MC Dropout: all are held, 0.4 GB for 10,000 images of 10 classes
LARGEST_SEED = 2**32 - 1  # NumPy's RandomState, which Keras and Optuna seed, takes 32 bits
LOWEST_RATE, HIGHEST_RATE = 1e-12, 1e6  # of which the weights' float32 can make something


@dataclass(frozen=True, kw_only=True)
class Reuse(Parameters):
    """How it runs."""

    reuse: str = asked(
        "auto",
        "auto: a finished step with the same inputs is reused. never: run it again.",
        choices=("auto", "never"),
        decides=False,
    )


@dataclass(frozen=True, kw_only=True)
class Running(Reuse):
    """How it runs."""

    jobs: int | None = auto(
        "Worker processes, one thread each. auto: one per core.", int, decides=False
    )
    scheduler: str = asked(
        "none",
        "none: workers on this machine. Or a Dask scheduler, e.g. tcp://host:8786.",
        decides=False,
    )
    plan: str = asked(
        "none",
        "none: run the comparison. only: print what would run, what would be reused and why, and "
        "how long it would take; run nothing.",
        choices=("none", "only"),
        decides=False,
    )


@dataclass(frozen=True, kw_only=True)
class Compared(Parameters):
    """What is asked."""

    comparison: str = asked(
        "auto",
        "A comparison of pipeline/comparisons, or the path of a .py file that declares one. auto: "
        "the one that declares the variant, or twenty_layers.",
        decides=False,
    )


@dataclass(frozen=True, kw_only=True)
class Baseline(Compared):
    """What is asked."""

    baseline: str | None = auto(
        "The variant that the others are timed against. auto: the first of those compared."
    )


@dataclass(frozen=True, kw_only=True)
class Chosen(Baseline):
    """What is asked."""

    variants: tuple[str, ...] | None = auto(
        "Variants to compare, separated by commas. auto: all of the comparison.", many=True
    )
    seeds: tuple[int, ...] = asked(
        "1,2,3",
        "Training seeds, separated by commas; every variant gets all.",
        int,
        least=0,
        most=LARGEST_SEED,
        many=True,
    )


@dataclass(frozen=True, kw_only=True)
class OneVariant(Parameters):
    """What is asked."""

    variant: str = asked(REQUIRED, "A variant of any comparison, such as elu, bn or selu.")


@dataclass(frozen=True, kw_only=True)
class Seeded(OneVariant):
    """What is asked."""

    seed: int = asked(
        1, "Decides weights, shuffling and dropout masks.", int, least=0, most=LARGEST_SEED
    )


@dataclass(frozen=True, kw_only=True)
class DataSet(Compared):
    """Data."""

    dataset: str = asked(
        "auto",
        "auto, cifar10, mnist_5k, another image set of keras.datasets, or the path of an .npz "
        "with x_train, y_train, x_test, y_test. auto: the comparison's own, or CIFAR-10 if it is "
        "cached or can be fetched, else the 5,000 digits of mnist_5k, with a warning.",
        decides=False,
    )
    val_size: int | None = auto(
        "Images held out of the training images for validation, at most a fifth. auto: the "
        "comparison's own.",
        int,
        most=10**9,
    )
    split_seed: int | None = auto(
        "Decides which images are held out for validation. auto: the comparison's own.",
        int,
        least=0,
        most=LARGEST_SEED,
    )

    def data_of(self, comparison: Comparison) -> Data:
        """The data of a comparison, with what is given instead."""
        given: dict[str, Any] = {
            "source": None if self.dataset == "auto" else self.dataset,
            "val_size": self.val_size,
            "split_seed": self.split_seed,
        }
        changes = {name: value for name, value in given.items() if value is not None}
        return dataclasses.replace(comparison.data, **changes)


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Parameters):
    """Model and training."""

    batch_size: int | None = auto(
        "Images per mini-batch. auto: the variant's own.",
        int,
        most=LARGEST_BATCH,
    )
    dropout_rate: float | None = auto(
        "Rate of the variants that have dropout. auto: the variant's own.",
        float,
        least=0,
    )
    dropout_layers: str | None = auto(
        "Where dropout stands: last (before the output layer), all, or auto.",
        choices=("auto", "last", "all"),
    )

    def given(self, variant: Variant) -> dict[str, Any]:
        """The settings that are given instead of a variant's own, patience none as None."""
        settings = self._given_at_all(variant)
        return {
            name: None if value == 0 and name == "patience" else value
            for name, value in settings.items()
            if variant.dropout or not name.startswith("dropout")
        }

    def _given_at_all(self, variant: Variant) -> dict[str, Any]:
        known = {name: getattr(self, name) for name in declared(self) if hasattr(variant, name)}
        return {name: value for name, value in known.items() if value is not None}

    def configured(self, variant: Variant, *, strict: bool = True) -> Variant:
        """A variant with the settings that are given.

        Args:
            variant: with its own.
            strict: whether to refuse a dropout where it has none, instead of leaving it out.

        Raises:
            InputError: if a setting does not go with the variant.
        """
        changes = self.given(variant)
        left_out = {
            name: value
            for name, value in self._given_at_all(variant).items()
            if name not in changes
        }
        if left_out and strict:
            raise InputError(
                " and ".join(left_out),
                expected=f"'auto', since variant '{variant.name}' has no dropout",
                received=", ".join(map(str, left_out.values())),
                action="Leave it out, or train a variant with dropout, such as alpha_dropout.",
            )
        return dataclasses.replace(variant, **changes)


@dataclass(frozen=True, kw_only=True)
class Sampling(Parameters):
    """Model and training."""

    mc_samples: int = asked(
        100, "MC Dropout: predictions averaged per image.", int, most=MOST_SAMPLES
    )


@dataclass(frozen=True, kw_only=True)
class Training(Sampling, ModelSettings):
    """Model and training."""

    learning_rate: float | None = auto(
        "auto, or a number. auto: the best rate of the finished study for exactly this variant, "
        "data and settings; where there is none, the search runs first.",
        float,
        least=LOWEST_RATE,
    )
    epochs: int | None = auto("Most epochs. auto: the variant's own.", int)
    patience: int | None = asked(
        "auto",
        "Epochs without a lower val_loss before training stops. auto: the variant's own. none: "
        "train all epochs and keep the last weights.",
        int,
        words={"auto": None, "none": 0},
    )


@dataclass(frozen=True, kw_only=True)
class Searching(ModelSettings):
    """Learning-rate search."""

    n_trials: int = asked(12, "Trials of the learning-rate search.", int)
    search_epochs: int | None = auto("Most epochs of a trial. auto: the variant's own.", int)
    learning_rate_min: float = asked(0.00001, "Lower end of the searched range.", float, least=0)
    learning_rate_max: float = asked(0.1, "Upper end of the searched range.", float, least=0)
    search_seed: int = asked(
        1, "Decides the sampler and the weights of the trials.", int, least=0, most=LARGEST_SEED
    )
    storage: str = asked(
        "sqlite:///optuna.db",
        "Optuna storage: an SQLAlchemy URL, without a password (for PostgreSQL use PGPASSWORD or "
        "~/.pgpass).",
        decides=False,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_storage(self.storage)
        low, high = self.learning_rate_min, self.learning_rate_max
        # Optuna's sampler comes to nan in a range that is hardly one.
        if not (low >= LOWEST_RATE and 1.1 * low <= high <= HIGHEST_RATE):
            raise InputError(
                "learning_rate_min and learning_rate_max",
                expected=f"two numbers from {LOWEST_RATE:g} to {HIGHEST_RATE:g}, "
                "the second at least a tenth above the first",
                received=f"{low} and {high}",
                action="The default range is 0.00001 to 0.1.",
            )
