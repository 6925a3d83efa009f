"""How long a prediction takes: what it costs the processor, once it is compiled and warm."""

import time
from typing import Any

import numpy as np
import pytest

from pipeline.work.inference import BATCH, inference_microseconds, microseconds


def work(seconds: float) -> None:
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


def test_it_is_the_processors_time_per_image_without_the_first_prediction() -> None:
    called: list[int] = []

    def predict(images: np.ndarray) -> None:
        called.append(len(images))
        time.sleep(0.01)
        work({1: 0.2, 2: 0.05}.get(len(called), 0.002))  # one that is slow decides nothing

    found = microseconds(predict, np.zeros((250, 2, 2, 1), np.uint8))
    assert found == pytest.approx(1e6 * 0.002 / BATCH, rel=0.2)
    assert called == [1, *[BATCH] * (len(called) - 1)]


def test_a_fast_prediction_is_timed_fifty_times() -> None:
    called: list[int] = []
    microseconds(lambda images: called.append(len(images)), np.zeros((7, 2, 2, 1), np.uint8))
    assert called == [1, *[7] * 50]


def test_a_model_predicts_without_dropout_in_one_graph_for_any_number_of_images() -> None:
    import keras

    traced: list[tuple[Any, ...]] = []

    class Told(keras.layers.Layer):
        def call(self, images: Any, training: Any = None) -> Any:
            traced.append((tuple(images.shape), training))
            return images

    image = keras.Input((2, 2, 1), dtype="uint8")
    model = keras.Model(image, Told(dtype="uint8")(image))
    traced.clear()
    assert inference_microseconds(model, np.zeros((250, 2, 2, 1), np.uint8)) > 0
    assert traced == [((None, 2, 2, 1), False)]


def test_a_slow_prediction_is_timed_once_and_few_images_are_enough() -> None:
    called: list[int] = []

    def predict(images: np.ndarray) -> None:
        called.append(len(images))
        work(0.11)

    assert microseconds(predict, np.zeros((7, 2, 2, 1), np.uint8)) > 1e6 * 0.11 / 7
    assert called == [1, 7]
