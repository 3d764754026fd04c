"""Small pictures made by code, encoded as a user would send them."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Pixels (height, width, 3), uint8: no two seeds alike."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def png(height: int, width: int, seed: int = 0) -> bytes:
    """`noise` without loss."""
    buffer = io.BytesIO()
    Image.fromarray(noise(height, width, seed)).save(buffer, "PNG")
    return buffer.getvalue()


def jpeg(height: int, width: int, seed: int = 0) -> bytes:
    """`noise` as a JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(noise(height, width, seed)).save(buffer, "JPEG")
    return buffer.getvalue()
