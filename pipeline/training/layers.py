"""The parts of a network - hidden layers, arms, outputs - each from what the one before gives."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from pipeline.comparisons import Variant
from pipeline.comparisons.variants import default_setting
from pipeline.training.activations import activated
from pipeline.training.keras_objects import keras_object, refused_if_unknown

INITIALIZER = "an initializer of Keras, such as he_normal or random_normal(stddev=0.01)"
REGULARIZER = "a regularizer of Keras, such as l1(0.0001), or none"
LEAST = 1e-30  # added to outputs before they are divided by their sum, which may be 0


def shares(outputs: Any) -> Any:
    """Outputs divided by their sum, (n, classes)."""
    outputs = outputs + LEAST
    return outputs / keras.ops.sum(outputs, axis=-1, keepdims=True)


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

    def convolution(self, features: Any, image_shape: tuple[int, ...]) -> Any:
        """The features of images, or what a convolution makes of them, where there is one."""
        filters = self.variant.convolution_filters
        if not filters:
            return features
        images = keras.layers.Reshape(image_shape, name="as_image")(features)
        layer = self.layers.Conv2D(
            filters,
            3,
            activation="relu",
            kernel_initializer=keras.initializers.HeNormal(seed=int(next(self.seeds))),
            kernel_regularizer=self._regularizer(),
            trainable=not self.variant.frozen_layers,
            name="convolution",
        )
        expected = "0, or images of at least 3 x 3 pixels"
        made = self._applied(layer, images, "convolution_filters", expected)
        return keras.layers.Flatten(name="flatten_convolution")(made)

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
        """The softmax output; or another, whose outputs are divided by their sum."""
        initializer = "output_initializer"
        if self.variant.output_activation == default_setting("output_activation"):
            named: Any = {"name": "probabilities", "activation": "softmax"}
            return self._dense(hidden, n_classes, initializer, **named)
        logits = self._dense(hidden, n_classes, initializer, name="logits")
        # Other losses are computed of these: Keras finds the logits of a sigmoid's outputs.
        outputs = self._activation("output_activation", "outputs", logits, least=0.0)
        return keras.layers.Activation("linear", name="probabilities")(shares(outputs))

    def same_or_different(self, hidden: Any) -> Any:
        """A hidden layer and one logistic output, as probabilities of `different` and `same`."""
        joint = self._dense(hidden, self.variant.joint_units, name="joint")
        hidden = self._activation("activation", "joint_activation", joint)
        logit = self._dense(hidden, 1, "output_initializer", name="logit")
        # The logistic function of a logit is the softmax of 0 and the logit.
        logits = keras.layers.Reshape((1, 1), name="as_sequence")(logit)
        logits = keras.layers.ZeroPadding1D((1, 0), name="after_zero")(logits)
        logits = keras.layers.Flatten(name="logits")(logits)
        return keras.layers.Activation("softmax", name="probabilities")(logits)

    def _hidden_layer(self, number: int, hidden: Any, *, prefix: str) -> Any:
        """A hidden layer and what follows it."""
        variant = self.variant
        trainable = number > variant.frozen_layers
        name = f"{prefix}dense_{number}"
        hidden = self._dense(hidden, variant.units, name=name, trainable=trainable)
        activation = partial(
            self._activation, "activation", f"{prefix}activation_{number}", trainable=trainable
        )
        parts: list[Callable[[Any], Any]] = [activation]
        if variant.batch_normalization:
            name = f"{prefix}batch_normalization_{number}"
            # Where it is not trainable, it is in inference mode.
            normalization = keras.layers.BatchNormalization(name=name, trainable=trainable)
            parts.insert(variant.normalization_place == "after", normalization)
        for part in parts:
            hidden = part(hidden)
        if variant.dropout and (variant.dropout_layers == "all" or number == variant.hidden_layers):
            kinds = {"alpha": self.layers.AlphaDropout, "standard": self.layers.Dropout}
            seed = int(next(self.seeds) >> 1)  # Keras reads the seed, a uint32, through an int32.
            name = f"{prefix}dropout_{number}"
            dropout = kinds[variant.dropout](variant.dropout_rate, seed=seed, name=name)
            hidden = dropout(hidden)
        return hidden

    def _dense(
        self, hidden: Any, units: int, initializer: str = "kernel_initializer", **named: Any
    ) -> Any:
        """What a dense layer makes of what the one before gives."""
        shape, seed = (hidden.shape[-1], units), int(next(self.seeds))
        named |= {"kernel_initializer": self._initializer(initializer, shape, seed)}
        if initializer == "kernel_initializer":
            # Never the seed of the kernel: the same numbers would be drawn.
            of_biases = int(np.random.SeedSequence(seed).generate_state(1)[0])
            biases = self._initializer("bias_initializer", (units,), of_biases)
            with self._refused_if_unusable("bias_initializer", INITIALIZER):
                biases((units,))
            named["bias_initializer"] = biases
        layer = self.layers.Dense(units, kernel_regularizer=self._regularizer(), **named)
        return self._applied(layer, hidden, initializer, INITIALIZER)

    def _applied(self, layer: Any, hidden: Any, setting: str, expected: str) -> Any:
        """What a layer makes of what the one before gives; refused where its weights cannot be."""
        with self._refused_if_unusable(setting, expected):
            outputs = layer(hidden)
        if layer.kernel_regularizer:
            with self._refused_if_unusable("kernel_regularizer", REGULARIZER):
                layer.kernel_regularizer(layer.kernel)
        return outputs

    def _initializer(self, setting: str, shape: tuple[int, ...], seed: int) -> Any:
        def equal(initializer: Callable[[tuple[int, ...]], Any]) -> Any:
            return keras.initializers.Constant(float(np.ravel(initializer(shape))[0]))

        named: dict[str, Any] = {"own": {"equal": equal}, "seed": seed}
        return self._keras_object(setting, INITIALIZER, keras.initializers, **named)

    def _regularizer(self) -> Any:
        if not self.variant.kernel_regularizer:
            return None
        return self._keras_object("kernel_regularizer", REGULARIZER, keras.regularizers)

    def _keras_object(self, setting: str, expected: str, module: Any, **named: Any) -> Any:
        named |= {"subject": self._subject(setting), "expected": expected}
        return keras_object(getattr(self.variant, setting), module, **named)

    def _activation(self, setting: str, name: str, hidden: Any, **named: Any) -> Any:
        text, subject = getattr(self.variant, setting), self._subject(setting)
        return activated(text, hidden, self.layers, name=name, subject=subject, **named)

    def _refused_if_unusable(self, setting: str, expected: str) -> AbstractContextManager[None]:
        text = str(getattr(self.variant, setting))
        return refused_if_unknown(self._subject(setting), expected, text, [])

    def _subject(self, setting: str) -> str:
        return f"{setting} of variant '{self.variant.name}'"
