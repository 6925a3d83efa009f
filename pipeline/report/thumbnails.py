"""Test images as small pictures inside the page, and what they were taken for in words."""

import base64
import io

import numpy as np
from PIL import Image  # Matplotlib depends on it

from pipeline.data.splits import side_by_side

LARGEST, COLORS = 48, 64  # pixels; and colours, which make a third of the bytes of all


def picture(image: np.ndarray) -> np.ndarray:
    """A uint8 image of shape (height, width, channels), or a pair of such side by side."""
    return side_by_side(image) if image.ndim == 4 else image


def data_uri(image: np.ndarray) -> str:
    """A uint8 image of shape (height, width, channels), or a pair, as the address of a PNG."""
    image = picture(image)
    channels = image.shape[-1]
    shown = Image.fromarray(np.ascontiguousarray(image[..., 0] if channels < 3 else image[..., :3]))
    shown.thumbnail((LARGEST, LARGEST))
    if channels >= 3:
        shown = shown.quantize(COLORS)
    buffer = io.BytesIO()
    shown.save(buffer, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def taken_for(true: str, guess: str, share: float) -> str:
    """What an image is and what a model takes it for, with the probability that it gives."""
    how = "recognised" if guess == true else f"taken for {guess}"
    sure = "over 99%" if share > 0.995 else f"{share:.0%}"
    return f"{true}, {how} ({sure})"
