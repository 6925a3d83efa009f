"""How long a prediction takes: what it costs the processor, once it is compiled and warm."""

import time

import numpy as np
import pytest

from pipeline.work.inference import BATCH, microseconds


def work(seconds: float) -> None:
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


def test_it_is_the_processors_time_per_image_without_the_first_prediction() -> None:
    called: list[int] = []

    def predict(images: np.ndarray) -> None:
        called.append(len(images))
        time.sleep(0.01)
        work(0.2 if len(called) == 1 else 0.002)

    found = microseconds(predict, np.zeros((250, 2, 2, 1), np.uint8))
    assert found == pytest.approx(1e6 * 0.002 / BATCH, rel=0.2)
    assert called == [1, *[BATCH] * (len(called) - 1)]


def test_a_slow_prediction_is_timed_once_and_few_images_are_enough() -> None:
    called: list[int] = []

    def predict(images: np.ndarray) -> None:
        called.append(len(images))
        work(0.11)

    assert microseconds(predict, np.zeros((7, 2, 2, 1), np.uint8)) > 1e6 * 0.11 / 7
    assert called == [1, 7]
