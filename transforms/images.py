"""Encoded pictures to pixels: decoding as Pillow does it, and the resize and crop that CLIP models see.

Everything here is reproduced bit for bit from plain Pillow, because a vector in a user's index depends on it.
The functions may be called from several threads at once.
"""

import io
import logging
import math
import re
import warnings
from contextvars import ContextVar
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from transforms import InputError

NOT_READ = {
    "EPS": "it would need Ghostscript, another program",
    "IPTC": "it may hold a picture of any format, EPS too",
    "MPEG": "it is a video",
    "WMF": "it can only be drawn on Windows",
    "BUFR": "it holds measurements",
    "GRIB": "it holds measurements",
    "HDF5": "it holds measurements",
}
"""Formats that Pillow knows by their header and that are refused here, with the reason."""

MAX_RESIZED_PIXELS = 50_000_000
"""A very long picture grows beyond this when its short side is scaled up: then only the crop is computed."""

Pair = tuple[int, int]

logging.getLogger("PIL").setLevel(logging.CRITICAL)  # it reports what hostile files hold

Image.init()
FORMATS = tuple(name for name in Image.ID if name not in NOT_READ)


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
        data: a file of any format that Pillow opens, but for those in `NOT_READ`.
        max_pixels: limit of width * height; checked on the header, before anything is decoded.

    Returns:
        A loaded image of mode RGB.

    Raises:
        InputError: empty, not a picture, truncated or corrupt, or over the limit; the message says which.
    """
    if not data:
        raise InputError("The picture is empty (0 bytes).")
    _silence_pillow()
    token = _max_pixels.set(max_pixels)
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.load()
            return image if image.mode == "RGB" else image.convert("RGB")
    except InputError:
        raise
    except Exception as error:  # on hostile bytes plugins raise anything, ZeroDivisionError to MemoryError
        raise InputError(_describe_fault(data, error)) from error
    finally:
        _max_pixels.reset(token)


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


def resize(image: Image.Image, size: tuple[int, int], resampling: Image.Resampling) -> Image.Image:
    """Scale an image to (width, height), across first and then down, whatever Pillow's version.

    Pillow up to 12 always scales in this order; Pillow 13 takes the other one for tall pictures (phone
    screenshots among them), which changes pixels, and with them vectors, because the step between is 8 bits.
    Source: https://github.com/python-pillow/Pillow/pull/9549
    """
    width, height = size
    return image.resize((width, image.height), resampling).resize((width, height), resampling)


def _resize_and_crop(image: Image.Image, size: int, resampling: Image.Resampling) -> Image.Image:
    # The truncations are the original's: rounding moves the crop by a pixel and every vector with it.
    if image.width < image.height:
        width, height = size, int((image.height / image.width) * size)
    else:
        width, height = int((image.width / image.height) * size), size
    left, top = int(width / 2 - size / 2), int(height / 2 - size / 2)
    if width * height > MAX_RESIZED_PIXELS:
        return _resize_part(image, (width, height), (left, top), size, resampling)
    resized = resize(image, (width, height), resampling)
    return resized.crop((left, top, left + size, top + size))


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


_max_pixels: ContextVar[int | None] = ContextVar("max_pixels", default=None)
_pillow_bomb_check = Image._decompression_bomb_check


def _check_pixels(size: Pair, **options: bool) -> None:
    """Refuse a picture whose header announces too much.

    Stands in for Pillow's own check, which knows one limit for the whole process and warns before it refuses.
    Pillow's plugins call it for pictures inside pictures too (icons, TIFF tiles), before they decode them.
    Outside `open_rgb` Pillow's own check applies.
    """
    limit = _max_pixels.get()
    if limit is None:
        _pillow_bomb_check(size, **options)
    elif size[0] * size[1] > limit:
        shape = f"{size[0]} x {size[1]} = {size[0] * size[1]}"
        raise InputError(f"The picture has {shape} pixels, over the limit of {limit}.")


Image._decompression_bomb_check = _check_pixels


def _silence_pillow() -> None:
    """Ignore the warnings of Pillow's modules (odd metadata, palettes): nobody could act on them.

    `warnings.catch_warnings` is not safe with threads; a filter that stays is. Each call makes sure of it,
    because others may have put theirs before it.
    """
    if warnings.filters[:1] != [_PILLOW_FILTER]:
        warnings.filterwarnings("ignore", module=_PILLOW_MODULES)


_PILLOW_MODULES = r"PIL\."
_PILLOW_FILTER = ("ignore", None, Warning, re.compile(_PILLOW_MODULES), 0)


def _describe_fault(data: bytes, error: Exception) -> str:
    if not isinstance(error, UnidentifiedImageError):
        return "The picture is truncated or corrupt."
    name = _announced_format(data)
    if name is None:
        return "This is not a picture in a known format."
    if name in NOT_READ:
        return f"{name} files are not read: {NOT_READ[name]}."
    return f"The picture is truncated or corrupt, or {name} of an unsupported kind."


def _announced_format(data: bytes) -> str | None:
    """The format whose signature a file begins with."""
    prefix = data[:16].ljust(16, b"\xff")
    return next((name for name, (_, accept) in Image.OPEN.items() if accept and accept(prefix) is True), None)
