"""Encoded pictures to pixels: decoding as Pillow does it, and the resize and crop that CLIP models see.

Everything here is reproduced bit for bit from plain Pillow, because a vector in a user's index depends on it.
The functions may be called from several threads at once.
"""

from contextlib import suppress
from enum import StrEnum

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from transforms import pillow
from transforms.resample import Interpolation, Part, resize

MAX_SCALED_BYTES = 150_000_000
"""A very tall picture grows beyond this when it is squashed across first; then it is scaled down first."""


class ResizeMode(StrEnum):
    """How a picture becomes a square: scaled by its short side and cropped, or without keeping its aspect."""

    SHORTEST = "shortest"
    SQUASH = "squash"


def decode(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Decode the first frame of an encoded picture to RGB, as Pillow's `convert("RGB")` gives it.

    Alpha is dropped, not blended. EXIF orientation is ignored (Pillow itself applies the orientation tag of
    TIFF files, and so does this). No file is opened and no program is started.

    Args:
        data: a file of any format that Pillow opens, but for those in `pillow.NOT_READ`.
        max_pixels: limit of width * height; checked on the header, before anything is decoded.

    Returns:
        Array (height, width, 3), uint8, RGB.

    Raises:
        InputError: empty, not a picture, truncated or corrupt, or over the limit; the message says which.
    """
    with pillow.opened(data, max_pixels) as image:
        if image.format == "JPEG" and image.mode in ("RGB", "L"):
            with suppress(ValueError):  # it warns of something: Pillow knows what that is worth
                return np.asarray(simplejpeg.decode_jpeg(data), np.uint8)
        image.load()
        rgb = image if image.mode == "RGB" else image.convert("RGB")
    return np.asarray(rgb, np.uint8)


def clip_pixels(
    pixels: NDArray[np.uint8], size: int, *, resize_mode: str = "shortest", interpolation: str = "bicubic"
) -> NDArray[np.uint8]:
    """Scale and crop a picture to the square that a CLIP model sees.

    Args:
        pixels: uint8 (h, w, 3), RGB, any size.
        size: side of the square in pixels.
        resize_mode: a `ResizeMode`; `shortest` scales the short side to `size` and crops the long one.
        interpolation: an `Interpolation`.

    Returns:
        Array (size, size, 3), uint8, RGB, not normalised.

    Raises:
        ValueError: unknown mode or interpolation.
    """
    match ResizeMode(resize_mode):
        case ResizeMode.SHORTEST:
            return _scale_and_crop(pixels, size, Interpolation(interpolation))
        case ResizeMode.SQUASH:
            return _squash(pixels, size, Interpolation(interpolation))


def _scale_and_crop(pixels: NDArray[np.uint8], size: int, interpolation: Interpolation) -> NDArray[np.uint8]:
    down, across = pixels.shape[:2]
    # The truncations are the original's: rounding moves the crop by a pixel and every vector with it.
    if across < down:
        width, height = size, int((down / across) * size)
    else:
        width, height = int((across / down) * size), size
    square = Part(top=int(height / 2 - size / 2), left=int(width / 2 - size / 2), height=size, width=size)
    return resize(pixels, (width, height), interpolation, square)


def _squash(pixels: NDArray[np.uint8], size: int, interpolation: Interpolation) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    if width < size and size * height * 3 > MAX_SCALED_BYTES:
        pixels = resize(pixels, (width, size), interpolation)
    return resize(pixels, (size, size), interpolation)
