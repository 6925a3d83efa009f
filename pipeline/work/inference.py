"""How long a prediction takes: CPU time per image, of a graph that is compiled and warm."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

BATCH = 100  # images of one prediction
MOST, SECONDS = 50, 0.1  # how often it is timed, and after how long no more


def inference_microseconds(model: "keras.Model", images: np.ndarray) -> float:
    """Of a model's own prediction, without dropout."""
    import tensorflow as tf

    # Not jit_compile, which MC Dropout cannot have: the two are compared.
    image = tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype)
    predict = tf.function(lambda batch: model(batch, training=False), input_signature=[image])
    return microseconds(predict, images)


def microseconds(predict: Callable[[np.ndarray], Any], images: np.ndarray) -> float:
    """CPU time of a prediction per image: the median, after one that is not counted."""
    batch = np.asarray(images[:BATCH])
    predict(batch[:1])
    seconds: list[float] = []
    while len(seconds) < MOST and sum(seconds) < SECONDS:
        began = time.process_time()
        predict(batch)
        seconds.append(time.process_time() - began)
    return 1e6 * float(np.median(seconds)) / len(batch)
