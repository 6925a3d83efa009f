"""Activations: what is declared as text, as layers and operations that Keras loads anywhere."""

from functools import lru_cache, partial
from typing import Any

import keras
import numpy as np

from pipeline.comparisons.expressions import evaluated, mentions
from pipeline.training.keras_objects import declarable, refused_if_unknown

EXPECTED = "a Keras activation, such as elu, prelu or leaky_relu(negative_slope=0.1), or "
EXPECTED += "arithmetic of x that keeps its shape, such as x * sigmoid(x)"
_FUNCTIONS = declarable(keras.ops) | declarable(keras.activations)


def activated(
    text: str,
    hidden: Any,
    layers: Any,
    *,
    name: str,
    subject: str,
    trainable: bool = True,
    least: float = -np.inf,
) -> Any:
    """What an activation makes of what the layer before gives.

    Args:
        text: what is declared.
        hidden: what the layer before gives.
        layers: where the layer `Activation` is found, `xla` or `keras.layers`.
        name: of the layer that gives the activations, the last where there are several.
        subject: of a refusal.
        trainable: whether weights of the activation are trained.
        least: what it may give, at least.

    Raises:
        InputError: if Keras has no such function, it takes no such settings, or it gives numbers
            that are too low or not finite, or not one for every number.
    """

    with refused_if_unknown(subject, EXPECTED, text, [*declarable(keras.activations), "prelu"]):
        _check(text, least)
        outputs = _outputs(text, hidden, layers, name=name, trainable=trainable)
    is_named = outputs._keras_history.operation.name == name
    return outputs if is_named else keras.layers.Activation("linear", name=name)(outputs)


def _outputs(text: str, hidden: Any, layers: Any, **named: Any) -> Any:
    def prelu(**settings: Any) -> keras.layers.Layer:
        # Both images of a pair have the slopes of the unit.
        shared = tuple(range(1, len(hidden.shape) - 1)) or None
        return keras.layers.PReLU(**{"shared_axes": shared} | named | settings)

    if hasattr(keras.activations, text):
        return layers.Activation(text, name=named["name"])(hidden)
    if mentions(text, "x"):
        return evaluated(text, value={"x": hidden}.__getitem__, function=_FUNCTIONS.__getitem__)
    made: Any = evaluated(
        text,
        value=lambda one: prelu() if one == "prelu" else _FUNCTIONS[one],
        function=lambda one: prelu if one == "prelu" else partial(partial, _FUNCTIONS[one]),
    )
    return made(hidden)


@lru_cache  # there is one in every layer
def _check(text: str, least: float) -> None:
    """Compute an activation of some numbers, whatever that may raise."""
    hidden = keras.Input((20,))
    outputs = _outputs(text, hidden, keras.layers, name="example", trainable=True)
    examples = np.random.default_rng(0).normal(0, 5, (20, 20)).astype(np.float32)
    # A layer says that it keeps the shape whatever its function does.
    for given, made in ((hidden, outputs), (examples, keras.Model(hidden, outputs)(examples))):
        if (made.shape, keras.backend.standardize_dtype(made.dtype)) != (given.shape, "float32"):
            raise ValueError(f"it gives {made.dtype} of shape {made.shape}")
    if not np.isfinite(made).all():
        raise ValueError("it gives numbers that are not finite")
    if np.min(made) < least:
        raise ValueError(f"it gives numbers below {least:g}")
