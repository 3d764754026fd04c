"""What the text detector sees of a picture: its size, and the canvas that it is put on.

pixels ─[resize_for_detection]→ canvas ─(DB detector)→ probabilities
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from transforms import resample

STRIDE = 32  # the detector halves its input five times
MIN_SIDE_PX = 32
MAX_CANVAS_PX = 2**24  # the detector takes about 135 bytes a pixel: 2.3 GB here


def can_hold_text(height: int, width: int) -> bool:
    """Whether a picture is large enough for the detector; a smaller one has no text."""
    return min(height, width) >= MIN_SIDE_PX


def content_size(height: int, width: int, max_resolution: int) -> tuple[int, int]:
    """The size at which a picture is searched: its own, or smaller, in multiples of 32.

    A picture is never enlarged (but for rounding). Beyond `MAX_CANVAS_PX`, where the original would take
    gigabytes, it is reduced to about that area: very large pictures with a high `max_resolution`, and strips.

    Args:
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        max_resolution: the short side's limit, in pixels.

    Returns:
        Height and width, at least 32.

    Source: Immich 3.3.
    """
    ratio = min(1.0, max_resolution / min(height, width), math.sqrt(MAX_CANVAS_PX / (height * width)))
    longest = MAX_CANVAS_PX // STRIDE  # what keeps a strip 32 px high within the area
    return min(longest, _to_stride(height * ratio)), min(longest, _to_stride(width * ratio))


def canvases(max_resolution: int, aspects: Sequence[Fraction]) -> list[tuple[int, int]]:
    """The sizes of canvases that pictures are put on where the detector is to see few shapes: on a GPU.

    Args:
        max_resolution: their short side, in pixels.
        aspects: how many times as long their long side is, at least 1; lying and standing.

    Returns:
        Heights and widths, multiples of 32.

    Source: Immich 3.3.
    """
    longest = math.isqrt(int(MAX_CANVAS_PX / max(aspects)))
    short = max(MIN_SIDE_PX, min(_ceil_to_stride(max_resolution), longest // STRIDE * STRIDE))
    sides = [_ceil_to_stride(aspect * short) for aspect in aspects]
    return sorted({size for side in sides for size in ((side, short), (short, side))})


def choose_canvas(content: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The canvas on which content (height, width) shrinks least, and of those the smallest."""
    return min(sizes, key=lambda size: (-_fitting_ratio(content, size), size[0] * size[1]))


def resize_for_detection(
    pixels: NDArray[np.uint8], max_resolution: int, aspects: Sequence[Fraction] = ()
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Scale a picture for the detector, with Lanczos.

    Args:
        pixels: uint8 (h, w, 3), RGB.
        max_resolution: the short side's limit, in pixels.
        aspects: of the canvases that it shall be put on, top left, the rest black; none: it fills its canvas.

    Returns:
        The canvas, uint8 (h', w', 3), RGB, 0 to 255 (the graph normalises), and height and width of what the
        picture takes up of it.
    """
    content = content_size(pixels.shape[0], pixels.shape[1], max_resolution)
    size = choose_canvas(content, canvases(max_resolution, aspects)) if aspects else content
    height, width = content = _shrunk_into(size, content)
    canvas = np.zeros((*size, 3), np.uint8)
    canvas[:height, :width] = resample.resize(pixels, (width, height), resample.Interpolation.LANCZOS)
    return canvas, content


def _to_stride(side: float) -> int:
    """The nearest multiple of 32, at least 32; halves go to the even one."""
    return max(MIN_SIDE_PX, round(side / STRIDE) * STRIDE)


def _ceil_to_stride(side: Fraction | int) -> int:
    return math.ceil(Fraction(side, STRIDE)) * STRIDE


def _fitting_ratio(content: tuple[int, int], size: tuple[int, int]) -> float:
    return min(size[0] / content[0], size[1] / content[1], 1.0)


def _shrunk_into(size: tuple[int, int], content: tuple[int, int]) -> tuple[int, int]:
    ratio = _fitting_ratio(content, size)
    height, width = (min(limit, _to_stride(side * ratio)) for side, limit in zip(content, size, strict=True))
    return height, width
