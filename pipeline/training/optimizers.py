"""The optimizer of a variant, and what it minimises, from their declarations."""

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from pipeline.base import InputError
from pipeline.comparisons import Variant
from pipeline.comparisons.expressions import called_name
from pipeline.comparisons.variants import default_setting
from pipeline.training.keras_objects import keras_object, refused_if_unknown
from pipeline.training.layers import shares
from pipeline.training.schedules import OneCycle
from pipeline.training.xla import Nadam

CROSS_ENTROPY = default_setting("loss")
PLAIN = "cross_entropy"  # the metric of that, where something else is minimised
Loss: TypeAlias = str | Callable[..., Any]  # what `compile` takes


def optimizer_of(variant: Variant, learning_rate: float | OneCycle) -> keras.optimizers.Optimizer:
    """The optimizer of a variant at a learning rate, or with a schedule of it.

    Raises:
        InputError: if Keras has no such optimizer, it takes no such settings, or the learning rate
            is one of them.
    """
    subject = f"optimizer of variant '{variant.name}'"
    if re.search(r"\blearning_rate\s*=", variant.optimizer):
        raise InputError(
            subject,
            expected="no learning rate, which is searched",
            received=repr(variant.optimizer),
            action="Give it as the variant's learning_rate.",
        )
    expected = "an optimizer of Keras, such as nadam, adam or sgd(momentum=0.9)"
    made: keras.optimizers.Optimizer = keras_object(
        variant.optimizer,
        keras.optimizers,
        kind=keras.optimizers.Optimizer,
        subject=subject,
        expected=expected,
        own={"nadam": Nadam},
        learning_rate=learning_rate,
    )
    return made


def loss_of(variant: Variant, n_classes: int) -> Loss:
    """What a variant minimises, of labels and outputs.

    Raises:
        InputError: if Keras has no such loss, or it cannot be computed of these.
    """
    text = variant.loss
    if text == CROSS_ENTROPY:
        return _cross_entropy(variant)
    subject = f"loss of variant '{variant.name}'"
    expected = "a loss of Keras for classes, such as categorical_crossentropy(label_smoothing=0.1)"
    loss = keras_object(text, keras.losses, subject=subject, expected=expected)

    def of_labels(labels: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        # Keras hands labels on as floating-point numbers.
        return loss(tf.one_hot(tf.cast(labels, tf.int32), n_classes), probabilities)

    takes_labels = called_name(text).startswith("sparse")
    minimised = loss if takes_labels else of_labels
    with refused_if_unknown(subject, expected, text, [called_name(text)]):
        examples = np.full((2, n_classes), 1 / n_classes, np.float32)
        if minimised(np.zeros(2, np.float32), examples).shape not in ((), (2,)):
            raise ValueError("it is not one number for each image")
    return minimised


def metrics_of(variant: Variant) -> list[Any]:
    """What is told of an epoch besides what is minimised."""
    if variant.loss == CROSS_ENTROPY and not variant.kernel_regularizer:
        return ["accuracy"]
    of = keras.losses.get(_cross_entropy(variant))
    return ["accuracy", keras.metrics.MeanMetricWrapper(of, name=PLAIN)]


def _cross_entropy(variant: Variant) -> Loss:
    """The cross-entropy of the labels, of what a variant's network puts out."""
    if variant.output_activation == default_setting("output_activation"):
        return CROSS_ENTROPY
    # Keras would take the logits of sigmoids for those of a softmax, and numbers above 1 for 1.
    return lambda labels, outputs: keras.losses.sparse_categorical_crossentropy(
        labels, shares(outputs)
    )
