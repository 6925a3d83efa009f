"""What a variant is made of: one architecture, and how it is trained."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pipeline.base import InputError, unknown_name
from pipeline.comparisons.checks import check_name, check_settings
from pipeline.comparisons.expressions import check_expression

LARGEST_BATCH = 65_536
EXPRESSIONS = (  # settings that are names, calls or arithmetic, see `expressions`
    *("activation", "kernel_initializer", "bias_initializer", "output_initializer"),
    *("output_activation", "loss", "kernel_regularizer", "optimizer"),
)
REUSED = (  # settings of layers that are taken from another network
    *("units", "activation", "batch_normalization", "normalization_place"),
    *("convolution_filters", "standardized"),
)

_SELF_NORMALIZING: Mapping[str, tuple[object, ...]] = {
    "activation": ("selu",),
    "kernel_initializer": ("lecun_normal",),
    "batch_normalization": (False,),
    "dropout": (None, "alpha"),
}


def _of(*steps: str, default: Any, **bounds: Any) -> Any:
    """A setting that decides what these steps come to, and no others."""
    return field(default=default, metadata={"steps": steps, **bounds})


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One architecture variant of the deep dense network, with how it is trained by default.

    Args:
        name: what it is called on the command line, in MLflow and in figures.
        description: one line for ``--help`` and notes.
        color: hex colour of its curves; left out, the comparison gives it one, see `colors`.
        derived_from: the variant that it was derived from.
        hidden_layers, units: number of hidden dense layers, and of units in each.
        activation: of the hidden layers: what Keras has, such as ``relu``, ``prelu`` or
            ``leaky_relu(negative_slope=0.1)``, or an expression such as ``x * tanh(softplus(x))``
            of functions of `keras.ops` and `keras.activations`.
        kernel_initializer, bias_initializer: of the hidden layers: what Keras has, such as
            ``random_normal(stddev=0.01)``, or ``equal(he_normal)``: one draw for all weights of a
            kernel.
        output_initializer: of the kernel of the output layer.
        output_activation: as `activation`. What it gives is divided by its sum over the classes, to
            be probabilities.
        batch_normalization: whether every hidden layer has batch normalisation.
        normalization_place: whether that stands before the activation, or after it.
        convolution_filters: of 3 x 3 pixels, with ReLU, of a convolution before the hidden layers;
            0: there is none.
        standardized: whether pixels are standardised where those of the data are; else they are
            scaled from 0 to 1.
        self_normalizing: whether the network must keep mean 0 and variance 1 through its layers
            (Klambauer et al. 2017); settings that break this are refused.
        dropout, dropout_rate: its kind, and the fraction of the units dropped, in [0, 1).
        dropout_layers: ``last``: before the output layer only; ``all``: after every hidden layer.
        loss: what is minimised: what Keras has, such as
            ``categorical_crossentropy(label_smoothing=0.1)``. ``loss`` and ``val_loss`` are the
            cross-entropy of the labels whatever that is, so that variants compare.
        kernel_regularizer: of all kernels: what Keras has, such as ``l1(0.00001)``; empty: none.
        optimizer: what Keras has, such as ``sgd(momentum=0.9, nesterov=True)``. With
            ``use_ema=True`` the model that is judged has the averaged weights.
        learning_rate: left out, it is searched.
        learning_rate_of: the variant whose searched rate it is trained with, named as in
            `starts_from`.
        schedule: ``constant`` learning rate, or ``one_cycle`` (Smith 2018) over all epochs.
        batch_size, epochs: images per mini-batch, and most epochs trained; 0: a network that is
            taken from another variant whole is judged as it is.
        patience: epochs without a lower ``val_loss`` after which training stops; None: train all
            epochs and judge the model at the end.
        restore_best_weights: whether a training that may stop early is judged by the weights of its
            best epoch; else by those of its last.
        validated_on: the images that decide when a training stops, and which epoch is its best.
        may_diverge: whether a training whose loss is not finite is a result, judged by the weights
            of its best epoch before, or by the initial ones; else it fails.
        search_epochs: most epochs of a trial when its learning rate is searched.
        images_per_class: how many training images of each class are used; None: all. A smaller
            number uses some of the images that a larger one does.
        mirrored_images: whether half of the images of every epoch are mirrored, left to right.
        shifted_pixels: by how many pixels an image is shifted in each direction, at most, drawn
            anew in every epoch; what this uncovers repeats the pixels at the image's edge.
        mirrored_prediction: whether the network predicts the mean of what it gives for an image and
            for its mirror image.
        arms: ``one``: the network reads single images. ``two``: it reads pairs, and each image has
            hidden layers of its own; ``shared``: the same layers read both. What the two arms make
            of the images is joined.
        joint_units: units of the hidden layer between the joined arms and the output.
        starts_from: the variant whose trained network this one takes layers from, that with the
            same seed. By name if it is of the same comparison or of one in this folder, else
            ``file.py:name``.
        reused_layers: how many hidden layers are taken from it, the lowest; from a network of two
            arms, those of the first arm.
        reused_output: whether the output layer is taken from it, too.
        frozen_layers: how many of the reused layers are not trained, the lowest.
        cached: whether the outputs of the frozen layers are computed once before training,
            instead of in every epoch.
        pruned: the share of the weights of every kernel that are set to 0, those of the smallest
            magnitude, and stay 0; in [0, 1).
        pruning: ``at_start``: before the first epoch. ``gradual``: from the first epoch on, more
            after every block of mini-batches (Zhu and Gupta 2017: cubic).
        pruning_epochs: after how many epochs gradual pruning has come to its end.

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
    bias_initializer: str = "zeros"
    output_initializer: str = "glorot_uniform"
    output_activation: str = "softmax"
    batch_normalization: bool = False
    normalization_place: Literal["before", "after"] = "before"
    convolution_filters: int = field(default=0, metadata={"least": 0, "most": 1024})
    standardized: bool = True
    self_normalizing: bool = False
    dropout: Literal["alpha", "standard"] | None = None
    dropout_rate: float = 0.0
    dropout_layers: Literal["last", "all"] = "last"
    loss: str = "sparse_categorical_crossentropy"
    kernel_regularizer: str = ""
    optimizer: str = "nadam"
    learning_rate: float | None = _of("train", default=None)
    learning_rate_of: str = _of(default="")  # the key of that search is in this step's
    schedule: Literal["constant", "one_cycle"] = "constant"
    batch_size: int = field(default=32, metadata={"most": LARGEST_BATCH})
    epochs: int = _of("train", default=100, least=0)
    patience: int | None = _of("train", default=20)
    restore_best_weights: bool = _of("train", default=True)
    validated_on: Literal["validation", "test"] = _of("train", default="validation")
    may_diverge: bool = _of("train", default=False)
    search_epochs: int = _of(default=10)  # given or not, it is a parameter of the search
    images_per_class: int | None = None
    mirrored_images: bool = False
    shifted_pixels: int = field(default=0, metadata={"least": 0, "most": 16})
    mirrored_prediction: bool = False
    arms: Literal["one", "two", "shared"] = "one"
    joint_units: int = 10
    starts_from: str = _of(default="")  # the step key of that training is in this one's
    reused_layers: int = field(default=0, metadata={"least": 0})
    reused_output: bool = False
    frozen_layers: int = field(default=0, metadata={"least": 0})
    cached: bool = False
    pruned: float = 0.0
    pruning: Literal["at_start", "gradual"] = "at_start"
    pruning_epochs: int = 10

    def __post_init__(self) -> None:
        check_name("variant", self.name)
        check_settings(f"of variant '{self.name}'", self)
        for setting in EXPRESSIONS:
            if (text := getattr(self, setting)) or setting != "kernel_regularizer":
                check_expression(f"{setting} of variant '{self.name}'", text)
        for share in ("dropout_rate", "pruned"):
            self._require(share, 0 <= getattr(self, share) < 1, "a number of at least 0, below 1")
        if self.self_normalizing:
            self._check_self_normalization()
        self._check_layers()
        self._check_training()

    def _check_training(self) -> None:
        """Refuse settings of the training that say two things at once, or nothing."""
        if self.learning_rate is not None:
            self._require("learning_rate", self.learning_rate > 0, "a number above 0, or None")
            expected = "empty, as its learning rate is given"
            self._require("learning_rate_of", not self.learning_rate_of, expected)
        whole = self.reused_output or self.epochs > 0
        self._require("epochs", whole, "at least 1, unless all of it is taken from another")
        stops = self.patience is not None or self.restore_best_weights
        self._require("restore_best_weights", stops, "True, as it never stops early")
        changed = self.mirrored_images or self.shifted_pixels or self.mirrored_prediction
        whole = not self.cached or not changed
        self._require("cached", whole, "False, as its images are mirrored or shifted")
        fixed = not self.cached or not self.pruned or self.pruning == "at_start"
        self._require("cached", fixed, "False, as frozen layers are pruned while it trains")
        softmax = self.output_activation == default_setting("output_activation")
        expected = "False, as its outputs are not softmax"
        self._require("mirrored_prediction", softmax or not self.mirrored_prediction, expected)

    def _check_layers(self) -> None:
        """Refuse to reuse, freeze or cache layers that the network or its source does not have."""
        reused, most = self.reused_layers, self.hidden_layers
        if self.starts_from:
            expected = f"from 1 to the {most} hidden layers, as it starts from another"
            self._require("reused_layers", 1 <= reused <= most, expected)
            self._require("arms", self.arms == "one", "one, as it starts from another")
        else:
            self._require("reused_layers", reused == 0, "0, as it starts from no other")
        if self.arms != "one":
            softmax = self.output_activation == default_setting("output_activation")
            expected = "softmax, as pairs have one logistic output"
            self._require("output_activation", softmax, expected)
            no_convolution = self.convolution_filters == 0
            self._require("convolution_filters", no_convolution, "0, as it reads pairs")
        whole = reused == most or not self.reused_output
        self._require("reused_output", whole, "True only with all hidden layers reused")
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

    def first_judged(self, epochs: int) -> int:
        """The first of so many epochs whose weights it may be judged by: no more is pruned then."""
        is_gradual = self.pruned and self.pruning == "gradual"
        return min(self.pruning_epochs, epochs) if is_gradual else 1

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
    output = ("output_activation",) if variant.reused_output else ()
    for setting in (*REUSED, *output):
        theirs, own = getattr(source, setting), getattr(variant, setting)
        if theirs != own:
            raise InputError(
                f"{setting} of variant '{variant.name}'",
                expected=f"{theirs!r}, as in the layers of '{source.name}' that it takes",
                received=repr(own),
                action="Derive it from that variant: the layers then are the same.",
            )
