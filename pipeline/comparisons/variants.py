"""The architecture variants as data: what differs between them is the experiment."""

import dataclasses
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from pipeline.base.errors import InputError, unknown_name


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One architecture variant of the deep dense network, with how it is trained by default.

    Args:
        name: what it is called on the command line, in MLflow and in figures.
        description: one line for ``--help`` and notes.
        color: hex colour of its curves, from the colour-blind safe palette of Okabe and Ito.
        hidden_layers: number of hidden dense layers.
        units: units of each hidden layer.
        activation: Keras name of the activation of the hidden layers.
        kernel_initializer: Keras name of the initializer of the hidden layers.
        batch_normalization: whether batch normalisation stands between dense layer and activation.
        self_normalizing: whether the network must keep mean 0 and variance 1 through its layers
            (Klambauer et al. 2017); settings that break this are refused.
        dropout: kind of dropout, or None.
        dropout_rate: fraction of the units dropped, in [0, 1).
        dropout_layers: ``last``: before the output layer only; ``all``: after every hidden layer.
        optimizer: ``nadam``, or ``sgd`` with Nesterov momentum 0.9.
        schedule: ``constant`` learning rate, or ``one_cycle`` (Smith 2018) over all epochs.
        batch_size: images per mini-batch.
        epochs: most epochs trained.
        patience: epochs without a lower ``val_loss`` after which training stops; None: train all
            epochs and judge the model at the end.
        search_epochs: most epochs of a trial when its learning rate is searched.

    Raises:
        InputError: if a setting breaks self-normalisation, or the dropout rate is out of range.
    """

    name: str
    description: str
    color: str
    hidden_layers: int = 20
    units: int = 100
    activation: str = "elu"
    kernel_initializer: str = "he_normal"
    batch_normalization: bool = False
    self_normalizing: bool = False
    dropout: Literal["alpha", "standard"] | None = None
    dropout_rate: float = 0.0
    dropout_layers: Literal["last", "all"] = "last"
    optimizer: Literal["nadam", "sgd"] = "nadam"
    schedule: Literal["constant", "one_cycle"] = "constant"
    batch_size: int = 32
    epochs: int = 100
    patience: int | None = 20
    search_epochs: int = 10

    def __post_init__(self) -> None:
        if not 0 <= self.dropout_rate < 1:
            raise InputError(
                "dropout_rate",
                expected="a number of at least 0 and below 1",
                received=str(self.dropout_rate),
                action="0.1 is the default; 0.05 to 0.3 is usual.",
            )
        if self.dropout_layers not in ("last", "all"):
            raise unknown_name("dropout_layers", self.dropout_layers, ("last", "all"))
        if self.self_normalizing:
            self._check_self_normalization()

    def _check_self_normalization(self) -> None:
        required = {
            "activation": (self.activation, ("selu",)),
            "kernel_initializer": (self.kernel_initializer, ("lecun_normal",)),
            "batch_normalization": (self.batch_normalization, (False,)),
            "dropout": (self.dropout, (None, "alpha")),
        }
        for setting, (received, allowed) in required.items():
            if received not in allowed:
                raise InputError(
                    f"{setting} of variant '{self.name}'",
                    expected=f"{' or '.join(map(repr, allowed))}, so that it self-normalises",
                    received=repr(received),
                    action="Derive a variant with self_normalizing=False to try this setting.",
                )

    def with_dropout(self, *, rate: float | None, layers: str | None) -> "Variant":
        """This variant with another dropout rate or placement; None keeps its own.

        Raises:
            InputError: if the variant has no dropout to change, or a value is out of range.
        """
        changes: dict[str, Any] = {
            key: value
            for key, value in {"dropout_rate": rate, "dropout_layers": layers}.items()
            if value is not None
        }
        if changes and self.dropout is None:
            having = [name for name, variant in VARIANTS.items() if variant.dropout]
            raise InputError(
                " and ".join(changes),
                expected=f"'auto', since variant '{self.name}' has no dropout",
                received=", ".join(map(str, changes.values())),
                action=f"Leave it out, or train a variant with dropout: {', '.join(having)}.",
            )
        return dataclasses.replace(self, **changes)


def get_variant(name: str) -> Variant:
    """The variant of this name.

    Raises:
        InputError: if there is none; the nearest name is suggested.
    """
    if name not in VARIANTS:
        raise unknown_name("variant", name, VARIANTS)
    return VARIANTS[name]


_ELU = Variant(
    name="elu",
    description="20 dense layers of 100 units, ELU, He initialisation, Nadam, early stopping",
    color="#0072B2",
)
_BN = dataclasses.replace(
    _ELU,
    name="bn",
    description="elu with batch normalisation between each dense layer and its activation",
    color="#D55E00",
    batch_normalization=True,
)
_SELU = dataclasses.replace(
    _ELU,
    name="selu",
    description="SELU, LeCun-normal initialisation, standardised inputs: self-normalising",
    color="#009E73",
    activation="selu",
    kernel_initializer="lecun_normal",
    self_normalizing=True,
)
_ALPHA_DROPOUT = dataclasses.replace(
    _SELU,
    name="alpha_dropout",
    description="selu with alpha dropout, judged with and without MC Dropout",
    color="#CC79A7",
    dropout="alpha",
    dropout_rate=0.1,
)
_ONE_CYCLE = dataclasses.replace(
    _ALPHA_DROPOUT,
    name="one_cycle",
    description="alpha_dropout under 1cycle scheduling: SGD with Nesterov momentum, 15 epochs",
    color="#E69F00",
    optimizer="sgd",
    schedule="one_cycle",
    batch_size=128,
    epochs=15,
    patience=None,
    search_epochs=5,  # a short cycle tells rates apart as well as a long one
)

VARIANTS = MappingProxyType(
    {variant.name: variant for variant in (_ELU, _BN, _SELU, _ALPHA_DROPOUT, _ONE_CYCLE)}
)
