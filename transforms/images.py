"""Encoded pictures to pixels: decoding as Pillow does it, and the resize and crop that CLIP models see.

Everything here is reproduced bit for bit from plain Pillow, because a vector in a user's index depends on it.
The functions may be called from several threads at once.
"""

import math
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from transforms import pillow

MAX_RESIZED_PIXELS = 50_000_000
"""A very long picture grows beyond this when its short side is scaled up: then only the crop is computed."""

REDUCING_GAP = 2
"""Pixels, on each axis, that a picture which is reduced while it is decoded keeps for each one that it is scaled to.
Pillow's own choice for thumbnails."""

Pair = tuple[int, int]
Extent = tuple[float, float]


class Picture(NamedTuple):
    """A decoded picture.

    Attributes:
        image: loaded, of mode RGB; smaller than what was sent if it was reduced while it was decoded.
        size: (width, height) as sent, in pixels.
        extent: (width, height) in pixels of `image`. Of a reduced picture that is `size` by 2, 4 or 8, with its
            fraction: the last row and the last column of `image` may lie outside in part.
    """

    image: Image.Image
    size: Pair
    extent: Extent


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
    """The image of `open_picture`, at full size."""
    return open_picture(data, max_pixels).image


def open_picture(data: bytes, max_pixels: int, at_least: int | None = None) -> Picture:
    """Decode the first frame of an encoded picture to RGB, as Pillow's `convert("RGB")` gives it.

    Alpha is dropped, not blended. EXIF orientation is ignored (Pillow itself applies the orientation tag of
    TIFF files, and so does this). No file is opened and no program is started.

    Args:
        data: a file of any format that Pillow opens, but for those in `pillow.NOT_READ`.
        max_pixels: limit of width * height as sent; checked on the header, before anything is decoded.
        at_least: a JPEG is decoded at a half, a quarter or an eighth of its size, as long as its sides keep so many
            pixels. None, and other formats: at full size.

    Raises:
        InputError: empty, not a picture, truncated or corrupt, or over the limit; the message says which.
    """
    with pillow.opened(data, max_pixels) as image:
        sent = image.size
        reduced = image.draft(None, (at_least, at_least)) if at_least else None
        image.load()
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        return Picture(rgb, sent, reduced[1][2:]) if reduced else Picture(rgb, rgb.size, rgb.size)


def to_array(image: Image.Image) -> NDArray[np.uint8]:
    """Pixels of an RGB image: read-only array (height, width, 3), uint8."""
    return np.asarray(image, dtype=np.uint8)


def clip_pixels(
    image: Image.Image,
    size: int,
    *,
    resize_mode: str = "shortest",
    interpolation: str = "bicubic",
    extent: Extent | None = None,
) -> NDArray[np.uint8]:
    """Scale and crop an RGB image to the square that a CLIP model sees.

    Args:
        image: RGB, any size.
        size: side of the square in pixels.
        resize_mode: a `ResizeMode`; `shortest` scales the short side to `size` and crops the long one.
        interpolation: an `Interpolation`.
        extent: of a reduced picture, as in `Picture`. The square is the one that its full size has.

    Returns:
        Read-only array (size, size, 3), uint8, RGB, not normalised.

    Raises:
        ValueError: unknown mode or interpolation.
    """
    resampling = Interpolation(interpolation).resampling
    match ResizeMode(resize_mode):
        case ResizeMode.SHORTEST:
            return to_array(_resize_and_crop(image, extent or image.size, size, resampling))
        case ResizeMode.SQUASH:
            return to_array(_squash(image, extent or image.size, size, resampling))


def resize(
    image: Image.Image, size: Pair, resampling: Image.Resampling, extent: Extent | None = None
) -> Image.Image:
    """Scale an image to (width, height), across first and then down, whatever Pillow's version.

    Pillow up to 12 always scales in this order; Pillow 13 takes the other one for tall pictures (phone
    screenshots among them), which changes pixels, and with them vectors, because the step between is 8 bits.
    Source: https://github.com/python-pillow/Pillow/pull/9549
    """
    across, down = extent or image.size
    rows = _resize_rows(image, size[0], across, resampling)
    return rows.resize(size, resampling, box=(0, 0, size[0], down))


def _resize_rows(image: Image.Image, width: int, across: float, resampling: Image.Resampling) -> Image.Image:
    return image.resize((width, image.height), resampling, box=(0, 0, across, image.height))


def _resize_and_crop(
    image: Image.Image, extent: Extent, size: int, resampling: Image.Resampling
) -> Image.Image:
    across, down = extent
    # The truncations are the original's: rounding moves the crop by a pixel and every vector with it.
    if across < down:
        width, height = size, int((down / across) * size)
    else:
        width, height = int((across / down) * size), size
    left, top = int(width / 2 - size / 2), int(height / 2 - size / 2)
    if width * height > MAX_RESIZED_PIXELS:
        return _resize_part(image, extent, (width, height), (left, top), size, resampling)
    # As `resize` and then the crop, without the rows and columns of the step between that the crop does not reach.
    low, high, *_ = _source_span(top, size, down, height)
    seen = image.crop((0, low, image.width, high)) if high - low < image.height else image
    rows = _resize_rows(seen, width, across, resampling).crop((left, 0, left + size, seen.height))
    between = Image.new("RGB", (size, image.height))
    between.paste(rows, (0, low))
    resized = between.resize((size, height), resampling, box=(0, 0, size, down))
    return resized.crop((0, top, size, top + size))


def _resize_part(
    image: Image.Image, extent: Extent, whole: Pair, corner: Pair, size: int, resampling: Image.Resampling
) -> Image.Image:
    """The square at `corner` of `image.resize(whole)`, without the rest of it; rarely a pixel is off by one.

    The source is cut near the square first: Pillow keeps the box of a resize in float32, which is too coarse
    for positions far from zero.
    """
    left, right, x_begin, x_end = _source_span(corner[0], size, extent[0], whole[0])
    top, bottom, y_begin, y_end = _source_span(corner[1], size, extent[1], whole[1])
    part = image.crop((left, top, right, bottom))
    part = part.resize((size, part.height), resampling, box=(x_begin, 0, x_end, part.height))
    return part.resize((size, size), resampling, box=(0, y_begin, size, y_end))


def _source_span(start: int, size: int, source: float, target: int) -> tuple[int, int, float, float]:
    """On one axis: the pixels to cut from the source (low, high), and the box (begin, end) within the cut."""
    scale = source / target
    margin = math.ceil(3 * max(scale, 1)) + 1  # Lanczos, the widest filter, reaches 3 pixels
    begin, end = start * scale, (start + size) * scale
    low, high = max(0, math.floor(begin) - margin), min(math.ceil(source), math.ceil(end) + margin)
    return low, high, begin - low, min(end - low, high - low)


def _squash(image: Image.Image, extent: Extent, size: int, resampling: Image.Resampling) -> Image.Image:
    if size * image.height > MAX_RESIZED_PIXELS and image.width < size:  # down first: less on the way
        image = image.resize((image.width, size), resampling)  # never a reduced one, which is wider
        extent = image.size
    return resize(image, (size, size), resampling, extent)
