"""Lines of text as the recogniser sees them: cut out, and each given its width.

pixels, boxes ─[crop_lines]→ crops ─[scale_line]→ lines, each 48 px high ─[pack]→ one tensor

What it says of them is read in `transforms.ocr_reading`.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from transforms import perspective

LINE_HEIGHT_PX = 48
MIN_WIDTH_PX = 224
MAX_WIDTH_PX = 2048  # longer lines are squeezed
ROOM = 1.25  # how much wider than a line its run is, where widths are free
UPRIGHT_RATIO = 1.5  # crops at least this much higher than wide are turned


def crop_lines(pixels: NDArray[np.uint8], boxes: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    """Cut out lines of text, upright: each box becomes a rectangle; a standing one is turned left by 90 degrees.

    Args:
        pixels: uint8 (h, w, 3), RGB.
        boxes: float32 (n, 4, 2), corners (x, y) clockwise from top left, in pixels, of boxes with an area.

    Returns:
        n arrays uint8 (h_i, w_i, 3), RGB, contiguous.

    Source: Immich 3.3; Pillow's perspective transform with bicubic.
    """
    sizes = _upright_sizes(boxes)
    homographies = _homographies(_rectangles(sizes), boxes)
    return [
        _crop(pixels, (int(width), int(height)), homography)
        for (width, height), homography in zip(sizes, homographies, strict=True)
    ]


def run_width(height: int, width: int, widths: Sequence[int] = ()) -> int:
    """How wide a crop's line is when it is recognised; the width decides the text.

    Args:
        height: of the crop, in pixels.
        width: of the crop, in pixels.
        widths: what there is to choose from, ascending; none: any.

    Source: Immich 3.3, on a GPU with `widths`, on a CPU without.
    """
    own = int(LINE_HEIGHT_PX * (width / height))
    if widths:
        return next((fixed for fixed in widths if fixed >= own), widths[-1])
    return min(MAX_WIDTH_PX, max(MIN_WIDTH_PX, math.ceil(ROOM * own)))


def scale_line(crop: NDArray[np.uint8], limit: int) -> NDArray[np.uint8]:
    """Scale a crop to the height that the recogniser takes, its aspect kept.

    Args:
        crop: uint8 (h, w, 3).
        limit: of the width, in pixels: a longer line is squeezed.

    Returns:
        uint8 (48, w', 3).
    """
    height, width = crop.shape[:2]
    scaled = cv2.resize(crop, (min(limit, math.ceil(LINE_HEIGHT_PX * (width / height))), LINE_HEIGHT_PX))
    return np.asarray(scaled, np.uint8)


def pack(lines: Sequence[NDArray[np.uint8]]) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Lay lines of different widths side by side, as tensors that travel.

    Args:
        lines: n arrays uint8 (48, w_i, 3).

    Returns:
        uint8 (48, sum of w_i, 3), and the widths, int32 (n,).
    """
    widths = np.array([line.shape[1] for line in lines], np.int32)
    return np.concatenate([np.zeros((LINE_HEIGHT_PX, 0, 3), np.uint8), *lines], axis=1), widths


def _upright_sizes(boxes: NDArray[np.float32]) -> NDArray[np.int32]:
    """Widths and heights (n, 2) of boxes (n, 4, 2): the longer of each pair of sides, truncated, at least 1."""
    sides = np.linalg.norm(boxes - np.roll(boxes, -1, axis=1), axis=2)  # (n, (top, right, bottom, left))
    sizes: NDArray[np.int32] = np.maximum(sides[:, :2], sides[:, 2:]).astype(np.int32).clip(min=1)
    return sizes


def _rectangles(sizes: NDArray[np.int32]) -> NDArray[np.float32]:
    """Corners (n, 4, 2) of rectangles of widths and heights (n, 2) at the origin, clockwise from top left."""
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    return corners * sizes[:, np.newaxis].astype(np.float32)


def _homographies(origins: NDArray[np.float32], targets: NDArray[np.float32]) -> NDArray[np.float32]:
    """The eight coefficients (n, 8) that take corners (n, 4, 2) of `origins` to those of `targets`.

    Two equations a corner, with h22 = 1. In single precision and in this order of equations, although neither is
    needed: Pillow truncates levels, so where pixels fall on pixels (a level box), the last bits of the coefficients
    decide on one level each.

    Source: Hartley and Zisserman, "Multiple View Geometry", 4.1.
    """
    x, y = origins[..., 0], origins[..., 1]
    one, none = np.ones_like(x), np.zeros_like(x)
    u, v = targets[..., 0], targets[..., 1]
    of_u = np.stack([x, y, one, none, none, none, -u * x, -u * y], axis=-1)  # (n, corner, 8)
    of_v = np.stack([none, none, none, x, y, one, -v * x, -v * y], axis=-1)
    equations = np.stack([of_u, of_v], axis=2).reshape(-1, 8, 8)
    solved: NDArray[np.float32] = np.linalg.solve(equations, targets.reshape(-1, 8, 1))[..., 0]
    return solved


def _crop(
    pixels: NDArray[np.uint8], size: tuple[int, int], homography: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """One line (h, w, 3) of a picture, of a width and height before turning."""
    crop = perspective.transform(pixels, size, homography)
    width, height = size
    return np.ascontiguousarray(np.rot90(crop) if height / width >= UPRIGHT_RATIO else crop)
