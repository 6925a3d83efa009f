"""The parts of a network - hidden layers, arms, outputs - each from what the one before gives."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from pipeline.base import InputError, did_you_mean
from pipeline.comparisons import Variant


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Makes the parts of a variant's network.

    Args:
        variant: the architecture.
        layers: where its layers are found by name, `xla` or `keras.layers`.
        seeds: of initial weights and dropout masks, taken one after the other.
    """

    variant: Variant
    layers: Any
    seeds: Iterator[np.uint32]

    def arm(self, hidden: Any, *, prefix: str = "") -> Any:
        """All hidden layers, one after the other; their names begin with the prefix."""
        for number in range(1, self.variant.hidden_layers + 1):
            hidden = self._hidden_layer(number, hidden, prefix=prefix)
        return hidden

    def joined_arms(self, pair: Any) -> Any:
        """What the arms make of the images of a pair, (n, 2, features), side by side."""
        if self.variant.arms == "shared":
            # Layers apply to both images; batch normalisation counts them as one mini-batch.
            return keras.layers.Flatten(name="joined")(self.arm(pair))
        one, other = (
            keras.layers.Flatten(name=name)(
                keras.layers.Cropping1D(cropped, name=f"take_{name}")(pair)
            )
            for name, cropped in (("first_image", (0, 1)), ("second_image", (1, 0)))
        )
        outputs = [self.arm(one), self.arm(other, prefix="other_")]
        return keras.layers.Concatenate(name="joined")(outputs)

    def probabilities(self, hidden: Any, *, n_classes: int) -> Any:
        """The softmax output."""
        outputs = self._dense(n_classes, "glorot_uniform", "probabilities", activation="softmax")
        return outputs(hidden)

    def same_or_different(self, hidden: Any) -> Any:
        """A hidden layer and one logistic output, as probabilities of `different` and `same`."""
        joint = self._dense(self.variant.joint_units, self.variant.kernel_initializer, "joint")
        hidden = self._activation("joint_activation", joint(hidden))
        logit = self._dense(1, "glorot_uniform", "logit")(hidden)
        # The logistic function of a logit is the softmax of 0 and the logit.
        logits = keras.layers.Reshape((1, 1), name="as_sequence")(logit)
        logits = keras.layers.ZeroPadding1D((1, 0), name="after_zero")(logits)
        logits = keras.layers.Flatten(name="logits")(logits)
        return keras.layers.Activation("softmax", name="probabilities")(logits)

    def _hidden_layer(self, number: int, hidden: Any, *, prefix: str) -> Any:
        """A hidden layer and what follows it."""
        variant = self.variant
        trainable = number > variant.frozen_layers
        name, initializer = f"{prefix}dense_{number}", variant.kernel_initializer
        hidden = self._dense(variant.units, initializer, name, trainable=trainable)(hidden)
        if variant.batch_normalization:
            name = f"{prefix}batch_normalization_{number}"
            # Where it is not trainable, it is in inference mode.
            hidden = keras.layers.BatchNormalization(name=name, trainable=trainable)(hidden)
        hidden = self._activation(f"{prefix}activation_{number}", hidden)
        if variant.dropout and (variant.dropout_layers == "all" or number == variant.hidden_layers):
            kinds = {"alpha": self.layers.AlphaDropout, "standard": self.layers.Dropout}
            seed = int(next(self.seeds) >> 1)  # Keras reads the seed, a uint32, through an int32.
            name = f"{prefix}dropout_{number}"
            dropout = kinds[variant.dropout](variant.dropout_rate, seed=seed, name=name)
            hidden = dropout(hidden)
        return hidden

    def _dense(self, units: int, initializer: str, name: str, **named: Any) -> keras.layers.Layer:
        described = {"class_name": initializer, "config": {"seed": int(next(self.seeds))}}
        kind = "a random Keras initializer, such as he_normal or lecun_normal"
        with self._refused_if_unknown("kernel_initializer", kind, dir(keras.initializers)):
            kernel_initializer = keras.initializers.get(described)
        return self.layers.Dense(units, kernel_initializer=kernel_initializer, name=name, **named)

    def _activation(self, name: str, hidden: Any) -> Any:
        kind = "a Keras activation, such as elu, selu, relu, swish, gelu or tanh"
        with self._refused_if_unknown("activation", kind, dir(keras.activations)):
            return self.layers.Activation(self.variant.activation, name=name)(hidden)

    @contextmanager
    def _refused_if_unknown(self, setting: str, kind: str, names: list[str]) -> Iterator[None]:
        """Turn what Keras says of a name that it does not know, or cannot use, into a refusal."""
        try:
            yield
        except (KeyError, TypeError, ValueError) as error:
            name = getattr(self.variant, setting)
            known = [one for one in names if not one.startswith("_")]
            meant = did_you_mean(name, known) if name not in known else ""
            raise InputError(
                f"{setting} of variant '{self.variant.name}'",
                expected=kind,
                received=repr(name),
                action=meant or "Correct it where the variant is declared.",
            ) from error
