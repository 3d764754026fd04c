"""Encoded pictures to pixels: decoding as Pillow does it, and the resize and crop that CLIP models see.

Everything here is reproduced bit for bit from plain Pillow, because a vector in a user's index depends on it.
The functions may be called from several threads at once.
"""

import math
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from transforms import pillow

MAX_RESIZED_PIXELS = 50_000_000
"""A very long picture grows beyond this when its short side is scaled up: then only the crop is computed."""

Pair = tuple[int, int]


class ResizeMode(StrEnum):
    """How a picture becomes a square: scaled by its short side and cropped, or without keeping its aspect."""

    SHORTEST = "shortest"
    SQUASH = "squash"


class Interpolation(StrEnum):
    """Pillow's filters, by the names that `preprocess_cfg.json` uses."""

    BICUBIC = "bicubic"
    BILINEAR = "bilinear"
    LANCZOS = "lanczos"
    NEAREST = "nearest"

    @property
    def resampling(self) -> Image.Resampling:
        return Image.Resampling[self.name]


def decode(data: bytes, max_pixels: int) -> NDArray[np.uint8]:
    """Decode an encoded picture: `to_array(open_rgb(data, max_pixels))`.

    Returns:
        Read-only array (height, width, 3), uint8, RGB.

    Raises:
        InputError: as `open_rgb`.
    """
    return to_array(open_rgb(data, max_pixels))


def open_rgb(data: bytes, max_pixels: int) -> Image.Image:
    """Decode the first frame of an encoded picture to RGB, as Pillow's `convert("RGB")` gives it.

    Alpha is dropped, not blended. EXIF orientation is ignored (Pillow itself applies the orientation tag of
    TIFF files, and so does this). No file is opened and no program is started.

    Args:
        data: a file of any format that Pillow opens, but for those in `pillow.NOT_READ`.
        max_pixels: limit of width * height; checked on the header, before anything is decoded.

    Returns:
        A loaded image of mode RGB.

    Raises:
        InputError: empty, not a picture, truncated or corrupt, or over the limit; the message says which.
    """
    with pillow.opened(data, max_pixels) as image:
        image.load()
        return image if image.mode == "RGB" else image.convert("RGB")


def to_array(image: Image.Image) -> NDArray[np.uint8]:
    """Pixels of an RGB image: read-only array (height, width, 3), uint8."""
    return np.asarray(image, dtype=np.uint8)


def clip_pixels(
    image: Image.Image, size: int, *, resize_mode: str = "shortest", interpolation: str = "bicubic"
) -> NDArray[np.uint8]:
    """Scale and crop an RGB image to the square that a CLIP model sees.

    Args:
        image: RGB, any size.
        size: side of the square in pixels.
        resize_mode: a `ResizeMode`; `shortest` scales the short side to `size` and crops the long one.
        interpolation: an `Interpolation`.

    Returns:
        Read-only array (size, size, 3), uint8, RGB, not normalised.

    Raises:
        ValueError: unknown mode or interpolation.
    """
    resampling = Interpolation(interpolation).resampling
    match ResizeMode(resize_mode):
        case ResizeMode.SHORTEST:
            return to_array(_resize_and_crop(image, size, resampling))
        case ResizeMode.SQUASH:
            return to_array(_squash(image, size, resampling))


def resize(image: Image.Image, size: Pair, resampling: Image.Resampling) -> Image.Image:
    """Scale an image to (width, height), across first and then down, whatever Pillow's version.

    Pillow up to 12 always scales in this order; Pillow 13 takes the other one for tall pictures (phone
    screenshots among them), which changes pixels, and with them vectors, because the step between is 8 bits.
    Source: https://github.com/python-pillow/Pillow/pull/9549
    """
    return _resize_rows(image, size[0], resampling).resize(size, resampling)


def _resize_rows(image: Image.Image, width: int, resampling: Image.Resampling) -> Image.Image:
    return image.resize((width, image.height), resampling)


def _resize_and_crop(image: Image.Image, size: int, resampling: Image.Resampling) -> Image.Image:
    across, down = image.size
    # The truncations are the original's: rounding moves the crop by a pixel and every vector with it.
    if across < down:
        width, height = size, int((down / across) * size)
    else:
        width, height = int((across / down) * size), size
    left, top = int(width / 2 - size / 2), int(height / 2 - size / 2)
    if width * height > MAX_RESIZED_PIXELS:
        return _resize_part(image, (width, height), (left, top), size, resampling)
    # As `resize` and then the crop, without the rows and columns of the step between that the crop does not reach.
    low, high, *_ = _source_span(top, size, down, height)
    seen = image.crop((0, low, image.width, high)) if high - low < image.height else image
    rows = _resize_rows(seen, width, resampling).crop((left, 0, left + size, seen.height))
    between = Image.new("RGB", (size, image.height))
    between.paste(rows, (0, low))
    resized = between.resize((size, height), resampling)
    return resized.crop((0, top, size, top + size))


def _resize_part(
    image: Image.Image, whole: Pair, corner: Pair, size: int, resampling: Image.Resampling
) -> Image.Image:
    """The square at `corner` of `image.resize(whole)`, without the rest of it; rarely a pixel is off by one.

    The source is cut near the square first: Pillow keeps the box of a resize in float32, which is too coarse
    for positions far from zero.
    """
    left, right, x_begin, x_end = _source_span(corner[0], size, image.width, whole[0])
    top, bottom, y_begin, y_end = _source_span(corner[1], size, image.height, whole[1])
    part = image.crop((left, top, right, bottom))
    part = part.resize((size, part.height), resampling, box=(x_begin, 0, x_end, part.height))
    return part.resize((size, size), resampling, box=(0, y_begin, size, y_end))


def _source_span(start: int, size: int, source: int, target: int) -> tuple[int, int, float, float]:
    """On one axis: the pixels to cut from the source (low, high), and the box (begin, end) within the cut."""
    scale = source / target
    margin = math.ceil(3 * max(scale, 1)) + 1  # Lanczos, the widest filter, reaches 3 pixels
    begin, end = start * scale, (start + size) * scale
    low, high = max(0, math.floor(begin) - margin), min(source, math.ceil(end) + margin)
    return low, high, begin - low, min(end - low, high - low)


def _squash(image: Image.Image, size: int, resampling: Image.Resampling) -> Image.Image:
    if size * image.height > MAX_RESIZED_PIXELS and image.width < size:  # down first: less on the way
        image = image.resize((image.width, size), resampling)
    return resize(image, (size, size), resampling)
