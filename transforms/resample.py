"""Scaling RGB pictures as Pillow does, bit for bit, several times as fast, and no more of them than is wanted."""

from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from transforms import kernels


class Interpolation(StrEnum):
    """Pillow's filters, by the names that `preprocess_cfg.json` uses, in the order in which the kernels know them."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"
    NEAREST = "nearest"


class Part(NamedTuple):
    """A rectangle within a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


def resize(
    pixels: NDArray[np.uint8],
    size: tuple[int, int],
    interpolation: Interpolation,
    part: Part | None = None,
) -> NDArray[np.uint8]:
    """Scale a picture, across first and then down, whatever Pillow's version.

    Pillow up to 12 always scales in this order; Pillow 13 takes the other one for tall pictures (phone
    screenshots among them), which changes pixels, and with them vectors, because the step between is 8 bits.

    Args:
        pixels: uint8 (h, w, 3).
        size: (width, height) of the whole scaled picture, in pixels.
        interpolation: the filter.
        part: what is wanted of the scaled picture, within it; without one, all.

    Returns:
        uint8 (h', w', 3).

    Raises:
        ValueError: the picture is empty or not what is said above, or the part is empty or not within it.
        MemoryError: out of memory.

    Source: https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c and pull request 9549
    """
    width, height = size
    part = part or Part(0, 0, height, width)
    if not (
        0 <= part.top < part.top + part.height <= height and 0 <= part.left < part.left + part.width <= width
    ):
        raise ValueError(f"{part} is not within a picture of {width} x {height}")
    source, scaled = kernels.as_source(pixels), np.empty((part.height, part.width, 3), np.uint8)
    number = list(Interpolation).index(interpolation)
    if not kernels.load().resize(source, *source.shape[:2], height, width, *part, number, scaled):
        raise MemoryError(f"no memory to scale a picture to {width} x {height}")
    return scaled
