"""Small pictures made by code, encoded as a user would send them."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Pixels (height, width, 3), uint8: no two seeds alike."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def encode(picture: Image.Image | NDArray[np.uint8], form: str) -> bytes:
    """A file of the form `PNG` or `JPEG`."""
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(buffer, form)
    return buffer.getvalue()


def png(height: int, width: int, seed: int = 0) -> bytes:
    """`noise` without loss."""
    return encode(noise(height, width, seed), "PNG")


def jpeg(height: int, width: int, seed: int = 0) -> bytes:
    """`noise` as a JPEG."""
    return encode(noise(height, width, seed), "JPEG")
