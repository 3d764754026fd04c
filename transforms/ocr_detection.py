"""Where the lines of text are: what the detector's answer means.

canvas ─(DB detector)→ probabilities ─[find_lines]→ Lines

The canvas is made in `transforms.ocr_canvas`; the lines are cut out in `transforms.ocr_recognition`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

IS_TEXT = 0.3
DILATION = np.ones((2, 2), np.uint8)
MAX_CONTOURS = 1000
UNCLIP_RATIO = 1.6
MIN_TEXT_PX = 3  # short side on the canvas, before the box is grown
MIN_BOX_PX = 5  # and after
MIN_LINE_PX = 4  # in the picture
NEW_ROW_PX = 10

Rectangle = tuple[Sequence[float], Sequence[float], float]
"""Of OpenCV: centre (x, y), size (width, height), angle in degrees."""


@dataclass(frozen=True)
class Lines:
    """The lines of text of one picture, in reading order.

    Attributes:
        boxes: float32 (n, 4, 2), corners (x, y) clockwise from top left, whole pixels of the full picture,
            0 to width - 1 and 0 to height - 1.
        scores: float32 (n,), 0 to 1: each box's own.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]


def find_lines(probabilities: NDArray[np.float32], height: int, width: int, min_score: float = 0.5) -> Lines:
    """Turn the detector's map into boxes of lines, in reading order.

    Args:
        probabilities: float32 (h', w'), 0 to 1, how likely each pixel of the content belongs to text.
        height: of the full picture, in pixels.
        width: of the full picture, in pixels.
        min_score: boxes below it are dropped.

    Raises:
        ValueError: a probability is not finite.

    Source: Immich 3.3; Liao et al., "Real-time Scene Text Detection with Differentiable Binarization" (2020).
    """
    if not np.isfinite(probabilities).all():
        raise ValueError("the text detector's probabilities are not finite")
    mask = cv2.dilate((probabilities > IS_TEXT).astype(np.uint8), DILATION)
    contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    found = [
        line for contour in contours[:MAX_CONTOURS] if (line := _line_of(contour, probabilities, min_score))
    ]
    if not found:
        return Lines(np.zeros((0, 4, 2), np.float32), np.zeros(0, np.float32))
    boxes = _to_picture(np.stack([box for box, _ in found]), probabilities.shape, height, width)
    scores = np.array([score for _, score in found], np.float32)
    kept = np.flatnonzero(_is_large_enough(boxes))
    order = kept[reading_order(boxes[kept])]
    return Lines(boxes[order], scores[order])


def reading_order(boxes: NDArray[np.float32]) -> NDArray[np.intp]:
    """The order in which lines are read: sorted by top, a new row where it grows by 10 px or more; then by left.

    Args:
        boxes: float32 (n, 4, 2), corners (x, y) from top left, in pixels.

    Returns:
        int (n,), indices into `boxes`.

    Source: RapidOCR, TextDetector.sorted_boxes.
    """
    left, top = boxes[:, 0, 0], boxes[:, 0, 1]
    by_top = np.argsort(top, kind="stable")
    row = np.cumsum(np.diff(top[by_top], prepend=top[by_top][:1]) >= NEW_ROW_PX)
    order: NDArray[np.intp] = by_top[np.lexsort((left[by_top], row))]
    return order


def _line_of(
    contour: cv2.typing.MatLike, probabilities: NDArray[np.float32], min_score: float
) -> tuple[NDArray[np.float32], float] | None:
    """The box (4, 2) on the canvas and the score of a contour (n, 1, 2), or None if it is no line of text."""
    core = cv2.minAreaRect(contour)
    if min(core[1]) < MIN_TEXT_PX:
        return None
    score = _mean_inside(probabilities, _corners(core))
    if score < min_score:
        return None
    line = _unclip(core)
    return (_corners(line), score) if min(line[1]) >= MIN_BOX_PX else None


def _corners(rectangle: Rectangle) -> NDArray[np.float32]:
    return np.asarray(cv2.boxPoints(rectangle), np.float32)


def _unclip(core: Rectangle) -> Rectangle:
    """Grow a rectangle, which holds the core of a line, to the whole line."""
    centre, (width, height), angle = core
    growth = width * height * UNCLIP_RATIO / (width + height)
    return centre, (width + growth, height + growth), angle


def _clockwise(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Corners (n, 4, 2) from top left: the two left ones by height, then the two right ones."""
    by_x = np.take_along_axis(boxes, np.argsort(boxes[:, :, :1], axis=1, kind="stable"), axis=1)
    pairs = by_x.reshape(-1, 2, 2, 2)  # (n, left or right, corner, (x, y))
    pairs = np.take_along_axis(pairs, np.argsort(pairs[..., 1:], axis=2, kind="stable"), axis=2)
    left, right = pairs[:, 0], pairs[:, 1]
    return np.stack([left[:, 0], right[:, 0], right[:, 1], left[:, 1]], axis=1)


def _mean_inside(probabilities: NDArray[np.float32], polygon: NDArray[np.float32]) -> float:
    """The mean probability inside a polygon (n, 2) of (x, y), with its edges."""
    limits = np.array(probabilities.shape[::-1]) - 1
    start = np.clip(np.floor(polygon.min(axis=0)).astype(np.int32), 0, limits)
    stop = np.clip(np.ceil(polygon.max(axis=0)).astype(np.int32), 0, limits) + 1
    window = probabilities[start[1] : stop[1], start[0] : stop[0]]
    mask = np.zeros(window.shape, np.uint8)
    cv2.fillPoly(mask, [(polygon - start.astype(polygon.dtype)).astype(np.int32)], (1,))
    return float(cv2.mean(window, mask)[0])


def _to_picture(
    boxes: NDArray[np.float32], content: tuple[int, ...], height: int, width: int
) -> NDArray[np.float32]:
    """Boxes (n, 4, 2) on content (h', w') in whole pixels of the picture, inside it, clockwise from top left."""
    picture_xy = np.array([width, height], np.float32)
    scaled = np.round(boxes * (picture_xy / np.array(content[::-1], np.float32)))
    return np.clip(_clockwise(scaled.clip(0, picture_xy)), 0, picture_xy - 1)


def _is_large_enough(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which boxes (n, 4, 2) are wide and high enough to be read."""
    sides = boxes[:, [1, 3]] - boxes[:, [0, 0]]  # (n, (top, left), (x, y))
    enough: NDArray[np.bool_] = (np.linalg.norm(sides, axis=2) >= MIN_LINE_PX).all(axis=1)
    return enough
