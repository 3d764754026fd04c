"""Pillow kept within bounds: which formats it reads, how large a picture may be, no warnings, and faults in words."""

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

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
    "FITS": "it holds measurements",
}
"""Formats that Pillow knows by their header and that are refused here, with the reason."""

logging.getLogger("PIL").setLevel(logging.CRITICAL)  # it reports what hostile files hold

Image.init()
FORMATS = tuple(name for name in Image.ID if name not in NOT_READ)


def _read_otherwise(image: Image.Image) -> str | None:
    """What a picture is, where the Pillow 12 of Immich's releases gives other pixels, or none."""
    match image.format, image.mode, image.info.get("compression"):
        case "BMP" | "DIB", _, 2:
            return "a bitmap of 16 colours with run lengths"
        case "TIFF", "YCbCr", "raw":
            return "a TIFF of YCbCr without compression"
    return None


@contextmanager
def opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """Opens an encoded picture, not loaded yet, for as long as the context lasts. May run in several threads at once.

    Args:
        data: a file of any format that Pillow opens, but for those in `NOT_READ`.
        max_pixels: limit of width * height, the same for the whole process. Checked on the header, and for pictures
            inside of pictures (icons, tiles) before they are decoded.

    Raises:
        InputError: empty, not a picture, or over the limit; and, in place of whatever was raised inside the context,
            truncated or corrupt.
    """
    if not data:
        raise InputError("The picture is empty (0 bytes).")
    _silence_pillow()
    Image.MAX_IMAGE_PIXELS = max_pixels / 2  # type: ignore[assignment]  # Pillow refuses what is over twice of it
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if kind := _read_otherwise(image):
                raise InputError(f"This is {kind}, which is not read.")
            yield image
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        raise InputError(
            f"The picture has {pixels and pixels[0]} pixels, over the limit of {max_pixels}."
        ) from error
    except Exception as error:  # on hostile bytes plugins raise anything, ZeroDivisionError to MemoryError
        raise InputError(_describe_fault(data, error)) from error


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
