"""Small pictures in the page itself, and what is said below them."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from pipeline.report.thumbnails import LARGEST, data_uri, taken_for


def opened(address: str) -> np.ndarray:
    assert address.startswith("data:image/png;base64,")
    content = base64.b64decode(address.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_picture_shows_the_image_in_grey_or_colour(channels: int) -> None:
    image = np.zeros((8, 6, channels), np.uint8)
    image[:4, :, 0] = 200
    shown = opened(data_uri(image))
    assert shown.shape == (8, 6, 3)
    top = [200, 0, 0] if channels > 2 else [200] * 3
    np.testing.assert_allclose(shown[0, 0], top, atol=2)
    np.testing.assert_allclose(shown[7, 5], 0, atol=2)


def test_a_pair_is_one_picture() -> None:
    pair = np.stack([np.zeros((8, 6, 1), np.uint8), np.full((8, 6, 1), 200, np.uint8)])
    shown = opened(data_uri(pair))
    assert shown.shape == (8, 13, 3)
    assert [int(shown[4, column, 0]) for column in (0, 6, 12)] == [0, 255, 200]


def test_a_picture_takes_few_bytes_however_large_the_image() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    address = data_uri(noise)
    assert opened(address).shape == (LARGEST, 32, 3)
    assert len(address) < 3000
    assert len(data_uri(noise[:32, :32])) < 2000


def test_what_an_image_is_taken_for_is_said_with_its_probability() -> None:
    assert taken_for("5", "7", 0.312) == "5, taken for 7 (31%)"
    assert taken_for("cat", "cat", 0.5) == "cat, recognised (50%)"
    assert taken_for("cat", "dog", 0.999) == "cat, taken for dog (over 99%)"
