"""What entry points can be given: every option said once, read from its text, and refused."""

import dataclasses
import inspect
import math
import shlex
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer

from pipeline.base import InputError, unknown_name
from pipeline.comparisons.variants import Variant, get_variant

MOST = 1_000_000  # of epochs, trials, ...: more is a slip of the keyboard
MOST_SAMPLES = 1_000  # of MC Dropout: all are held, 0.4 GB for 10,000 images of 10 classes
LARGEST_BATCH = 65_536
LARGEST_SEED = 2**32 - 1  # NumPy's RandomState, which Keras and Optuna seed, takes 32 bits


def _option(help_text: str, **constraints: Any) -> Any:
    return typer.Option(help=help_text, **constraints)


Dataset = Annotated[
    str,
    _option(
        "auto, cifar10, mnist_5k, another image set of keras.datasets, or the path of an .npz "
        "with x_train, y_train, x_test, y_test. auto: CIFAR-10 if it is cached or can be fetched, "
        "else the 5,000 digits of mnist_5k, with a warning."
    ),
]
ValSize = Annotated[
    int, _option("Images held out of the training images for validation.", min=1, max=10**9)
]
SplitSeed = Annotated[
    int, _option("Decides which images are held out for validation.", min=0, max=LARGEST_SEED)
]
VariantName = Annotated[str, _option("elu, bn, selu, alpha_dropout or one_cycle.")]
LearningRate = Annotated[
    str,
    _option(
        "auto, or a number. auto: the best rate of the finished study for exactly this variant, "
        "data and settings; where there is none, the search runs first."
    ),
]
Epochs = Annotated[str, _option("Most epochs. auto: the variant's own (100; 15 for one_cycle).")]
Patience = Annotated[
    str,
    _option(
        "Epochs without a lower val_loss before training stops. auto: the variant's own "
        "(20; none for one_cycle). none: train all epochs and keep the last weights."
    ),
]
BatchSize = Annotated[
    str, _option("Images per mini-batch. auto: the variant's own (32; 128 for one_cycle).")
]
Seed = Annotated[
    int, _option("Decides weights, shuffling and dropout masks.", min=0, max=LARGEST_SEED)
]
DropoutRate = Annotated[
    str, _option("Rate of the variants that have dropout. auto: the variant's own (0.1).")
]
DropoutLayers = Annotated[
    str, _option("Where dropout stands: last (before the output layer), all, or auto.")
]
McSamples = Annotated[
    int, _option("MC Dropout: predictions averaged per image.", min=1, max=MOST_SAMPLES)
]
NTrials = Annotated[int, _option("Trials of the learning-rate search.", min=1, max=MOST)]
SearchEpochs = Annotated[
    str, _option("Most epochs of a trial. auto: the variant's own (10; 5 for one_cycle).")
]
LearningRateMin = Annotated[float, _option("Lower end of the searched range.")]
LearningRateMax = Annotated[float, _option("Upper end of the searched range.")]
SearchSeed = Annotated[
    int, _option("Decides the sampler and the weights of the trials.", min=0, max=LARGEST_SEED)
]
Storage = Annotated[
    str,
    _option(
        "Optuna storage: an SQLAlchemy URL, without a password (for PostgreSQL use PGPASSWORD "
        "or ~/.pgpass)."
    ),
]
RunId = Annotated[str, _option("Id of a finished training run.")]
Runs = Annotated[
    str,
    _option(
        "Ids of training runs, separated by commas. auto: the newest of every variant and seed, "
        "on the data of the newest run."
    ),
]
Baseline = Annotated[str, _option("The variant that the others are timed against.")]
Variants = Annotated[str, _option("Variants to compare, separated by commas.")]
Seeds = Annotated[str, _option("Training seeds, separated by commas; every variant gets all.")]
Jobs = Annotated[str, _option("Worker processes, one thread each. auto: one per core.")]
Scheduler = Annotated[
    str, _option("none: workers on this machine. Or a Dask scheduler, e.g. tcp://host:8786.")
]
Reuse = Annotated[
    str, _option("auto: a finished step with the same inputs is reused. never: run it again.")
]
Plan = Annotated[
    str,
    _option(
        "none: run the comparison. only: print what would run, what would be reused and why, and "
        "how long it would take; run nothing."
    ),
]


def mlflow_run(entry_point: str, parameters: Mapping[str, Any]) -> str:
    """The `mlflow run` command that calls an entry point with these parameters.

    Args:
        entry_point: a key of MLproject.
        parameters: those that are given; shell characters in them are quoted.
    """
    entry = "" if entry_point == "main" else f" -e {entry_point}"
    given = "".join(f" -P {shlex.quote(f'{name}={value}')}" for name, value in parameters.items())
    return f"mlflow run .{entry}{given}"


def not_default(entry_point: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those of an entry point's arguments that are not its defaults."""
    signature = inspect.signature(entry_point).parameters
    return {name: value for name, value in arguments.items() if signature[name].default != value}


def number(
    name: str, value: str, *, minimum: float, maximum: float, kind: type, or_auto: bool = True
) -> Any:
    """A parameter given as text as a finite number.

    Args:
        name: the parameter, for the error.
        value: what was given.
        minimum: lowest value accepted.
        maximum: highest value accepted.
        kind: int or float.
        or_auto: whether to name ``auto`` among what is accepted, for the error.

    Raises:
        InputError: if it is not such a number.
    """
    try:
        parsed = kind(value)
    except ValueError:
        parsed = math.nan
    if not minimum <= parsed <= maximum or parsed == math.inf:
        noun = ("auto or " if or_auto else "") + ("an integer" if kind is int else "a number")
        bounds = f"at least {minimum}" if maximum == math.inf else f"from {minimum} to {maximum}"
        raise InputError(
            name,
            expected=f"{noun} {bounds}",
            received=repr(value),
            action=f"Give it as --{name.replace('_', '-')} or -P {name}=...",
        )
    return parsed


def auto_or(
    name: str, value: str, *, auto: Any, minimum: float, kind: type, maximum: float = MOST
) -> Any:
    """The number given, or what ``auto`` stands for."""
    if value == "auto":
        return auto
    return number(name, value, minimum=minimum, maximum=maximum, kind=kind)


def _batch_size(value: str, own: int) -> int:
    return auto_or("batch_size", value, auto=own, minimum=1, maximum=LARGEST_BATCH, kind=int)


def configured_variant(
    variant: str,
    *,
    batch_size: str,
    dropout_rate: str,
    dropout_layers: str,
    epochs: str = "auto",
    patience: str = "auto",
) -> Variant:
    """A variant with the settings that were given; ``auto`` keeps the variant's own.

    Raises:
        InputError: if the variant is unknown or a setting is out of range.
    """
    own = get_variant(variant)
    own = own.with_dropout(
        rate=auto_or("dropout_rate", dropout_rate, auto=None, minimum=0, kind=float),
        layers=None if dropout_layers == "auto" else dropout_layers,
    )
    return dataclasses.replace(
        own,
        batch_size=_batch_size(batch_size, own.batch_size),
        epochs=auto_or("epochs", epochs, auto=own.epochs, minimum=1, kind=int),
        patience=None
        if patience == "none"
        else auto_or("patience", patience, auto=own.patience, minimum=1, kind=int),
    )


def search_epochs(value: str, variant: Variant) -> int:
    """The most epochs of a trial; ``auto`` is the variant's own."""
    return auto_or("search_epochs", value, auto=variant.search_epochs, minimum=1, kind=int)


def check_reuse(reuse: str) -> None:
    """Refuse a value of ``reuse`` that is neither ``auto`` nor ``never``."""
    if reuse not in ("auto", "never"):
        raise unknown_name("reuse", reuse, ("auto", "never"))


def check_plan(plan: str) -> None:
    """Refuse a value of ``plan`` that is neither ``none`` nor ``only``."""
    if plan not in ("none", "only"):
        raise unknown_name("plan", plan, ("none", "only"))


def split_list(name: str, text: str) -> list[str]:
    """The items of a list separated by commas.

    Raises:
        InputError: if it is empty or an item occurs twice.
    """
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items or len(set(items)) < len(items):
        raise InputError(
            name,
            expected="different items, separated by commas",
            received=repr(text),
            action=f"For example: -P {name}=" + ("1,2,3" if name == "seeds" else "elu,bn"),
        )
    return items


def seed_list(text: str) -> list[int]:
    """The seeds of a list separated by commas.

    Raises:
        InputError: if it is empty, or an item is no seed or occurs twice.
    """
    seeds = [
        number("seeds", item, minimum=0, maximum=LARGEST_SEED, kind=int, or_auto=False)
        for item in split_list("seeds", text)
    ]
    split_list("seeds", ",".join(map(str, seeds)))  # 1 and 01 are different items, but one seed
    return seeds
