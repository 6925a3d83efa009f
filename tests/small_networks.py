"""Small networks of variants on images of 8 x 8 pixels, and such images."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np

from pipeline.comparisons import Variant
from pipeline.training.models import build_model

IMAGE_SHAPE = (8, 8, 3)
MEAN = np.linspace(100, 150, 192, dtype=np.float32)
VARIANCE = np.linspace(900, 2500, 192, dtype=np.float32)


def small(variant: Variant, **changes: Any) -> Variant:
    return dataclasses.replace(variant, **{"hidden_layers": 3, "units": 16} | changes)


def build(
    variant: Variant,
    *,
    seed: int = 1,
    for_training: bool = False,
    image_shape: tuple[int, ...] = IMAGE_SHAPE,
) -> keras.Model:
    shape, n_classes = (image_shape, 4) if variant.arms == "one" else ((2, *image_shape), 2)
    features = np.prod(image_shape)
    splits: Any = SimpleNamespace(
        image_shape=shape, n_classes=n_classes, mean=MEAN[:features], variance=VARIANCE[:features]
    )
    return build_model(variant, splits, seed=seed, for_training=for_training)


def standard_images(n: int) -> np.ndarray:
    """Images whose standardised features are nearly standard normal."""
    noise = np.random.default_rng(7).normal(size=(n, MEAN.size))
    return np.clip(MEAN + noise * np.sqrt(VARIANCE), 0, 255).astype(np.uint8).reshape(n, 8, 8, 3)


def standardized(images: np.ndarray) -> np.ndarray:
    return (images.reshape(len(images), -1) - MEAN) / np.sqrt(VARIANCE)


def pairs(n: int) -> np.ndarray:
    return standard_images(2 * n).reshape(n, 2, *IMAGE_SHAPE)
