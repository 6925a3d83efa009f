"""What a variant is made of: one architecture, and how it is trained."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pipeline.base import InputError, unknown_name
from pipeline.comparisons.checks import check_name, check_settings

LARGEST_BATCH = 65_536


_SELF_NORMALIZING: Mapping[str, tuple[object, ...]] = {
    "activation": ("selu",),
    "kernel_initializer": ("lecun_normal",),
    "batch_normalization": (False,),
    "dropout": (None, "alpha"),
}


def _of(*steps: str, default: Any) -> Any:
    """A setting that decides what these steps come to, and no others."""
    return field(default=default, metadata={"steps": steps})


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One architecture variant of the deep dense network, with how it is trained by default.

    Args:
        name: what it is called on the command line, in MLflow and in figures.
        description: one line for ``--help`` and notes.
        color: hex colour of its curves; left out, the comparison gives it one, see `colors`.
        derived_from: the variant that it was derived from.
        hidden_layers, units: number of hidden dense layers, and of units in each.
        activation, kernel_initializer: Keras names, for the hidden layers.
        batch_normalization: whether batch normalisation stands between dense layer and activation.
        self_normalizing: whether the network must keep mean 0 and variance 1 through its layers
            (Klambauer et al. 2017); settings that break this are refused.
        dropout, dropout_rate: its kind, and the fraction of the units dropped, in [0, 1).
        dropout_layers: ``last``: before the output layer only; ``all``: after every hidden layer.
        optimizer: ``nadam``, ``adam``, or ``sgd`` with Nesterov momentum 0.9.
        schedule: ``constant`` learning rate, or ``one_cycle`` (Smith 2018) over all epochs.
        batch_size, epochs: images per mini-batch, and most epochs trained.
        patience: epochs without a lower ``val_loss`` after which training stops; None: train all
            epochs and judge the model at the end.
        search_epochs: most epochs of a trial when its learning rate is searched.
        images_per_class: how many training images of each class are used; None: all. A smaller
            number uses some of the images that a larger one does.
        arms: ``one``: the network reads single images. ``two``: it reads pairs, and each image has
            hidden layers of its own; ``shared``: the same layers read both. What the two arms make
            of the images is joined.
        joint_units: units of the hidden layer between the joined arms and the output.
        starts_from: the variant whose trained network this one takes layers from, that with the
            same seed. By name if it is of the same comparison or of one in this folder, else
            ``file.py:name``.
        reused_layers: how many hidden layers are taken from it, the lowest; from a network of two
            arms, those of the first arm.
        frozen_layers: how many of the reused layers are not trained, the lowest.
        cached: whether the outputs of the frozen layers are computed once before training,
            instead of in every epoch.

    Raises:
        InputError: if a setting is unknown, out of range, breaks self-normalisation, or does not
            go with the others.
    """

    name: str
    description: str = _of(default="")
    color: str = field(default="", metadata={"steps": (), "pattern": "(#[0-9A-Fa-f]{6})?"})
    derived_from: str = _of(default="")
    hidden_layers: int = 20
    units: int = 100
    activation: str = "elu"
    kernel_initializer: str = "he_normal"
    batch_normalization: bool = False
    self_normalizing: bool = False
    dropout: Literal["alpha", "standard"] | None = None
    dropout_rate: float = 0.0
    dropout_layers: Literal["last", "all"] = "last"
    optimizer: Literal["nadam", "adam", "sgd"] = "nadam"
    schedule: Literal["constant", "one_cycle"] = "constant"
    batch_size: int = field(default=32, metadata={"most": LARGEST_BATCH})
    epochs: int = _of("train", default=100)
    patience: int | None = _of("train", default=20)
    search_epochs: int = _of(default=10)  # given or not, it is a parameter of the search
    images_per_class: int | None = None
    arms: Literal["one", "two", "shared"] = "one"
    joint_units: int = 10
    starts_from: str = _of(default="")  # the step key of that training is in this one's
    reused_layers: int = field(default=0, metadata={"least": 0})
    frozen_layers: int = field(default=0, metadata={"least": 0})
    cached: bool = False

    def __post_init__(self) -> None:
        check_name("variant", self.name)
        check_settings(f"of variant '{self.name}'", self)
        if not 0 <= self.dropout_rate < 1:
            raise InputError(
                f"dropout_rate of variant '{self.name}'",
                expected="a number of at least 0 and below 1",
                received=str(self.dropout_rate),
                action="0.1 is the default; 0.05 to 0.3 is usual.",
            )
        if self.self_normalizing:
            self._check_self_normalization()
        self._check_layers()

    def _check_layers(self) -> None:
        """Refuse to reuse, freeze or cache layers that the network or its source does not have."""
        reused, most = self.reused_layers, self.hidden_layers
        if self.starts_from:
            expected = f"from 1 to the {most} hidden layers, as it starts from another"
            self._require("reused_layers", 1 <= reused <= most, expected)
            self._require("arms", self.arms == "one", "one, as it starts from another")
        else:
            self._require("reused_layers", reused == 0, "0, as it starts from no other")
        expected = f"at most reused_layers, {reused}"
        self._require("frozen_layers", self.frozen_layers <= reused, expected)
        # Dropout between frozen layers gives other outputs in every epoch.
        fixed = self.frozen_layers > 0 and not (self.dropout and self.dropout_layers == "all")
        expected = "True only with frozen layers, and without dropout in all layers"
        self._require("cached", fixed or not self.cached, expected)

    def _require(self, setting: str, holds: bool, expected: str) -> None:
        if not holds:
            raise InputError(
                f"{setting} of variant '{self.name}'",
                expected=expected,
                received=repr(getattr(self, setting)),
                action="Correct it in the file that declares it.",
            )

    def _check_self_normalization(self) -> None:
        for setting, allowed in _SELF_NORMALIZING.items():
            received = getattr(self, setting)
            if received not in allowed:
                raise InputError(
                    f"{setting} of variant '{self.name}'",
                    expected=f"{' or '.join(map(repr, allowed))}, so that it self-normalises",
                    received=repr(received),
                    action="Derive a variant with self_normalizing=False to try this setting.",
                )

    def derive(
        self, *, name: str, description: str = "", color: str = "", **changes: Any
    ) -> "Variant":
        """A variant that differs from this one in some settings: these are the experiment."""
        known = [one.name for one in dataclasses.fields(self)]
        for setting in changes:
            if setting not in known:
                raise unknown_name(f"setting of variant '{name}'", setting, known)
        changed = ", ".join(f"{setting} {value}" for setting, value in changes.items())
        changes |= {"description": description or f"{self.name} with {changed}", "color": color}
        return replace(self, name=name, derived_from=self.name, **changes)

    def content(self, step: str) -> dict[str, Any]:
        """The settings that decide what a step, `search` or `train`, comes to, but the defaults."""
        return {
            one.name: value
            for one in dataclasses.fields(self)
            if one.name != "name"
            and step in one.metadata.get("steps", (step,))
            and (value := getattr(self, one.name)) != one.default
        }


def default_setting(name: str) -> Any:
    """The default of a variant's setting; None where there is none."""
    return {one.name: one.default for one in dataclasses.fields(Variant)}.get(name)


def check_reused(variant: Variant, source: Variant) -> None:
    """Refuse a variant that reuses layers which its source does not have, or has otherwise.

    Raises:
        InputError: naming the setting in which they differ.
    """
    most, asked = source.hidden_layers, variant.reused_layers
    if asked > most:
        raise InputError(
            f"reused_layers of variant '{variant.name}'",
            expected=f"at most {most}, all hidden layers of '{source.name}'",
            received=str(asked),
            action="Take fewer, or start from a deeper one.",
        )
    for setting in ("units", "activation", "batch_normalization"):
        theirs, own = getattr(source, setting), getattr(variant, setting)
        if theirs != own:
            raise InputError(
                f"{setting} of variant '{variant.name}'",
                expected=f"{theirs!r}, as in the layers of '{source.name}' that it takes",
                received=repr(own),
                action="Derive it from that variant: the layers then are the same.",
            )
