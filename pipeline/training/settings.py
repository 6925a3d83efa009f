"""Whether Keras has what variants declare, before any of them is trained."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count

import keras
import numpy as np

from pipeline.comparisons import Variant
from pipeline.training.layers import Parts
from pipeline.training.optimizers import loss_of, optimizer_of

FEATURES, CLASSES = 2, 2  # of a network that is as small as can be
LEARNING_RATE = 0.001


def refuse_unknown(variants: Sequence[Variant]) -> None:
    """Make of each variant what its text settings name: of the network the parts alone.

    Raises:
        InputError: if Keras has no such activation, initializer, regularizer, loss or optimizer,
            or it cannot be used as declared.
    """
    for declared in variants:
        # One layer is as telling as twenty; those that take layers of another have what it has.
        variant = declared if declared.starts_from else replace(declared, hidden_layers=1)
        parts = Parts(variant=variant, layers=keras.layers, seeds=map(np.uint32, count(1)))
        optimizer_of(variant, LEARNING_RATE)
        loss_of(variant, CLASSES)
        parts.probabilities(parts.arm(keras.Input((FEATURES,))), n_classes=CLASSES)
